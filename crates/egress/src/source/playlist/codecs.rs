//! What a list of codecs (RFC 6381) says of a stream.

/// Beginnings of the names of audio codecs, in lower case.
const AUDIO: &[&str] = &[
    "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "mp3", "vorbis", "dts", "mha1", "mhm1", "mp2",
    "samr", "lpcm",
];
/// Those of them that no decoder is there for: AC-4 and MPEG-H.
const UNDECODABLE: &[&str] = &["ac-4", "mha1", "mhm1"];
/// Beginnings of those of text.
const TEXT: &[&str] = &["stpp", "wvtt", "tx3g"];

/// Whether sound is among them.
pub(super) fn has_audio(codecs: &str) -> bool {
    names(codecs).any(|name| is_among(AUDIO, &name))
}

/// Whether what sound there is can be decoded; where none is named, it may be.
pub(super) fn is_decodable(codecs: &str) -> bool {
    let mut sounds = names(codecs).filter(|name| is_among(AUDIO, name)).peekable();
    sounds.peek().is_none() || sounds.any(|name| !is_among(UNDECODABLE, &name))
}

/// Whether there is nothing to see.
pub(super) fn is_audio_alone(codecs: &str) -> bool {
    has_audio(codecs) && names(codecs).all(|name| is_among(AUDIO, &name) || is_among(TEXT, &name))
}

fn names(codecs: &str) -> impl Iterator<Item = String> + '_ {
    codecs.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
}

fn is_among(known: &[&str], name: &str) -> bool {
    known.iter().any(|known| name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_told_from_pictures() {
        for (codecs, has, alone) in [
            ("mp4a.40.2", true, true),
            ("avc1.64001f,mp4a.40.2", true, false),
            ("avc1.64001f", false, false),
            ("mp4a.40.2, stpp.ttml.im1t", true, true),
            ("hvc1.2.4.L120, Opus", true, false),
            ("fLaC", true, true),
            ("mp4v.20.9", false, false),
            ("", false, false),
        ] {
            assert_eq!((has_audio(codecs), is_audio_alone(codecs)), (has, alone), "{codecs}");
        }
    }

    #[test]
    fn sound_that_cannot_be_decoded_is_told_from_other() {
        for (codecs, expected) in [
            ("ac-4.02.01.03", false),
            ("avc1.64001f,mhm1.0x0D", false),
            ("ac-4.02.01.03,mp4a.40.2", true),
            ("ec-3", true),
            ("avc1.64001f", true),
            ("", true),
        ] {
            assert_eq!(is_decodable(codecs), expected, "{codecs}");
        }
    }
}
