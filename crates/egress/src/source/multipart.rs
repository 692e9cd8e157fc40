//! A `multipart/byteranges` body (RFC 9110, 14.6), taken apart as it arrives.
//!
//! A part's length is known from its `Content-Range`, so its bytes are never searched for a boundary, and cannot forge
//! one.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue};

use super::answer::ContentRange;

/// The head of a part, or what lies between two parts, takes less than this.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// The longest boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY_BYTES: usize = 70;

/// What a host made of a request for several parts is none of it, or not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parts are not well formed: {0}")]
pub(crate) struct BadParts(pub(crate) &'static str);

/// Something that was found in a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Bytes of the file from this offset on.
    Data { offset: u64, bytes: Bytes },
    /// The last boundary.
    End,
}

#[derive(Debug, PartialEq, Eq)]
enum Expects {
    /// A boundary line and a part's head, up to its empty line.
    Head,
    /// The part's bytes that are still to come.
    Data(Range<u64>),
    /// Nothing: what follows the last boundary is of no interest.
    Nothing,
}

/// Takes a body apart.
#[derive(Debug)]
pub(crate) struct Parts {
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    /// Where all parts have to lie.
    within: Range<u64>,
    /// The length of the file that all parts have to be of.
    length: u64,
    /// Bytes of the file that parts may still bring.
    left: u64,
    expects: Expects,
    arrived: VecDeque<Bytes>,
}

impl Parts {
    /// For an answer with this content type; `None` if it is not in parts. Together they may have `max_bytes`: what lies
    /// between ranges may come along with them where it is little, but the picture may not.
    pub(crate) fn of(headers: &HeaderMap, within: Range<u64>, length: u64, max_bytes: u64) -> Option<Self> {
        let boundary = boundary(headers.get(CONTENT_TYPE)?.to_str().ok()?)?;
        let delimiter = [b"--", boundary.as_bytes()].concat();
        let (expects, arrived) = (Expects::Head, VecDeque::new());
        Some(Self { delimiter, within, length, left: max_bytes, expects, arrived })
    }

    /// More of the body.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.arrived.push_back(bytes);
    }

    /// Whether the last boundary has been seen.
    pub(crate) fn is_over(&self) -> bool {
        self.expects == Expects::Nothing
    }

    /// What comes next; `None` where more has to arrive first.
    pub(crate) fn next(&mut self) -> Result<Option<Found>, BadParts> {
        loop {
            match &mut self.expects {
                Expects::Nothing => {
                    self.arrived.clear();
                    return Ok(None);
                }
                Expects::Data(left) if left.is_empty() => self.expects = Expects::Head,
                Expects::Data(left) => {
                    let Some(front) = self.arrived.front_mut() else { return Ok(None) };
                    let wanted = usize::try_from(left.end - left.start).unwrap_or(usize::MAX);
                    let bytes = front.split_to(front.len().min(wanted));
                    let offset = left.start;
                    left.start += bytes.len() as u64;
                    if front.is_empty() {
                        self.arrived.pop_front();
                    }
                    if !bytes.is_empty() {
                        return Ok(Some(Found::Data { offset, bytes }));
                    }
                }
                Expects::Head => {
                    let Some(expects) = self.head()? else { return Ok(None) };
                    self.expects = expects;
                    if self.is_over() {
                        return Ok(Some(Found::End));
                    }
                }
            }
        }
    }

    /// A boundary and the head behind it, once they have arrived.
    fn head(&mut self) -> Result<Option<Expects>, BadParts> {
        let mut seen: Vec<u8> = Vec::new();
        for bytes in &self.arrived {
            seen.extend_from_slice(&bytes[..bytes.len().min(MAX_HEAD_BYTES + 4 - seen.len())]);
        }
        let is_too_long = seen.len() > MAX_HEAD_BYTES;
        let or_more = |found: Option<usize>| match found {
            None if is_too_long => Err(BadParts("a head is too long")),
            found => Ok(found),
        };
        // Line breaks lead up to a boundary; nothing else does.
        let skipped = seen.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let line = &seen[skipped..];
        let Some(after) = line.get(self.delimiter.len()..) else {
            let begins = self.delimiter.starts_with(line);
            return if begins { or_more(None).map(|_| None) } else { Err(BadParts("no boundary")) };
        };
        if !line.starts_with(&self.delimiter) {
            return Err(BadParts("no boundary"));
        }
        if after.starts_with(b"--") {
            self.skip(skipped + self.delimiter.len() + 2);
            return Ok(Some(Expects::Nothing));
        }
        let Some(end) = or_more(find(after, b"\r\n\r\n"))? else { return Ok(None) };
        let head = after[..end].to_vec();
        self.skip(skipped + self.delimiter.len() + end + 4);
        let range = self.range(&head)?;
        let left = self.left.checked_sub(range.end - range.start);
        self.left = left.ok_or(BadParts("they have far more bytes than were asked for"))?;
        Ok(Some(Expects::Data(range)))
    }

    /// The bytes of the file that a part brings.
    fn range(&self, head: &[u8]) -> Result<Range<u64>, BadParts> {
        let mut headers = HeaderMap::new();
        for line in head.split(|byte| *byte == b'\n') {
            let mut halves = line.splitn(2, |byte| *byte == b':');
            let (name, value) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.trim_ascii()), HeaderValue::from_bytes(value.trim_ascii()))
                && name == CONTENT_RANGE
            {
                headers.append(name, value);
            }
        }
        match ContentRange::of(&headers) {
            Some(ContentRange::Part { first, last, length })
                if length.is_none_or(|length| length == self.length)
                    && self.within.start <= first
                    && last < self.within.end =>
            {
                Ok(first..last + 1)
            }
            _ => Err(BadParts("a part names no range, or one that was not asked for")),
        }
    }

    fn skip(&mut self, mut count: usize) {
        while let Some(front) = self.arrived.front_mut().filter(|_| count > 0) {
            let step = front.len().min(count);
            front.advance(step);
            count -= step;
            if front.is_empty() {
                self.arrived.pop_front();
            }
        }
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    ((1..=MAX_BOUNDARY_BYTES).contains(&value.len()) && value.bytes().all(is_plain)).then_some(value)
}

