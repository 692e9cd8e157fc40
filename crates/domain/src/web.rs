//! Addresses that customers name. They may carry credentials in their user part or query, so printing one shows
//! neither.

use std::borrow::Cow;
use std::fmt;

use url::Url;

/// The longest URL taken, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// An absolute http or https URL with a host, at most [`MAX_URL_BYTES`] long, as the customer wrote it.
///
/// `Display` and `Debug` leave out user, password, query and fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl {
    written: String,
    url: Url,
}

/// Where a source is fetched from.
pub type SourceUrl = WebUrl;
/// Where events are sent to.
pub type WebhookUrl = WebUrl;

impl WebUrl {
    /// Reads an address; the error is a sentence for the customer that does not repeat the input.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("the URL has {} bytes; at most {MAX_URL_BYTES} are taken", text.len()));
        }
        // The parser would drop some of these and escape others, but what is kept is what was written: PostgreSQL has
        // no text with a NUL, so the job could never be finished.
        if text.chars().any(char::is_control) {
            return Err("the URL has a control character".to_owned());
        }
        let url = Url::parse(text).map_err(|cause| format!("not an absolute URL: {cause}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the scheme is `{}`; only http and https are taken", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("the URL names no host".to_owned());
        }
        Ok(Self { written: text.to_owned(), url })
    }

    /// Exactly what the customer wrote, secrets included: for echoing to its owner.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// As written, but with a mask instead of user and password: for showing where something goes.
    pub fn masked(&self) -> Cow<'_, str> {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return Cow::Borrowed(&self.written);
        }
        let mut masked = self.url.clone();
        // Only a URL without a host refuses these, and none is taken.
        let _ = masked.set_username("***").and_then(|()| masked.set_password(None));
        Cow::Owned(masked.into())
    }

    /// The parsed URL, secrets included: for dialling.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The last path segment, percent-decoded by nobody: a hint for naming the result.
    pub fn last_segment(&self) -> Option<&str> {
        self.url.path_segments()?.next_back().filter(|segment| !segment.is_empty())
    }
}

/// A URL without what may be secret: scheme, host, port and path alone.
pub fn redacted(url: &Url) -> String {
    let mut shown = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        shown.push_str(&format!(":{port}"));
    }
    shown.push_str(url.path());
    if url.query().is_some() {
        shown.push_str("?…");
    }
    shown
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.url))
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_printed() {
        let url = WebUrl::parse("https://user:pa55@example.com:8443/v.mp4?token=t0ken#frag").expect("a URL");
        assert_eq!(url.to_string(), "https://example.com:8443/v.mp4?…");
        assert_eq!(format!("{url:?}"), "https://example.com:8443/v.mp4?…");
        assert!(url.as_written().contains("t0ken"));
    }

    #[test]
    fn user_and_password_are_masked_and_nothing_else() {
        for (written, masked) in [
            ("https://user:pa55@example.com:8443/v?a=b#c", "https://***@example.com:8443/v?a=b#c"),
            ("https://token@example.com/v", "https://***@example.com/v"),
            ("https://:pa55@example.com/v", "https://***@example.com/v"),
            ("https://Example.com", "https://Example.com"),
        ] {
            assert_eq!(WebUrl::parse(written).expect("a URL").masked(), masked);
        }
    }

    #[test]
    fn only_http_with_a_host_within_bounds_is_taken() {
        for text in [
            "",
            "video.mp4",
            "//example.com/a",
            "ftp://example.com/a",
            "file:///etc/passwd",
            "http://",
            "data:,x",
            "http://e.com/a\0",
            "http://e.com/a\0b",
            "http://e.com/a\n",
            "http://e.com/a\u{85}",
        ] {
            assert!(WebUrl::parse(text).is_err(), "{text:?} was taken");
        }
        assert!(WebUrl::parse(&format!("http://e.com/{}", "a".repeat(2035))).is_ok());
        assert!(WebUrl::parse(&format!("http://e.com/{}", "a".repeat(2036))).is_err());
    }
}
