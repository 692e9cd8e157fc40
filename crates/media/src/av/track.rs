//! The streams of a container, and which of them is wanted.

use std::cmp::Reverse;

use domain::{Closeness, Failure, TrackChoice, closeness};

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
    /// Samples that its header says come before the sound.
    pub(super) priming: u32,
    /// Bits of a sample; 0 where that makes no sense or the header does not say.
    pub(super) depth: u32,
    /// Its language, as the container writes it.
    pub(super) language: Option<String>,
    /// Whether the container says to play it unless told otherwise.
    pub(super) is_default: bool,
    /// Whether it is marked as encrypted.
    pub(super) is_encrypted: bool,
    /// How long it alone is, where the container says that.
    pub(super) duration_secs: Option<f64>,
    /// The unit of its timestamps.
    pub(super) time_base: TimeBase,
}

/// The track to extract: of those that were asked for and can be decoded the container's default, else the one with
/// most channels, else the first.
pub(super) fn choose<'t>(tracks: &'t [Track], wanted: Option<&TrackChoice>) -> Result<&'t Track, Failure> {
    let audio: Vec<&Track> = tracks.iter().filter(|track| track.kind == Kind::Audio).collect();
    if audio.is_empty() {
        return Err(failures::no_audio(format!("has no audio track; it has {}", inventory(tracks))));
    }
    let asked: Vec<&Track> = match wanted {
        None => audio.clone(),
        Some(TrackChoice::Index(index)) => audio.get(*index as usize).copied().into_iter().collect(),
        Some(TrackChoice::Language(_)) => {
            audio.iter().copied().filter(|track| nearness(track, wanted).is_some()).collect()
        }
    };
    if asked.is_empty() {
        return Err(failures::no_such_track(listing(&audio)));
    }
    let usable = asked.iter().copied().filter(|track| track.decoder.is_some() && !track.is_encrypted);
    usable
        .max_by_key(|track| (nearness(track, wanted), track.is_default, track.channels, Reverse(track.index)))
        .ok_or_else(|| undecodable(&asked))
}

/// How near its language is to the one that was asked for.
fn nearness(track: &Track, wanted: Option<&TrackChoice>) -> Option<Closeness> {
    match (wanted, &track.language) {
        (Some(TrackChoice::Language(asked)), Some(said)) => closeness(asked, said),
        _ => None,
    }
}

fn undecodable(tracks: &[&Track]) -> Failure {
    let codecs = tracks.iter().map(|track| track.codec.as_str()).collect::<Vec<_>>().join(", ");
    failures::undecodable(if tracks.iter().all(|track| track.is_encrypted) {
        format!("the audio ({codecs}) is encrypted")
    } else {
        format!("no decoder for {codecs}")
    })
}

/// The audio tracks, so that one can be asked for: `0: aac, eng, 2 channels; 1: ac3, 6 channels`.
fn listing(audio: &[&Track]) -> String {
    /// A broadcast has fewer; a hostile file has hundreds.
    const MOST_TRACKS: usize = 24;
    /// The longest language tag that makes sense (RFC 5646, 4.4.1).
    const MOST_TAG_CHARS: usize = 35;
    let one = |(index, track): (usize, &&Track)| {
        let language = track.language.iter().flat_map(|language| {
            let tag =
                language.chars().filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | ','));
            [", ".to_owned(), tag.take(MOST_TAG_CHARS).collect()]
        });
        let plural = if track.channels == 1 { "" } else { "s" };
        let language = language.collect::<String>();
        format!("{index}: {}{language}, {} channel{plural}", track.codec, track.channels)
    };
    let tracks: Vec<String> = audio.iter().enumerate().take(MOST_TRACKS).map(one).collect();
    let rest = audio.len().saturating_sub(MOST_TRACKS);
    let more = if rest > 0 { format!("; and {rest} more") } else { String::new() };
    format!("the audio tracks are {}{more}", tracks.join("; "))
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
            priming: 0,
            depth: 0,
            language: None,
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
        let chosen = |tracks: &[Track]| choose(tracks, None).expect("a track").index;
        assert_eq!(chosen(&[video.clone(), first.clone(), second.clone()]), 1, "the first");
        let surround = Track { channels: 6, ..second.clone() };
        assert_eq!(chosen(&[video.clone(), first.clone(), surround.clone()]), 2, "most channels");
        let default = Track { is_default: true, ..first.clone() };
        assert_eq!(chosen(&[video, default, surround.clone()]), 1, "the default");
        let unknown = Track { is_default: true, ..track(1, Kind::Audio, "ac4") };
        assert_eq!(chosen(&[unknown, surround]), 2, "the one that can be decoded");
    }

    #[test]
    fn a_track_is_found_by_its_number_and_its_language() {
        let spoken = |index: usize, language: &str, channels: u16| Track {
            language: Some(language.to_owned()),
            channels,
            ..track(index, Kind::Audio, "aac")
        };
        let tracks = [
            track(0, Kind::Video, "h264"),
            Track { is_default: true, ..spoken(1, "eng", 2) },
            spoken(2, "ger", 2),
            spoken(3, "por", 2),
            spoken(4, "pt-BR", 2),
            spoken(5, "deu", 6),
            track(6, Kind::Audio, "ac4"),
        ];
        let index = |number: u32| TrackChoice::Index(number);
        let language = |tag: &str| TrackChoice::language(tag).expect("a language");
        for (wanted, expected) in [
            (index(0), 1),
            (index(1), 2),
            (language("en-GB"), 1),
            (language("de"), 5),
            (language("pt"), 3),
            (language("pt-br"), 4),
            (language("pt-pt"), 3),
        ] {
            let chosen = choose(&tracks, Some(&wanted)).map(|track| track.index);
            assert_eq!(chosen.ok(), Some(expected), "{wanted:?}");
        }
        for wanted in [index(6), language("fr")] {
            let failure = choose(&tracks, Some(&wanted)).expect_err("no such track").public;
            let expected = "the audio tracks are 0: aac, eng, 2 channels; 1: aac, ger, 2 channels; 2: aac, por, 2 channels; \
                            3: aac, pt-BR, 2 channels; 4: aac, deu, 6 channels; 5: ac4, 2 channels";
            assert_eq!(failure.details.as_deref(), Some(expected), "{wanted:?}");
        }
        let failure = choose(&tracks, Some(&index(5))).expect_err("no decoder").public;
        assert_eq!(failure.details.as_deref(), Some("no decoder for ac4"), "no other one is taken");
    }

    #[test]
    fn a_listing_is_short_and_plain_whatever_the_source_says() {
        let hostile =
            Track { language: Some("<b>\u{202e}\n".repeat(50)), channels: 1, ..track(0, Kind::Audio, "aac") };
        let tracks = vec![hostile; 200];
        let failure = choose(&tracks, Some(&TrackChoice::Index(900))).expect_err("no such track").public;
        let details = failure.details.expect("details");
        assert!(
            details.starts_with("the audio tracks are 0: aac, bbbb") && details.len() < 2000,
            "{details}"
        );
        assert!(details.ends_with("1 channel; and 176 more") && !details.contains(['<', '\n']), "{details}");
    }

    #[test]
    fn what_cannot_be_extracted_is_said_by_name() {
        let details = |tracks: &[Track]| choose(tracks, None).expect_err("nothing to choose").public.details;
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
