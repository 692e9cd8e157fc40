//! What a customer asks for, once it is known to make sense. Nothing invalid gets past the `parse` functions here;
//! their errors are sentences for the customer.

use std::fmt;

use crate::delivery::EventKind;
use crate::filename::Filename;
use crate::secret::Secret;
use crate::web::{SourceUrl, WebhookUrl};

/// Which part of a request was refused; decides the error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecPart {
    /// `source`: `INVALID_SOURCE`.
    Source,
    /// `output`: `INVALID_OUTPUT`.
    Output,
    /// `options` and everything else: `INVALID_REQUEST`.
    Request,
}

/// Why a request makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Which part of it.
    pub part: SpecPart,
    /// The field, as a path: `output.bitrate`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl SpecError {
    /// A refusal of one field.
    pub fn new(part: SpecPart, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { part, field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.reason)
    }
}

impl std::error::Error for SpecError {}

/// The formats a result can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioFormat {
    /// MPEG-1/2 layer III in its own framing, with a Xing/LAME header.
    Mp3,
    /// AAC-LC in ADTS.
    Aac,
    /// FLAC.
    Flac,
    /// PCM in RIFF/WAVE.
    Wav,
    /// Vorbis in Ogg.
    Ogg,
    /// Opus in Ogg.
    Opus,
}

impl AudioFormat {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Mp3, Self::Aac, Self::Flac, Self::Wav, Self::Ogg, Self::Opus];

    /// As written in the API; also the file's extension.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Aac => "aac",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Ogg => "ogg",
            Self::Opus => "opus",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }

    /// What `Content-Type` says.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Ogg => "audio/ogg",
            Self::Opus => "audio/opus",
        }
    }

    /// The bitrates that can be asked for, in kbit/s, both ends included; `None` where the format is lossless and a
    /// bitrate has no meaning.
    ///
    /// mp3: ISO 11172-3 layer III's table. aac: what AAC-LC carries in two channels at 48 kHz (6144 bits a frame and
    /// channel) and encoders still use. ogg: libvorbis' managed range for 44.1 kHz stereo. opus: RFC 6716, 2.1.1.
    pub fn bitrate_range(self) -> Option<(u32, u32)> {
        match self {
            Self::Mp3 => Some((32, 320)),
            Self::Aac => Some((32, 512)),
            Self::Ogg => Some((48, 480)),
            Self::Opus => Some((6, 510)),
            Self::Flac | Self::Wav => None,
        }
    }
}

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

/// The target of loudness normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Integrated loudness, LUFS (EBU R 128, ITU-R BS.1770).
    pub integrated_lufs: f64,
    /// The ceiling of the true peak, dBTP.
    pub true_peak_dbtp: f64,
}

impl Default for Loudness {
    /// -16 LUFS with a ceiling of -1 dBTP: what podcasts and streaming of speech use (AES TD1008).
    fn default() -> Self {
        Self { integrated_lufs: -16.0, true_peak_dbtp: -1.0 }
    }
}

/// What the result should be.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Its format.
    pub format: AudioFormat,
    /// How good.
    pub quality: Quality,
    /// Wins over quality.
    pub bitrate: Option<Bitrate>,
    /// Normalise to this loudness, or leave it as it is.
    pub normalize: Option<Loudness>,
}

/// How soon a job is taken, within its key's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Priority {
    /// After everything else.
    Low,
    /// In order.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text)
    }
}

/// A header to send to the source's host, and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHeader {
    /// Lower case.
    pub name: String,
    /// Often a credential.
    pub value: Secret,
}

/// Where the media comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// Fetched over HTTP.
    Url {
        /// From here.
        url: SourceUrl,
        /// With these headers.
        headers: Vec<SourceHeader>,
    },
}

impl SourceSpec {
    /// A name for the file, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Url { url, .. } => url.last_segment().or(url.url().host_str()).unwrap_or("source"),
        }
    }
}

/// What else was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOptions {
    /// The result's name.
    pub filename: Option<Filename>,
    /// Who is told.
    pub webhook: Option<WebhookUrl>,
    /// How soon.
    pub priority: Priority,
    /// Echoed to the customer, in order.
    pub metadata: Vec<(String, String)>,
    /// Which events the webhook gets.
    pub webhook_events: Vec<EventKind>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            filename: None,
            webhook: None,
            priority: Priority::default(),
            metadata: Vec::new(),
            webhook_events: EventKind::DEFAULT.to_vec(),
        }
    }
}

/// A job as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Where the media comes from.
    pub source: SourceSpec,
    /// What it should become.
    pub output: OutputSpec,
    /// And how.
    pub options: JobOptions,
}

impl JobSpec {
    /// The result's name: the one asked for, else the source's with its extension replaced.
    pub fn result_filename(&self) -> String {
        let format = self.output.format;
        if let Some(filename) = &self.options.filename {
            return filename.for_format(format);
        }
        let name = self.source.name();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        match Filename::parse(stem) {
            Ok(stem) => format!("{}.{}", stem.as_written(), format.as_str()),
            Err(_) => format!("audio.{}", format.as_str()),
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
}
