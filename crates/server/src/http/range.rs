//! Which part of a file a client asks for (RFC 9110, sections 13 and 14).

use std::ops::Range;

/// What a `Range` header comes to for a file of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    /// All of it: no range, several ranges, or something that is no range and so must be ignored.
    Whole,
    /// These bytes; never empty.
    Part(Range<u64>),
    /// No byte of the file is in the range.
    Unsatisfiable,
}

/// Reads a `Range` header. Several ranges are answered with the whole file, which the RFC allows.
pub(super) fn select(header: &str, size: u64) -> Selected {
    let Some((unit, set)) = header.split_once('=') else { return Selected::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Selected::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Selected::Whole };
    match (position(first), position(last)) {
        (Position::At(first), Position::At(last)) if first > last => Selected::Whole,
        (Position::At(first), _) if first >= size && position(last) != Position::Malformed => {
            Selected::Unsatisfiable
        }
        (Position::At(first), Position::At(last)) => Selected::Part(first..last.saturating_add(1).min(size)),
        (Position::At(first), Position::Absent) => Selected::Part(first..size),
        (Position::Absent, Position::At(0)) => Selected::Unsatisfiable,
        (Position::Absent, Position::At(_)) if size == 0 => Selected::Unsatisfiable,
        (Position::Absent, Position::At(suffix)) => Selected::Part(size.saturating_sub(suffix)..size),
        _ => Selected::Whole,
    }
}

#[derive(PartialEq, Eq)]
enum Position {
    Absent,
    At(u64),
    Malformed,
}

/// Digits alone; more of them than fit mean the end of any file.
fn position(text: &str) -> Position {
    match text.trim() {
        "" => Position::Absent,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Position::At(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Position::Malformed,
    }
}

/// Whether one of the tags in an `If-None-Match` header is this one. The comparison is weak, as the RFC has it.
pub(super) fn none_match_hits(header: &str, etag: &str) -> bool {
    header.trim() == "*"
        || header.split(',').map(str::trim).any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Whether an `If-Range` header lets a range through: the same strong tag. We send no dates, so a date never fits.
pub(super) fn if_range_holds(header: &str, etag: &str) -> bool {
    header.trim() == etag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_selects_its_bytes() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, Selected::Part(0..1)),
            ("bytes=0-9", 10, Selected::Part(0..10)),
            ("bytes=2-5", 10, Selected::Part(2..6)),
            ("bytes=2-", 10, Selected::Part(2..10)),
            ("bytes=2-99", 10, Selected::Part(2..10)),
            ("bytes=-3", 10, Selected::Part(7..10)),
            ("bytes=-99", 10, Selected::Part(0..10)),
            ("Bytes = 2 - 5", 10, Selected::Part(2..6)),
            ("bytes=9-99999999999999999999999", 10, Selected::Part(9..10)),
            ("bytes=10-", 10, Selected::Unsatisfiable),
            ("bytes=10-20", 10, Selected::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Selected::Unsatisfiable),
            ("bytes=-0", 10, Selected::Unsatisfiable),
            ("bytes=0-", 0, Selected::Unsatisfiable),
            ("bytes=-1", 0, Selected::Unsatisfiable),
            ("bytes=5-2", 10, Selected::Whole),
            ("bytes=0-1,3-4", 10, Selected::Whole),
            ("bytes=", 10, Selected::Whole),
            ("bytes=-", 10, Selected::Whole),
            ("bytes=a-b", 10, Selected::Whole),
            ("bytes=99-b", 10, Selected::Whole),
            ("bytes=+1-2", 10, Selected::Whole),
            ("items=0-1", 10, Selected::Whole),
            ("0-1", 10, Selected::Whole),
            ("", 10, Selected::Whole),
        ] {
            assert_eq!(select(header, size), expected, "{header:?} of {size}");
        }
    }

    #[test]
    fn tags_are_compared_as_the_rfc_says() {
        for (header, hit) in [
            ("\"a\"", true),
            ("*", true),
            ("\"b\", \"a\"", true),
            ("W/\"a\"", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(none_match_hits(header, "\"a\""), hit, "{header}");
        }
        for (header, holds) in
            [("\"a\"", true), ("W/\"a\"", false), ("\"b\"", false), ("Wed, 21 Jan 2026 12:34:56 GMT", false)]
        {
            assert_eq!(if_range_holds(header, "\"a\""), holds, "{header}");
        }
    }
}
