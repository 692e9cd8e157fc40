//! The one file of a form (`multipart/form-data`, RFC 7578), as browsers and `curl -F` send it: read as it comes, with
//! no more of it in memory than arrived at once.

use axum::body::Bytes;

use super::incoming::{Broken, Incoming};
use super::name::in_disposition;

/// The most bytes before the file: what stands before the first boundary, and the part's headers.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

const NOT_A_FORM: Broken = Broken::Malformed("the body is not the form that its Content-Type says");
const ONE_FILE: Broken = Broken::Malformed("a form has one field, and that is the file");

/// The boundary of a form, if that is what the type says.
pub(super) fn boundary(content_type: &str) -> Option<Result<String, Broken>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    let sound = value.filter(|value| (1..=MAX_BOUNDARY_BYTES).contains(&value.len()));
    Some(sound.ok_or(Broken::Malformed("the Content-Type names no boundary")))
}

/// A form whose file is being read.
pub(super) struct Form {
    incoming: Incoming,
    /// What ends a part: a line break, two dashes, the boundary.
    delimiter: Vec<u8>,
    /// What has come and was not given out yet.
    pending: Vec<u8>,
    is_over: bool,
    /// What the file is called, as the form says.
    pub(super) filename: Option<String>,
}

impl Form {
    /// Reads up to where the file begins.
    pub(super) async fn open(incoming: Incoming, boundary: &str) -> Result<Self, Broken> {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // As if a line had ended before the body: the first boundary may be the first thing in it.
        let pending = b"\r\n".to_vec();
        let mut form = Self { incoming, delimiter, pending, is_over: false, filename: None };
        let delimiter = form.delimiter.clone();
        form.skip_past(&delimiter).await?;
        if form.ends_here().await? {
            return Err(ONE_FILE);
        }
        let head = form.skip_past(b"\r\n\r\n").await?;
        let head = String::from_utf8(head).map_err(|_| NOT_A_FORM)?;
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then(|| value.trim())
        });
        form.filename = disposition.and_then(in_disposition);
        if form.filename.is_none() {
            return Err(ONE_FILE);
        }
        Ok(form)
    }

    /// The next bytes of the file; `None` at its end, which must be the form's.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            if let Some(at) = find(&self.pending, &self.delimiter) {
                let file = self.take(at);
                self.take(self.delimiter.len());
                if !self.ends_here().await? {
                    return Err(ONE_FILE);
                }
                self.is_over = true;
                return Ok(Some(file.into()));
            }
            // The end may be the beginning of a delimiter.
            let sure = self.pending.len().saturating_sub(self.delimiter.len() - 1);
            if sure > 0 {
                return Ok(Some(self.take(sure).into()));
            }
            self.more().await?;
        }
    }

    /// Whether the delimiter that was just read is the last one.
    async fn ends_here(&mut self) -> Result<bool, Broken> {
        while self.pending.len() < 2 {
            self.more().await?;
        }
        Ok(self.pending.starts_with(b"--"))
    }

    /// Reads past these bytes; what stood before them.
    async fn skip_past(&mut self, wanted: &[u8]) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(at) = find(&self.pending, wanted) {
                let before = self.take(at);
                self.take(wanted.len());
                return Ok(before);
            }
            if self.pending.len() > MAX_HEAD_BYTES {
                return Err(NOT_A_FORM);
            }
            self.more().await?;
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }

    async fn more(&mut self) -> Result<(), Broken> {
        match self.incoming.next().await? {
            Some(bytes) => {
                self.pending.extend_from_slice(&bytes);
                Ok(())
            }
            None => Err(NOT_A_FORM),
        }
    }
}

/// Where these bytes, which begin with a line break, stand first.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == b'\r') {
        from += at;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use axum::body::Body;

    use super::super::incoming::PaceConfig;
    use super::*;

    /// Reads a form that comes in pieces of so many bytes: the file's name and bytes.
    async fn read(form: &str, piece: usize) -> Result<(Option<String>, String), Broken> {
        let pieces: Vec<_> =
            form.as_bytes().chunks(piece).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let pace = PaceConfig { min_bytes_per_sec: 0, window: Duration::from_secs(60) };
        let mut form = Form::open(Incoming::new(body, pace, None), "b").await?;
        let mut file = Vec::new();
        while let Some(bytes) = form.next().await? {
            file.extend_from_slice(&bytes);
        }
        Ok((form.filename, String::from_utf8(file).expect("a text")))
    }

    const HEAD: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n";

    #[tokio::test]
    async fn a_file_comes_out_whole_however_it_is_cut() {
        for file in ["", "x", "\r\n", "\r\n--", "a\r\n--c\r\n--", "--b--", "\r\r\n\n--b\r", "\r\n-\r\n--\r\n"]
        {
            for (before, after) in [("", "--\r\n"), ("preamble\r\n", "--"), ("", "--\r\nepilogue")] {
                for piece in [1, 2, 3, 7, 1000] {
                    let form = format!("{before}{HEAD}{file}\r\n--b{after}");
                    let expected = (Some("a.mp4".to_owned()), file.to_owned());
                    assert_eq!(read(&form, piece).await, Ok(expected), "{form:?} by {piece}");
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_form_of_one_file_is_refused() {
        let field = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\ny\r\n";
        let long = "x".repeat(MAX_HEAD_BYTES + 1);
        for (form, reason) in [
            ("", NOT_A_FORM),
            ("--c--", NOT_A_FORM),
            (&long, NOT_A_FORM),
            ("--b--\r\n", ONE_FILE),
            (&format!("{field}--b--"), ONE_FILE),
            (&format!("{HEAD}x\r\n{field}--b--"), ONE_FILE),
            (&format!("{HEAD}x"), NOT_A_FORM),
            (&format!("{HEAD}x\r\n--b"), NOT_A_FORM),
            (&format!("--b\r\nX: {long}"), NOT_A_FORM),
        ] {
            assert_eq!(read(form, 5).await, Err(reason), "{form:?}");
        }
    }

    #[test]
    fn the_boundary_is_in_the_type() {
        let sound = |text: &str| Some(Ok(text.to_owned()));
        assert_eq!(boundary("multipart/form-data; boundary=x-1"), sound("x-1"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"x 1\""), sound("x 1"));
        assert_eq!(boundary("video/mp4"), None);
        assert!(matches!(boundary("multipart/form-data"), Some(Err(_))));
        assert!(matches!(
            boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
            Some(Err(_))
        ));
    }
}
