//! The keys of a media playlist: which of them decrypts a segment (RFC 8216, 4.3.2.4).

use std::sync::Arc;

use url::Url;

use super::super::error::PlaylistError;
use super::super::place::resolve;
use super::attributes::Attributes;

/// Formats in which one key may be given at once: there are five or so.
const MOST_FORMATS: usize = 16;
/// The format of a key that is fetched as it is.
const PLAIN: &str = "identity";
/// The one method that is for anybody who has the key.
const METHOD: &str = "AES-128";

/// What is in force for the segments that follow: one key, as a rule, in each format that some player reads.
#[derive(Default)]
pub(super) struct Keys<'a>(Vec<Given<'a>>);

/// A key as one tag gives it.
struct Given<'a> {
    method: &'a str,
    format: &'a str,
    /// `None` where it cannot be had.
    key: Option<FetchedKey>,
}

/// A key that is fetched from an address.
pub(super) struct FetchedKey {
    pub(super) url: Arc<Url>,
    /// `None`: each segment has its own, which is its number.
    pub(super) iv: Option<[u8; 16]>,
}

impl<'a> Keys<'a> {
    /// Reads a tag: it takes the place of the one before it in the same format, and stands beside those in others.
    pub(super) fn put(&mut self, attributes: &Attributes<'a>, base: &Url) -> Result<(), PlaylistError> {
        let method = attributes.get("METHOD").ok_or_else(unreadable)?;
        let format = attributes.get("KEYFORMAT").unwrap_or(PLAIN);
        if method == "NONE" {
            self.0.clear();
            return Ok(());
        }
        let is_fetched = (method, format) == (METHOD, PLAIN);
        let key = is_fetched.then(|| FetchedKey::of(attributes, base)).transpose()?;
        self.0.retain(|given| given.format != format);
        if self.0.len() >= MOST_FORMATS {
            return Err(PlaylistError::Malformed("a key has too many formats".to_owned()));
        }
        self.0.push(Given { method, format, key });
        Ok(())
    }

    /// The key of the next segment, if it is encrypted.
    pub(super) fn in_force(&self) -> Result<Option<&FetchedKey>, PlaylistError> {
        let key = self.0.iter().find_map(|given| given.key.as_ref());
        // What is encrypted in one way for one player cannot be in another for the next: that would be another segment.
        let odd = self.0.iter().find(|given| given.method != METHOD || key.is_none());
        odd.map_or(Ok(key), |given| Err(given.refused()))
    }
}

impl Given<'_> {
    fn refused(&self) -> PlaylistError {
        let named = [self.method, self.format]
            .map(|text| text.chars().filter(|c| !c.is_control()).take(64).collect::<String>());
        PlaylistError::Encrypted(named.join(", "))
    }
}

impl FetchedKey {
    fn of(attributes: &Attributes<'_>, base: &Url) -> Result<Self, PlaylistError> {
        let url = resolve(base, attributes.get("URI").ok_or_else(unreadable)?)?;
        let iv = attributes.get("IV").map(|iv| parse_iv(iv).ok_or_else(unreadable)).transpose()?;
        Ok(Self { url: Arc::new(url), iv })
    }
}

/// `0x` and up to 32 digits, the last of which is the lowest.
fn parse_iv(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(digits, 16).ok())?.map(u128::to_be_bytes)
}

fn unreadable() -> PlaylistError {
    PlaylistError::Malformed("its tag #EXT-X-KEY cannot be read".to_owned())
}
