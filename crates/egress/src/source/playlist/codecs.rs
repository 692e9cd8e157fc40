//! What a list of codecs (RFC 6381) says of a stream.

/// Beginnings of the names of audio codecs, in lower case.
const AUDIO: &[&str] = &[
    "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac", "mp3", "vorbis", "dts", "mha1", "mhm1", "mp2",
    "samr", "lpcm",
];
/// Beginnings of those of text.
const TEXT: &[&str] = &["stpp", "wvtt", "tx3g"];

/// Whether sound is among them.
pub(super) fn has_audio(codecs: &str) -> bool {
    names(codecs).any(|name| is_among(AUDIO, &name))
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
}
