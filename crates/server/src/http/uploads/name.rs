//! What a file that is sent is called: by `Content-Disposition` (RFC 6266, RFC 7578), or in the metadata of tus.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Filename;
use wire::ErrorCode;

use super::Refusal;

/// The longest `Upload-Metadata`, which is kept as it is.
const MAX_METADATA_BYTES: usize = 4096;

/// A name for the file, where what was sent makes one. Some clients send a whole path.
pub(super) fn plain(text: &str) -> Option<Filename> {
    let name = text.rsplit(['/', '\\']).next().unwrap_or(text);
    Filename::parse(name).ok()
}

/// One parameter of a header like `form-data; name="file"; filename="talk.mp4"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => match after.split_once(';') {
                Some((value, left)) => (value.trim().to_owned(), left),
                None => (after.trim().to_owned(), ""),
            },
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = left.trim_start().trim_start_matches(';');
    }
}

/// What stands before the closing quote, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

/// The file's name in a `Content-Disposition`, if it has one at all: the extended one, else the plain one.
pub(super) fn in_disposition(header: &str) -> Option<String> {
    let extended = parameter(header, "filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| percent_decoded(encoded)).flatten()
    });
    // Browsers write a quote in a form's file name as `%22` (HTML, multipart/form-data).
    extended.or_else(|| parameter(header, "filename").map(|name| name.replace("%22", "\"")))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// What `Upload-Metadata` says: pairs of a name and the base64 of a value, of which `filename` (or `name`) is ours.
pub(super) fn in_metadata(header: &str) -> Result<Option<Filename>, Refusal> {
    let refuse = |details: &str| {
        Err(Refusal::new(ErrorCode::InvalidRequest, "Correct the `Upload-Metadata` header.")
            .with_details(details))
    };
    if header.len() > MAX_METADATA_BYTES {
        return refuse("it has too many bytes");
    }
    let mut found = [None, None];
    for pair in header.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let Ok(value) = STANDARD.decode(value.trim()) else { return refuse("a value is not base64") };
        let Some(place) = ["filename", "name"].iter().position(|ours| *ours == name) else { continue };
        found[place] = String::from_utf8(value).ok();
    }
    Ok(found.into_iter().flatten().next().as_deref().and_then(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disposition_names_the_file() {
        for (header, name) in [
            ("form-data; name=\"file\"; filename=\"a talk; 1.mp4\"", Some("a talk; 1.mp4")),
            ("attachment; filename=talk.mp4", Some("talk.mp4")),
            ("attachment; FileName = \"talk.mp4\" ; x=y", Some("talk.mp4")),
            ("form-data; filename=\"a\\\"b.mp4\"; name=\"file\"", Some("a\"b.mp4")),
            ("form-data; name=\"filename=x\"; filename=\"a%22b.mp4\"", Some("a\"b.mp4")),
            ("attachment; filename=\"e.mp4\"; filename*=UTF-8''%C3%A9.mp4", Some("é.mp4")),
            ("attachment; filename*=UTF-8''%C3.mp4; filename=e.mp4", Some("e.mp4")),
            ("attachment; filename*=latin1''%E9.mp4", None),
            ("form-data; name=\"file\"", None),
            ("attachment; filename=\"open", None),
            ("attachment", None),
            ("", None),
        ] {
            assert_eq!(in_disposition(header).as_deref(), name, "{header}");
        }
    }

    #[test]
    fn a_path_is_cut_to_its_name_and_what_is_no_name_is_none() {
        for (text, name) in [
            ("C:\\fakepath\\talk.mp4", Some("talk.mp4")),
            ("/home/me/talk.mp4", Some("talk.mp4")),
            ("talk.mp4", Some("talk.mp4")),
            ("a/..", None),
            ("talk\u{202e}4pm.exe", None),
            ("", None),
        ] {
            assert_eq!(plain(text).as_ref().map(Filename::as_written), name, "{text}");
        }
    }

    #[test]
    fn metadata_names_the_file() {
        let name = |header: &str| in_metadata(header).expect(header).map(|name| name.as_written().to_owned());
        assert_eq!(name("filetype dmlkZW8vbXA0,filename dGFsay5tcDQ=").as_deref(), Some("talk.mp4"));
        assert_eq!(name("name dGFsay5tcDQ=, is_confidential").as_deref(), Some("talk.mp4"));
        assert_eq!(name("name eA==,filename dGFsay5tcDQ=").as_deref(), Some("talk.mp4"));
        assert_eq!(name(""), None);
        assert_eq!(name("filename /w=="), None, "no UTF-8");
        assert!(in_metadata("filename talk.mp4").is_err());
        assert!(in_metadata(&"a,".repeat(3000)).is_err());
    }
}