fn find(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(content_type: &'static str) -> Option<Parts> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Parts::of(&headers, 10..100, 200, 20)
    }

    /// The bytes that a body brings, each with its offset, whatever pieces it arrives in; and whether it ended.
    fn read(body: &[u8], piece: usize) -> Result<(Vec<(u64, u8)>, bool), BadParts> {
        let mut parts = parts("multipart/byteranges; boundary=x1").expect("parts");
        let mut bytes = Vec::new();
        for piece in body.chunks(piece) {
            parts.push(Bytes::copy_from_slice(piece));
            while let Some(found) = parts.next()? {
                if let Found::Data { offset, bytes: data } = found {
                    bytes.extend(data.iter().enumerate().map(|(at, byte)| (offset + at as u64, *byte)));
                }
            }
        }
        Ok((bytes, parts.is_over()))
    }

    #[test]
    fn parts_are_found_in_whatever_pieces_they_arrive() {
        let body = b"\r\n--x1\r\nContent-Type: video/mp4\r\nContent-Range: bytes 10-12/200\r\n\r\nabc\
                     \r\n--x1\r\ncontent-range: bytes 50-55/200\r\n\r\n--x1--\
                     \r\n--x1--\r\nepilogue";
        for piece in 1..body.len() {
            let (bytes, is_over) = read(body, piece).expect("well formed");
            let text: Vec<u8> = bytes.iter().map(|(_, byte)| *byte).collect();
            let offsets: Vec<u64> = bytes.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(text, b"abc--x1--", "in pieces of {piece}");
            assert_eq!(offsets, [10, 11, 12, 50, 51, 52, 53, 54, 55]);
            assert!(is_over);
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let with = |range: &str| format!("--x1\r\nContent-Range: {range}\r\n\r\nabcdefghij\r\n--x1--");
        for (name, body) in [
            ("no boundary", "abc".to_owned()),
            ("another boundary", "--x2\r\n\r\n".to_owned()),
            ("text before the first boundary", format!("hello{}", with("bytes 10-19/200"))),
            ("no range", "--x1\r\nContent-Type: video/mp4\r\n\r\n".to_owned()),
            (
                "two ranges",
                "--x1\r\nContent-Range: bytes 10-19/200\r\nContent-Range: bytes 10-18/200\r\n\r\n".to_owned(),
            ),
            ("before all that was asked for", with("bytes 9-18/200")),
            ("behind all that was asked for", with("bytes 91-100/200")),
            ("of another length", with("bytes 10-19/201")),
            ("a shorter part than it says", with("bytes 10-15/200")),
            ("more than is allowed", {
                let part = |first, last| {
                    format!("--x1\r\nContent-Range: bytes {first}-{last}/200\r\n\r\nabcdefghij\r\n")
                };
                [part(10, 19), part(20, 29), part(10, 10)].concat()
            }),
            ("a head without end", format!("--x1\r\n{}", "X: y\r\n".repeat(2000))),
            ("line breaks without end", "\r\n".repeat(5000)),
        ] {
            for piece in [97, body.len()] {
                assert!(read(body.as_bytes(), piece).is_err(), "{name} was taken");
            }
        }
        let (bytes, is_over) = read(with("bytes 10-19/200").as_bytes(), 5).expect("well formed");
        assert!(bytes.len() == 10 && is_over);
        let cut = with("bytes 10-19/200");
        assert_eq!(read(&cut.as_bytes()[..40], 5).map(|(_, is_over)| is_over), Ok(false));
    }

    #[test]
    fn only_parts_with_a_boundary_are_parts() {
        for (content_type, is_parts) in [
            ("multipart/byteranges; boundary=x", true),
            ("Multipart/ByteRanges; charset=x; Boundary=\"a b\"", true),
            ("multipart/byteranges", false),
            ("multipart/byteranges; boundary=", false),
            ("multipart/mixed; boundary=x", false),
            ("video/mp4", false),
        ] {
            assert_eq!(parts(content_type).is_some(), is_parts, "{content_type}");
        }
    }
}
