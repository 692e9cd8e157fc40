//! Attribute lists: `NAME=value,NAME="value, quoted"` (RFC 8216, 4.2).

use super::super::error::PlaylistError;

/// One list. Names are few, so that they are searched one by one.
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Attributes<'a> {
    /// Reads what follows a tag's colon. `tag` is named where it cannot be read.
    pub(super) fn parse(tag: &str, mut list: &'a str) -> Result<Self, PlaylistError> {
        let malformed = || PlaylistError::Malformed(format!("its tag {tag} cannot be read"));
        let mut attributes = Vec::new();
        list = list.trim();
        while !list.is_empty() {
            let (name, rest) = list.split_once('=').ok_or_else(malformed)?;
            let (value, rest) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or_else(malformed)?,
                None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
            };
            attributes.push((name.trim(), value));
            list = match rest.trim_start() {
                "" => "",
                rest => rest.strip_prefix(',').ok_or_else(malformed)?.trim_start(),
            };
        }
        Ok(Self(attributes))
    }

    /// The value of this name, without its quotes.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// Whether it is `YES`.
    pub(super) fn says_yes(&self, name: &str) -> bool {
        self.get(name) == Some("YES")
    }

    /// Its number; 0 where there is none.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_quoted_and_hold_commas() {
        let list = r#"BANDWIDTH=1280000,CODECS="avc1.64,mp4a.40.2", NAME="",DEFAULT=YES,RESOLUTION=1x2"#;
        let attributes = Attributes::parse("#EXT", list).expect("a list");
        assert_eq!(attributes.number("BANDWIDTH"), 1_280_000);
        assert_eq!(attributes.get("CODECS"), Some("avc1.64,mp4a.40.2"));
        assert_eq!(attributes.get("NAME"), Some(""));
        assert!(attributes.says_yes("DEFAULT") && !attributes.says_yes("FORCED"));
        assert_eq!((attributes.get("RESOLUTION"), attributes.get("URI")), (Some("1x2"), None));
        assert_eq!(attributes.number("RESOLUTION"), 0);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for list in ["METHOD", "URI=\"open", "A=\"x\"B=1", "=\"x\"y"] {
            assert!(Attributes::parse("#EXT", list).is_err(), "{list}");
        }
    }
}
