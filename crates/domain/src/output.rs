//! What a result should be: how good, how loud, which part of the source. Nothing invalid gets past
//! the `parse` functions here.

use crate::format::AudioFormat;
use crate::loudness::Loudness;
use crate::spec::{SpecError, SpecPart};

/// How good a result should be, where no bitrate is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Quality {
    /// Speech.
    Low,
    /// Everyday listening.
    #[default]
    Medium,
    /// Transparent to most ears.
    High,
    /// The best that the format has.
    Extreme,
}

impl Quality {
    /// Every quality.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Extreme];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Extreme => "extreme",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|quality| quality.as_str() == text)
    }
}

/// A bitrate that its format can have, in kbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bitrate {
    kbps: u32,
}

impl Bitrate {
    /// Reads `"192k"` and checks it against what the format can do.
    pub fn parse(text: &str, format: AudioFormat) -> Result<Self, SpecError> {
        let refuse = |reason: String| Err(SpecError::new(SpecPart::Output, "output.bitrate", reason));
        let Some((low, high)) = format.bitrate_range() else {
            return refuse(format!("{} is lossless and has no bitrate; leave it out", format.as_str()));
        };
        let digits =
            text.strip_suffix(['k', 'K']).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse::<u32>().ok()) {
            Some(kbps) if (low..=high).contains(&kbps) => Ok(Self { kbps }),
            _ => refuse(format!("{} takes a text from \"{low}k\" to \"{high}k\"", format.as_str())),
        }
    }

    /// kbit/s.
    pub fn kbps(self) -> u32 {
        self.kbps
    }
}

/// Which of a container's audio tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackChoice {
    /// The audio track with this number, counted among the audio tracks alone, from 0.
    Index(u32),
    /// The best audio track in this language: a tag as containers write it (`en`, `eng`, `pt-br`), in lower case.
    Language(String),
}

impl TrackChoice {
    /// A track by its number.
    pub fn index(index: u64) -> Result<Self, SpecError> {
        match u32::try_from(index) {
            Ok(index) if index < 1000 => Ok(Self::Index(index)),
            _ => Err(refuse("track", "an index is counted from 0 and below 1000")),
        }
    }

    /// A track by its language.
    pub fn language(text: &str) -> Result<Self, SpecError> {
        let is_tag = (2..=35).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && text.bytes().take(2).all(|byte| byte.is_ascii_alphabetic());
        if is_tag {
            Ok(Self::Language(text.to_ascii_lowercase()))
        } else {
            Err(refuse(
                "track",
                "takes an index (0 is the first audio track) or a language like \"en\" or \"eng\"",
            ))
        }
    }
}

/// A part of the source, in seconds of its playing time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// From here, 0 or more.
    pub start_secs: f64,
    /// To here, later than the start; `None` is the end of the source.
    pub end_secs: Option<f64>,
}

impl Default for Span {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Span {
    /// All of it.
    pub const WHOLE: Self = Self { start_secs: 0.0, end_secs: None };
    /// No recording is longer than a month.
    const MOST_SECS: f64 = 31.0 * 86_400.0;

    /// Checks that the two make sense together.
    pub fn parse(start: Option<f64>, end: Option<f64>) -> Result<Self, SpecError> {
        let within = |secs: f64| (0.0..=Self::MOST_SECS).contains(&secs);
        let start_secs = start.unwrap_or(0.0);
        if !within(start_secs) {
            return Err(refuse("start", "takes seconds from 0 to 2678400 (31 days)"));
        }
        if end.is_some_and(|end| !within(end) || end <= start_secs) {
            return Err(refuse(
                "end",
                "takes seconds, more than `output.start` and at most 2678400 (31 days)",
            ));
        }
        Ok(Self { start_secs, end_secs: end })
    }

    /// Whether it is all of the source.
    pub fn is_whole(self) -> bool {
        self == Self::WHOLE
    }
}

/// How many channels the result has, where it is not as many as the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChannelCount {
    /// One.
    Mono,
    /// Two; a source with one is left as it is: channels are never invented.
    Stereo,
}

impl ChannelCount {
    /// 1 or 2.
    pub fn parse(count: u64) -> Result<Self, SpecError> {
        match count {
            1 => Ok(Self::Mono),
            2 => Ok(Self::Stereo),
            _ => Err(refuse("channels", "takes 1 or 2; leave it out to keep the source's")),
        }
    }

