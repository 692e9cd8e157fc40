//! What the head of an answer says: which bytes follow, of which version of the file.

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use http::header::{CONTENT_RANGE, ETAG, HeaderValue, LAST_MODIFIED};

/// A `Content-Range` in bytes (RFC 9110, 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentRange {
    /// These bytes, both ends included, of a file that is so long (if the host says so).
    Part { first: u64, last: u64, length: Option<u64> },
    /// None: the file is so long (the answer 416).
    Unsatisfied { length: u64 },
}

impl ContentRange {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_RANGE).iter();
        let value = values.next()?.to_str().ok()?;
        // Two of them contradict each other, or might.
        if values.next().is_some() { None } else { Self::parse(value) }
    }

    fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once(' ')?;
        let (range, length) = rest.trim().split_once('/')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        if range == "*" {
            return Some(Self::Unsatisfied { length: number(length)? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let length = if length == "*" { None } else { Some(number(length)?) };
        let is_within = first <= last && length.is_none_or(|length| last < length);
        is_within.then_some(Self::Part { first, last, length })
    }
}

/// Digits alone: `parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The longest validator that is kept: of a playlist's files there are thousands. One that is longer counts as none.
const MOST_VALIDATOR_BYTES: usize = 256;

/// What tells one version of a file from another: pinned on the first answer, compared on every later one.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    /// Byte for byte the same as long as this is.
    StrongTag(HeaderValue),
    /// Good to a second; compared together with the length.
    Modified(HeaderValue),
    /// All that there is where no date is.
    WeakTag(WeakTag),
    /// The host says nothing; the length alone is compared.
    Unknown,
}

impl Version {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let tag = headers.get(ETAG).and_then(copied);
        match (tag, headers.get(LAST_MODIFIED).and_then(copied)) {
            (Some(tag), _) if tag.as_bytes().starts_with(b"\"") => Self::StrongTag(tag),
            (_, Some(date)) => Self::Modified(date),
            (Some(tag), None) if tag.as_bytes().starts_with(b"W/\"") => {
                Self::WeakTag(WeakTag::new(tag, headers))
            }
            (_, None) => Self::Unknown,
        }
    }

    /// Whether an answer is of this version. A host that gave a validator once has to give it on each 206
    /// (RFC 9110, 15.3.7), so one that is missing counts as another.
    pub(crate) fn is_of(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::StrongTag(tag) => headers.get(ETAG) == Some(tag),
            Self::Modified(date) => headers.get(LAST_MODIFIED) == Some(date),
            Self::WeakTag(tag) => tag.allows(headers),
            Self::Unknown => true,
        }
    }

    /// Whether an answer says nothing of what is compared, neither this version nor another.
    pub(crate) fn is_unsaid_in(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::StrongTag(_) => !headers.contains_key(ETAG),
            Self::Modified(_) => !headers.contains_key(LAST_MODIFIED),
            Self::WeakTag(_) | Self::Unknown => false,
        }
    }

    /// What `If-Range` may carry: strong tags only (RFC 9110, 13.1.5; a date is strong under conditions that
    /// cannot be checked from here).
    pub(crate) fn if_range(&self) -> Option<&HeaderValue> {
        match self {
            Self::StrongTag(tag) => Some(tag),
            Self::Modified(_) | Self::WeakTag(_) | Self::Unknown => None,
        }
    }
}

/// A weak tag of the first answer. Some hosts have one for the file, and some make one of each body that they send. The
/// first answer for another range shows which: only where both agree does a later tag that differs mean another file.
#[derive(Debug, Clone)]
pub(crate) struct WeakTag {
    tag: HeaderValue,
    /// The `Content-Range` that came with it.
    range: Option<HeaderValue>,
    /// Shared by all that is compared with the same first answer.
    is_of_file: Arc<OnceLock<bool>>,
}

impl WeakTag {
    fn new(tag: HeaderValue, headers: &HeaderMap) -> Self {
        let range = headers.get(CONTENT_RANGE).and_then(copied);
        Self { tag, range, is_of_file: Arc::default() }
    }

    /// Whether an answer may be of the same version. The tag may be left out: a weak one is no promise about ranges.
    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(other) = headers.get(ETAG).and_then(opaque) else { return true };
        let is_same = opaque(&self.tag) == Some(other);
        let is_of_file = if headers.get(CONTENT_RANGE) == self.range.as_ref() {
            self.is_of_file.get().is_some_and(|is_of_file| *is_of_file)
        } else {
            *self.is_of_file.get_or_init(|| is_same)
        };
        is_same || !is_of_file
    }
}

