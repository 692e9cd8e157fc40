//! The streams of a container, and which of them is wanted.

use domain::Failure;

use super::failures;
use super::ffi::TimeBase;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sound.
    Audio,
    /// A moving picture; cover art is none.
    Video,
    /// Subtitles, data, pictures.
    Other,
}

/// One stream, as its header describes it. Sound may turn out otherwise when it is decoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    /// Its number in the container.
    pub(super) index: usize,
    /// What it carries.
    pub(super) kind: Kind,
    /// Its codec's name, or its four-letter code where nobody knows it.
    pub(super) codec: String,
    /// The decoder for it, where there is one that may be used.
    pub(super) decoder: Option<String>,
    /// How many channels; 0 if the header does not say.
    pub(super) channels: u16,
    /// Hz; 0 if the header does not say.
    pub(super) rate: u32,
    /// Bits of a sample; 0 where that makes no sense or the header does not say.
    pub(super) depth: u32,
    /// Whether the container says to play it unless told otherwise.
    pub(super) is_default: bool,
    /// Whether it is marked as encrypted.
    pub(super) is_encrypted: bool,
    /// How long it alone is, where the container says that.
    pub(super) duration_secs: Option<f64>,
    /// The unit of its timestamps.
    pub(super) time_base: TimeBase,
}

/// The track to extract: of those that can be decoded the container's default, else the one with most channels, else
/// the first.
pub(super) fn choose(tracks: &[Track]) -> Result<&Track, Failure> {
    let audio = || tracks.iter().filter(|track| track.kind == Kind::Audio);
    if audio().next().is_none() {
        return Err(failures::no_audio(format!("has no audio track; it has {}", inventory(tracks))));
    }
    audio()
        .filter(|track| track.decoder.is_some() && !track.is_encrypted)
        .max_by_key(|track| (track.is_default, track.channels, std::cmp::Reverse(track.index)))
        .ok_or_else(|| {
            let codecs = audio().map(|track| track.codec.as_str()).collect::<Vec<_>>().join(", ");
            failures::undecodable(if audio().all(|track| track.is_encrypted) {
                format!("the audio ({codecs}) is encrypted")
            } else {
                format!("no decoder for {codecs}")
            })
        })
}

/// What there is instead of sound: `1 video stream (h264), 1 other stream (mov_text)`.
fn inventory(tracks: &[Track]) -> String {
    /// Names beyond these add nothing; a hostile file has thousands.
    const MOST_NAMES: usize = 8;
    let group = |kind: Kind, word: &str| {
        let codecs: Vec<&str> =
            tracks.iter().filter(|track| track.kind == kind).map(|track| track.codec.as_str()).collect();
        let plural = if codecs.len() == 1 { "" } else { "s" };
        let names = codecs.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
        (!codecs.is_empty()).then(|| format!("{} {word} stream{plural} ({names})", codecs.len()))
    };
    let groups: Vec<String> =
        [group(Kind::Video, "video"), group(Kind::Other, "other")].into_iter().flatten().collect();
    if groups.is_empty() { "no stream at all".to_owned() } else { groups.join(", ") }
}

#[cfg(test)]
mod tests {
    use ffmpeg_sys_next::AVRational;

    use super::*;

    fn track(index: usize, kind: Kind, codec: &str) -> Track {
        Track {
            index,
            kind,
            codec: codec.to_owned(),
            decoder: (codec != "ac4").then(|| codec.to_owned()),
            channels: 2,
            rate: 48_000,
            depth: 0,
            is_default: false,
            is_encrypted: false,
            duration_secs: None,
            time_base: TimeBase::new(AVRational { num: 1, den: 1000 }),
        }
    }

    #[test]
    fn default_then_channels_then_first() {
        let [video, first, second] =
            [track(0, Kind::Video, "h264"), track(1, Kind::Audio, "aac"), track(2, Kind::Audio, "ac3")];
        let chosen = |tracks: &[Track]| choose(tracks).expect("a track").index;
        assert_eq!(chosen(&[video.clone(), first.clone(), second.clone()]), 1, "the first");
        let surround = Track { channels: 6, ..second.clone() };
        assert_eq!(chosen(&[video.clone(), first.clone(), surround.clone()]), 2, "most channels");
        let default = Track { is_default: true, ..first.clone() };
        assert_eq!(chosen(&[video, default, surround.clone()]), 1, "the default");
        let unknown = Track { is_default: true, ..track(1, Kind::Audio, "ac4") };
        assert_eq!(chosen(&[unknown, surround]), 2, "the one that can be decoded");
    }

    #[test]
    fn what_cannot_be_extracted_is_said_by_name() {
        let details = |tracks: &[Track]| choose(tracks).expect_err("nothing to choose").public.details;
        let video = track(0, Kind::Video, "h264");
        let cases = [
            (vec![], "has no audio track; it has no stream at all"),
            (vec![video.clone()], "has no audio track; it has 1 video stream (h264)"),
            (vec![track(0, Kind::Audio, "ac4")], "no decoder for ac4"),
            (
                vec![video, Track { is_encrypted: true, ..track(1, Kind::Audio, "aac") }],
                "the audio (aac) is encrypted",
            ),
        ];
        for (tracks, expected) in cases {
            assert_eq!(details(&tracks).as_deref(), Some(expected));
        }
    }
}
