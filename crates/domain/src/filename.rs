//! What a result is called.

use crate::format::AudioFormat;
use crate::spec::{SpecError, SpecPart};

/// The name of a result, as asked for: with or without an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filename(String);

impl Filename {
    /// The longest name, in bytes: with an extension it must still fit the 255 bytes of a file system's entry.
    pub const MAX_BYTES: usize = 240;

    /// Takes a name that is a name everywhere: no separators, no control characters, not `.` or `..`.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let refuse = |reason: String| Err(SpecError::new(SpecPart::Request, "options.filename", reason));
        if text.trim().is_empty() {
            return refuse("the name is empty; leave it out to get one from the source".to_owned());
        }
        if text.len() > Self::MAX_BYTES {
            return refuse(format!(
                "the name has {} bytes; at most {} are taken",
                text.len(),
                Self::MAX_BYTES
            ));
        }
        if text.chars().any(|c| matches!(c, '/' | '\\') || c.is_control() || is_direction_mark(c)) {
            return refuse(
                "the name has a path separator or a control character; use a plain name".to_owned(),
            );
        }
        if matches!(text, "." | "..") {
            return refuse("`.` and `..` are no names; use a plain name".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// As the customer wrote it.
    pub fn as_written(&self) -> &str {
        &self.0
    }

    /// The name with the format's extension, added unless it is there already.
    pub fn for_format(&self, format: AudioFormat) -> String {
        let extension = format.as_str();
        match self.0.rsplit_once('.') {
            Some((stem, written)) if !stem.is_empty() && written.eq_ignore_ascii_case(extension) => {
                self.0.clone()
            }
            _ => format!("{}.{extension}", self.0),
        }
    }
}

/// Marks that reorder text, by which `gpj.exe` can be shown as `exe.jpg` (Unicode TR 36).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filename_is_a_plain_name_and_gets_its_extension_once() {
        for text in ["", "  ", "a/b", "a\\b", "..", ".", "a\nb", "a\0", "a\u{202e}b", &"x".repeat(241)] {
            assert!(Filename::parse(text).is_err(), "{text:?} was taken");
        }
        for (text, expected) in [
            ("talk", "talk.mp3"),
            ("talk.mp3", "talk.mp3"),
            ("talk.MP3", "talk.MP3"),
            ("talk.wav", "talk.wav.mp3"),
            ("v1.2", "v1.2.mp3"),
            (".mp3", ".mp3.mp3"),
            ("für Élise", "für Élise.mp3"),
        ] {
            assert_eq!(Filename::parse(text).expect(text).for_format(AudioFormat::Mp3), expected);
        }
    }
}