    /// 1 or 2.
    pub fn get(self) -> u16 {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// A sampling rate that its format can have, in Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleRate(u32);

impl SampleRate {
    /// Checks a rate against what the format can have.
    pub fn parse(hz: u64, format: AudioFormat) -> Result<Self, SpecError> {
        let rates = format.sample_rates();
        match u32::try_from(hz) {
            Ok(hz) if rates.contains(hz) => Ok(Self(hz)),
            _ => Err(refuse("sampleRate", format!("{} takes {rates} Hz", format.as_str()))),
        }
    }

    /// Hz.
    pub fn hz(self) -> u32 {
        self.0
    }
}

fn refuse(field: &str, reason: impl Into<String>) -> SpecError {
    SpecError::new(SpecPart::Output, format!("output.{field}"), reason)
}

/// What the result should be.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Its format.
    pub format: AudioFormat,
    /// How good; `None` where that was left open, which is [`Quality::default`] wherever one is needed.
    pub quality: Option<Quality>,
    /// Wins over quality.
    pub bitrate: Option<Bitrate>,
    /// Normalise to this loudness, or leave it as it is.
    pub normalize: Option<Loudness>,
    /// Carry tags, chapters and cover art over, where the format can.
    pub preserve_metadata: bool,
    /// Which track; `None` is the container's default one.
    pub track: Option<TrackChoice>,
    /// Which part of it.
    pub span: Span,
    /// How many channels; `None` is as many as the source has.
    pub channels: Option<ChannelCount>,
    /// At which rate; `None` is the source's, or the nearest that the format has.
    pub sample_rate: Option<SampleRate>,
}

impl OutputSpec {
    /// This format, and nothing else asked for.
    pub fn plain(format: AudioFormat) -> Self {
        Self {
            format,
            quality: None,
            bitrate: None,
            normalize: None,
            preserve_metadata: false,
            track: None,
            span: Span::WHOLE,
            channels: None,
            sample_rate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitrate_is_checked_against_its_format() {
        let cases = [
            ("192k", AudioFormat::Mp3, Some(192)),
            ("192K", AudioFormat::Mp3, Some(192)),
            ("320k", AudioFormat::Mp3, Some(320)),
            ("321k", AudioFormat::Mp3, None),
            ("510k", AudioFormat::Opus, Some(510)),
            ("5k", AudioFormat::Opus, None),
            ("192", AudioFormat::Mp3, None),
            ("k", AudioFormat::Mp3, None),
            ("+192k", AudioFormat::Mp3, None),
            ("-1k", AudioFormat::Mp3, None),
            ("99999999999k", AudioFormat::Mp3, None),
            ("192k", AudioFormat::Flac, None),
        ];
        for (text, format, expected) in cases {
            assert_eq!(
                Bitrate::parse(text, format).ok().map(Bitrate::kbps),
                expected,
                "{text} for {format:?}"
            );
        }
        let error = Bitrate::parse("999k", AudioFormat::Mp3).expect_err("too high");
        assert!(error.reason.contains("\"32k\" to \"320k\""), "{error}");
    }

    #[test]
    fn a_span_ends_after_it_starts() {
        let cases = [
            (None, None, Some(Span::WHOLE)),
            (Some(1.5), None, Some(Span { start_secs: 1.5, end_secs: None })),
            (None, Some(2.0), Some(Span { start_secs: 0.0, end_secs: Some(2.0) })),
            (Some(2.0), Some(2.0), None),
            (Some(3.0), Some(2.0), None),
            (Some(-0.1), None, None),
            (Some(f64::NAN), None, None),
            (None, Some(f64::INFINITY), None),
            (None, Some(0.0), None),
        ];
        for (start, end, expected) in cases {
            assert_eq!(Span::parse(start, end).ok(), expected, "{start:?} to {end:?}");
        }
    }

    #[test]
    fn a_track_is_an_index_or_a_language() {
        assert_eq!(TrackChoice::language("ENG"), Ok(TrackChoice::Language("eng".to_owned())));
        assert_eq!(TrackChoice::language("pt-BR"), Ok(TrackChoice::Language("pt-br".to_owned())));
        assert_eq!(TrackChoice::index(3), Ok(TrackChoice::Index(3)));
        for text in ["", "e", "1", "en us", "e\u{301}n", "12", &"a".repeat(36)] {
            assert!(TrackChoice::language(text).is_err(), "{text:?}");
        }
        assert!(TrackChoice::index(u64::MAX).is_err());
    }

    #[test]
    fn a_sampling_rate_is_one_of_its_formats() {
        for (hz, format, is_right) in [
            (44_100, AudioFormat::Mp3, true),
            (96_000, AudioFormat::Mp3, false),
            (44_100, AudioFormat::Opus, false),
            (192_000, AudioFormat::Flac, true),
            (u64::MAX, AudioFormat::Wav, false),
            (0, AudioFormat::Wav, false),
        ] {
            assert_eq!(SampleRate::parse(hz, format).is_ok(), is_right, "{hz} for {format:?}");
        }
        let error = SampleRate::parse(44_100, AudioFormat::Opus).expect_err("44.1 kHz");
        assert!(error.reason.contains("8000, 12000, 16000, 24000 or 48000 Hz"), "{error}");
        let error = SampleRate::parse(1, AudioFormat::Wav).expect_err("1 Hz");
        assert!(error.reason.contains("1000 to 192000 Hz"), "{error}");
        assert!(ChannelCount::parse(3).is_err());
    }
}
