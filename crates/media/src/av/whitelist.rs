//! What may be opened at all: demuxers of real media, and decoders of audio.
//!
//! libav knows more formats than are media: playlists that fetch other addresses (hls, dash, concat), scripts,
//! subtitles, devices, image sequences. None of them has any business in a stranger's file.

/// Demuxers by libav's name, where a comma-separated name counts by its first part, with the container's short name
/// for people; mov and matroska are told apart by their contents elsewhere.
const DEMUXERS: &[(&str, &str)] = &[
    ("aac", "aac"),
    ("ac3", "ac3"),
    ("aiff", "aiff"),
    ("amr", "amr"),
    ("asf", "asf"),
    ("asf_o", "asf"),
    ("au", "au"),
    ("avi", "avi"),
    ("caf", "caf"),
    ("dts", "dts"),
    ("eac3", "eac3"),
    ("flac", "flac"),
    ("flv", "flv"),
    ("loas", "aac"),
    ("matroska", "mkv"),
    ("mov", "mp4"),
    ("mp3", "mp3"),
    ("mpeg", "mpeg"),
    ("mpegts", "ts"),
    ("mxf", "mxf"),
    ("ogg", "ogg"),
    ("w64", "w64"),
    ("wav", "wav"),
    ("wv", "wv"),
];

/// Decoders by libav's name. Each is libav's own: a foreign library adds an attack surface for nothing.
#[rustfmt::skip] // one name a line would be eighty lines
const DECODERS: &[&str] = &[
    "aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "alac", "amrnb",
    "amrwb", "dca", "eac3", "flac", "g722", "g726", "gsm", "gsm_ms", "mlp", "mp1", "mp2", "mp3float",
    "nellymoser", "opus", "pcm_alaw", "pcm_bluray", "pcm_dvd", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le",
    "pcm_mulaw", "pcm_s16be", "pcm_s16be_planar", "pcm_s16le", "pcm_s16le_planar", "pcm_s24be", "pcm_s24le",
    "pcm_s24le_planar", "pcm_s32be", "pcm_s32le", "pcm_s32le_planar", "pcm_s8", "pcm_s8_planar", "pcm_u16be",
    "pcm_u16le", "pcm_u24be", "pcm_u24le", "pcm_u32be", "pcm_u32le", "pcm_u8", "speex", "truehd", "vorbis", "wavpack",
    "wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice",
];

/// The short name for people of a demuxer that may be used.
pub(super) fn container(demuxer: &str) -> Option<&'static str> {
    let first = demuxer.split(',').next().unwrap_or(demuxer);
    DEMUXERS.iter().find(|(name, _)| *name == first).map(|(_, short)| *short)
}

/// Whether a decoder may be used.
pub(super) fn allows_decoder(name: &str) -> bool {
    DECODERS.contains(&name)
}

/// The demuxers, as libav's `format_whitelist` takes them.
pub(super) fn demuxers() -> String {
    DEMUXERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// The decoders, as libav's `codec_whitelist` takes them.
pub(super) fn decoders() -> String {
    DECODERS.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_passes_and_what_reaches_elsewhere_does_not() {
        for (demuxer, expected) in [
            ("mov,mp4,m4a,3gp,3g2,mj2", Some("mp4")),
            ("matroska,webm", Some("mkv")),
            ("mpegts", Some("ts")),
            ("hls", None),
            ("concat", None),
            ("dash", None),
            ("image2", None),
            ("png_pipe", None),
            ("srt", None),
            ("tty", None),
            ("lavfi", None),
            ("sdp", None),
        ] {
            assert_eq!(container(demuxer), expected, "{demuxer}");
        }
        assert!(allows_decoder("aac"));
        for decoder in ["h264", "libopus", "hevc", "png", "ansi"] {
            assert!(!allows_decoder(decoder), "{decoder}");
        }
    }
}
