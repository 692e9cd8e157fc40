//! The formats that a result can have, and what each can hold.

use std::fmt;

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

    /// The sampling rates that a result can have. ogg: what libvorbis has tuned modes for. flac, wav: above 192 kHz
    /// nothing was ever recorded.
    pub fn sample_rates(self) -> SampleRates {
        match self {
            Self::Mp3 => SampleRates::Listed(MP3_RATES),
            Self::Aac => SampleRates::Listed(AAC_RATES),
            Self::Opus => SampleRates::Listed(OPUS_RATES),
            Self::Ogg => SampleRates::Between(8000, 192_000),
            Self::Flac | Self::Wav => SampleRates::Between(1000, 192_000),
        }
    }
}

/// The sampling rates that a format can have, in Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleRates {
    /// One of these, in rising order.
    Listed(&'static [u32]),
    /// All from the first to the second.
    Between(u32, u32),
}

impl SampleRates {
    /// Whether this is one of them.
    pub fn contains(self, hz: u32) -> bool {
        match self {
            Self::Listed(rates) => rates.contains(&hz),
            Self::Between(low, high) => (low..=high).contains(&hz),
        }
    }
}

impl fmt::Display for SampleRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(rates) => {
                for (at, rate) in rates.iter().enumerate() {
                    let join = if at == 0 {
                        ""
                    } else if at + 1 == rates.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{join}{rate}")?;
                }
                Ok(())
            }
            Self::Between(low, high) => write!(f, "{low} to {high}"),
        }
    }
}

/// Sampling rates of MPEG-1, 2 and 2.5 layer III (ISO 11172-3, 13818-3).
const MP3_RATES: &[u32] = &[8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
/// Sampling rates that ADTS can name (ISO 14496-3, 1.6.3.4).
const AAC_RATES: &[u32] =
    &[7350, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];
/// Sampling rates that an Opus encoder takes (RFC 6716, 2).
const OPUS_RATES: &[u32] = &[8000, 12_000, 16_000, 24_000, 48_000];
