//! Where bytes that a playlist names lie.

use std::ops::Range;

use url::Url;

use super::error::PlaylistError;

/// The longest address that is taken, as of a source: a playlist that repeats a long one for each segment would grow.
const MOST_URL_CHARS: usize = 2048;

/// A file, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) url: Url,
    pub(super) range: Option<Range<u64>>,
}

/// The address that `reference` means in a document at `base`.
pub(super) fn resolve(base: &Url, reference: &str) -> Result<Url, PlaylistError> {
    let unusable = || PlaylistError::Malformed("an address in it cannot be read".to_owned());
    if reference.len() > MOST_URL_CHARS {
        return Err(PlaylistError::Malformed(format!(
            "an address has more than {MOST_URL_CHARS} characters"
        )));
    }
    let url = base.join(reference).map_err(|_| unusable())?;
    match (base.scheme(), url.scheme()) {
        ("https", "http") => Err(PlaylistError::Downgrade),
        (_, "http" | "https") if url.as_str().len() <= MOST_URL_CHARS => Ok(url),
        (_, "http" | "https") => Err(unusable()),
        (_, scheme) => Err(PlaylistError::Scheme(scheme.chars().take(32).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_web_alone() {
        let base = |text: &str| Url::parse(text).expect(text);
        let of = |from: &str, to: &str| resolve(&base(from), to).map(|url| url.to_string());
        let plain = "http://h.example/a/list.m3u8?token=1";
        for (to, expected) in [
            ("seg.ts", "http://h.example/a/seg.ts"),
            ("../seg.ts?x", "http://h.example/seg.ts?x"),
            ("//cdn.example/s", "http://cdn.example/s"),
            ("https://cdn.example/s", "https://cdn.example/s"),
        ] {
            assert_eq!(of(plain, to).as_deref(), Ok(expected));
        }
        for scheme in ["file:///etc/passwd", "data:text/plain,0123456789abcdef", "concat:a|b", "skd://x"] {
            assert!(matches!(of(plain, scheme), Err(PlaylistError::Scheme(_))), "{scheme}");
        }
        assert_eq!(of("https://h.example/", "http://h.example/s"), Err(PlaylistError::Downgrade));
        assert!(matches!(of(plain, "http://"), Err(PlaylistError::Malformed(_))));
        assert!(matches!(of(plain, &"a".repeat(2049)), Err(PlaylistError::Malformed(_))));
        assert!(matches!(of(plain, &"a".repeat(2040)), Err(PlaylistError::Malformed(_))), "with its base");
    }
}
