//! Whether the source's packets can be the result, as far as its header says.
//!
//! They can if they are of the result's codec and nothing was asked for that takes new samples: no other loudness,
//! part, rate, channels or depth. A bitrate or quality that was asked for is a reason to encode only where the source
//! spends clearly more; one that was left open is none.

use domain::{AudioFormat, Failure, OutputSpec};

use super::super::decode::Decoder;
use super::super::demux::Demux;
use super::super::failures;
use super::super::ffi::AvError;
use super::super::mux::Parameters;
use super::super::playback::is_usable_rate;
use super::super::quality::{self, Given, Spending};
use super::super::track::Track;
use super::aac::AudioConfig;
use super::framing::{Blocks, Framing, aac_samples};

/// A source may spend so much more than was asked for: the difference is not worth a generation of encoding, and
/// bitrates are met on average only.
const NEAR: f64 = 1.1;
/// Without SBR nothing sounds good at these core rates, so that a header that does not speak of it may hide it.
const MOST_CORE_RATE: u32 = 24_000;
/// So many packets are enough for a decoder to find SBR.
const ENOUGH_PACKETS: usize = 3;

/// A copy that can be tried.
pub(in super::super) struct Plan {
    pub(super) format: AudioFormat,
    pub(super) framing: Framing,
    pub(super) parameters: Parameters,
    /// Hz.
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Average kbit/s beyond which it is no copy that was asked for.
    pub(super) most_kbps: Option<f64>,
    /// Samples a channel that a FLAC header promises.
    pub(super) promised: Option<u64>,
}

impl Plan {
    /// Whether every sample counts.
    pub(super) fn is_lossless(&self) -> bool {
        matches!(self.format, AudioFormat::Flac | AudioFormat::Wav)
    }
}

/// Decides by the header. `None`: this is to be encoded.
pub(in super::super) fn plan(demux: &mut Demux<'_>, output: &OutputSpec) -> Result<Option<Plan>, Failure> {
    let track = demux.track().clone();
    let is_other = output.normalize.is_some() || !output.span.is_whole();
    if is_other || !is_usable_rate(track.rate) || codec_of(&track) != Some(output.format) {
        return Ok(None);
    }
    let parameters = demux.input().copied_parameters(track.index);
    let parameters = parameters.map_err(|cause| failures::internal("the track's parameters", cause))?;
    let Some((framing, mut given)) = framing(&track, parameters.extradata()) else { return Ok(None) };
    let framing = match framing {
        Framing::Aac(_) => match closer_look(demux, &track, parameters.extradata())? {
            Some((framing, rate, channels)) => {
                given = Given { rate, channels, ..given };
                framing
            }
            None => return Ok(None),
        },
        other => other,
    };
    let wanted = quality::encoding(given, output);
    let is_like = (wanted.rate, wanted.channels) == (given.rate, given.channels);
    let is_as_deep = !matches!(wanted.spending, Spending::Lossless(bits) if bits < given.depth);
    let said_kbps = demux.input().said_kbps(track.index);
    let is_asked = output.bitrate.is_some() || output.quality.is_some();
    let most_kbps = quality::nominal_kbps(&wanted).filter(|_| is_asked).map(|kbps| kbps * NEAR);
    let is_modest = !matches!((said_kbps, most_kbps), (Some(said), Some(most)) if said > most);
    let promised = (output.format == AudioFormat::Flac).then(|| promised(parameters.extradata()));
    if !(is_like && is_as_deep && is_modest) || promised == Some(None) {
        return Ok(None);
    }
    Ok(Some(Plan {
        format: output.format,
        framing,
        parameters,
        rate: given.rate,
        channels: given.channels,
        most_kbps,
        promised: promised.flatten(),
    }))
}

/// The format whose packets these are.
pub(super) fn codec_of(track: &Track) -> Option<AudioFormat> {
    Some(match track.codec.as_str() {
        "mp3" => AudioFormat::Mp3,
        "aac" => AudioFormat::Aac,
        "vorbis" => AudioFormat::Ogg,
        "opus" => AudioFormat::Opus,
        "flac" => AudioFormat::Flac,
        "pcm_s16le" | "pcm_s24le" => AudioFormat::Wav,
        _ => return None,
    })
}

/// How to read its packets, and what they are; `None` if its own header makes no sense.
pub(super) fn framing(track: &Track, extradata: &[u8]) -> Option<(Framing, Given)> {
    let given = Given { rate: track.rate, channels: track.channels, depth: 16 };
    Some(match track.codec.as_str() {
        "mp3" => (Framing::Mp3(None), given),
        "aac" if extradata.is_empty() => (Framing::Adts(None, track.rate), given),
        "aac" => (Framing::Aac(aac_samples(track.rate, AudioConfig::parse(extradata)?.core_rate)), given),
        "vorbis" => (Framing::Vorbis(Blocks::new(extradata)?), given),
        "opus" => {
            let channels = u16::from(*extradata.get(9).filter(|_| extradata.starts_with(b"OpusHead"))?);
            (Framing::Opus, Given { rate: 48_000, channels, ..given })
        }
        "flac" => (Framing::Flac, Given { depth: streaminfo_bits(extradata)?, ..given }),
        pcm => {
            let (depth, bytes) = if pcm == "pcm_s16le" { (16, 2) } else { (24, 3) };
            let bytes = bytes * usize::from(track.channels);
            (Framing::Pcm(Some(bytes).filter(|bytes| *bytes > 0)?), Given { depth, ..given })
        }
    })
}

/// The framing, rate and channels of bare AAC. Where its header may hide SBR, which ADTS leaves to the decoder as well,
/// the first packets are decoded to know.
fn closer_look(
    demux: &mut Demux<'_>,
    track: &Track,
    extradata: &[u8],
) -> Result<Option<(Framing, u32, u16)>, Failure> {
    let Some(config) = AudioConfig::parse(extradata) else { return Ok(None) };
    let framed = |rate, channels| Some((Framing::Aac(aac_samples(rate, config.core_rate)), rate, channels));
    if config.is_plain || config.core_rate > MOST_CORE_RATE {
        return Ok(framed(track.rate, track.channels));
    }
    let mut decoder = Decoder::open(demux.input(), track)?;
    let (mut seen, mut shape) = (0, None);
    demux.look(|packet| {
        // What cannot be decoded is for the encoding path to judge.
        if decoder.send(Some(packet)).is_ok() {
            shape = match decoder.receive() {
                Ok(frame) => frame.shape().or(shape.take()),
                Err(AvError::MEMORY) => return Err(failures::internal("the decoder", AvError::MEMORY)),
                Err(_) => shape.take(),
            };
        }
        seen += 1;
        Ok(seen == ENOUGH_PACKETS)
    })?;
    Ok(shape.and_then(|shape| framed(shape.rate, shape.layout.channels())))
}

/// RFC 9639, 8.2: bits of a sample, and the samples that it promises. Unless it knows them and their checksum, it is
/// not fit for a file.
fn streaminfo_bits(streaminfo: &[u8]) -> Option<u32> {
    let (high, low) = (streaminfo.get(12)? & 1, streaminfo.get(13)? >> 4);
    Some(u32::from(high << 4 | low) + 1)
}

fn promised(streaminfo: &[u8]) -> Option<u64> {
    let count: [u8; 5] = streaminfo.get(13..18)?.try_into().ok()?;
    let count = count.iter().fold(0, |count, byte| count << 8 | u64::from(*byte)) & 0xf_ffff_ffff;
    let has_checksum = streaminfo.get(18..34)?.iter().any(|byte| *byte != 0);
    Some(count).filter(|count| *count > 0 && has_checksum)
}