/// A tag as weak comparison has it (RFC 9110, 8.8.3.2); `None` where it is none, for want of quotes.
fn opaque(tag: &HeaderValue) -> Option<&[u8]> {
    let quoted = tag.as_bytes().strip_prefix(b"W/").unwrap_or(tag.as_bytes());
    quoted.starts_with(b"\"").then_some(quoted)
}

/// A value of its own: as it came, it is a slice of the buffer into which the whole answer was read, and keeps that.
fn copied(value: &HeaderValue) -> Option<HeaderValue> {
    let bytes = value.as_bytes();
    (bytes.len() <= MOST_VALIDATOR_BYTES).then(|| HeaderValue::from_bytes(bytes).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_exactly() {
        let part = |first, last, length| Some(ContentRange::Part { first, last, length });
        for (value, expected) in [
            ("bytes 0-9/10", part(0, 9, Some(10))),
            ("Bytes 5-9/10", part(5, 9, Some(10))),
            ("bytes 0-9/*", part(0, 9, None)),
            ("bytes */10", Some(ContentRange::Unsatisfied { length: 10 })),
            ("bytes */0", Some(ContentRange::Unsatisfied { length: 0 })),
            ("bytes 0-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */*", None),
            ("bytes +0-9/10", None),
            ("bytes 0-9", None),
            ("items 0-9/10", None),
            ("bytes 0-99999999999999999999/*", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value:?}");
        }
    }

    #[test]
    fn only_a_strong_tag_goes_into_if_range() {
        let headers = |pairs: &[(http::HeaderName, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        let strong = headers(&[(ETAG, "\"a\""), (LAST_MODIFIED, "then")]);
        let weak = headers(&[(ETAG, "W/\"a\""), (LAST_MODIFIED, "then")]);
        assert!(Version::of(&strong).if_range().is_some());
        assert!(matches!(Version::of(&weak), Version::Modified(date) if date == "then"));
        assert!(Version::of(&weak).if_range().is_none());
        assert!(!Version::of(&strong).is_of(&weak));
        assert!(Version::of(&weak).is_of(&strong), "the date is what was pinned");
        assert!(!Version::of(&weak).is_of(&HeaderMap::new()));
        for version in [Version::of(&strong), Version::of(&weak)] {
            assert!(version.is_unsaid_in(&HeaderMap::new()) && !version.is_unsaid_in(&strong));
        }
        assert!(Version::of(&HeaderMap::new()).is_of(&strong));
        assert!(Version::of(&headers(&[(ETAG, "W/\"a\"")])).if_range().is_none());
        let long = HeaderValue::from_str(&format!("\"{}\"", "a".repeat(255))).expect("a tag");
        let long: HeaderMap = [(ETAG, long)].into_iter().collect();
        for none in [long, headers(&[(ETAG, "a")]), headers(&[(ETAG, "w/\"a\"")])] {
            assert!(matches!(Version::of(&none), Version::Unknown), "{none:?}");
        }
    }

    #[test]
    fn a_weak_tag_counts_once_another_range_has_had_it_too() {
        let of = |range: Option<&'static str>, tag: &'static str| -> HeaderMap {
            let range = range.map(|range| (CONTENT_RANGE, HeaderValue::from_static(range)));
            range.into_iter().chain([(ETAG, HeaderValue::from_static(tag))]).collect()
        };
        let (first, second, third) = (Some("bytes 0-4/15"), Some("bytes 5-9/15"), Some("bytes 10-14/15"));
        // What comes after `W/"a"` of the first range, and whether each may be of the same file.
        for later in [
            &[(second, "W/\"a\"", true), (third, "W/\"b\"", false), (first, "W/\"b\"", false)][..],
            &[(second, "\"a\"", true), (third, "\"b\"", false), (third, "\"a\"", true)],
            // Several ranges at once.
            &[(None, "W/\"a\"", true), (None, "W/\"b\"", false)],
            // One for each range; two may have the same bytes.
            &[(second, "W/\"b\"", true), (third, "W/\"b\"", true), (second, "W/\"c\"", true)],
            // The same range again shows nothing.
            &[(first, "W/\"a\"", true), (second, "W/\"b\"", true), (first, "W/\"a\"", true)],
            // No tags at all.
            &[(second, "b", true), (second, "W/\"a\"", true), (third, "b", true), (third, "W/\"b\"", false)],
        ] {
            let version = Version::of(&of(first, "W/\"a\""));
            // All that is compared with one answer learns together.
            let (one, other) = (version.clone(), version);
            for (at, (range, tag, is_same)) in later.iter().enumerate() {
                let version = if at % 2 == 0 { &one } else { &other };
                assert_eq!(version.is_of(&of(*range, tag)), *is_same, "{at} of {later:?}");
            }
            assert!(one.is_of(&HeaderMap::new()));
        }
    }
}
