//! What the result should be, as the order says it.

use domain::{
    AudioFormat, Bitrate, ChannelCount, Loudness, OutputSpec, Quality, SampleRate, Span, TrackChoice,
};

use super::codec::place_of;
use super::{Malformed, Reader, Writer};

/// No quality was asked for.
const NO_QUALITY: u8 = u8::MAX;
/// Tracks by number and by language.
const NO_TRACK: u8 = 0;
const TRACK_INDEX: u8 = 1;
const TRACK_LANGUAGE: u8 = 2;

pub(super) fn write_output(writer: Writer, output: &OutputSpec) -> Writer {
    let OutputSpec { format, quality, bitrate, normalize, preserve_metadata, .. } = output;
    let OutputSpec { track, span, channels, sample_rate, .. } = output;
    let writer = writer
        .u8(place_of(format, &AudioFormat::ALL))
        .u8(quality.map_or(NO_QUALITY, |quality| place_of(&quality, &Quality::ALL)))
        .u32(bitrate.map_or(0, Bitrate::kbps))
        .u8(u8::from(*preserve_metadata))
        .f64(span.start_secs)
        .optional_f64(span.end_secs)
        .u16(channels.map_or(0, ChannelCount::get))
        .u32(sample_rate.map_or(0, SampleRate::hz));
    let writer = match track {
        None => writer.u8(NO_TRACK),
        Some(TrackChoice::Index(index)) => writer.u8(TRACK_INDEX).u32(*index),
        Some(TrackChoice::Language(language)) => writer.u8(TRACK_LANGUAGE).text(language),
    };
    match normalize {
        Some(loudness) => writer.u8(1).f64(loudness.integrated_lufs).f64(loudness.true_peak_dbtp),
        None => writer.u8(0),
    }
}

pub(super) fn read_output(reader: &mut Reader<'_>) -> Result<OutputSpec, Malformed> {
    let format = reader.one_of(&AudioFormat::ALL)?;
    let quality = match reader.u8()? {
        NO_QUALITY => None,
        place => Some(*Quality::ALL.get(usize::from(place)).ok_or(Malformed("no such quality"))?),
    };
    let bitrate = match reader.u32()? {
        0 => None,
        kbps => Some(
            Bitrate::parse(&format!("{kbps}k"), format)
                .map_err(|_| Malformed("a bitrate is out of range"))?,
        ),
    };
    let preserve_metadata = reader.flag()?;
    let span = Span::parse(Some(reader.f64()?), reader.optional_f64()?);
    let channels = match reader.u16()? {
        0 => None,
        count => Some(
            ChannelCount::parse(count.into())
                .map_err(|_| Malformed("so many channels cannot be asked for"))?,
        ),
    };
    let sample_rate = match reader.u32()? {
        0 => None,
        hz => Some(
            SampleRate::parse(hz.into(), format).map_err(|_| Malformed("a sampling rate is out of range"))?,
        ),
    };
    Ok(OutputSpec {
        format,
        quality,
        bitrate,
        preserve_metadata,
        span: span.map_err(|_| Malformed("a span is out of range"))?,
        channels,
        sample_rate,
        track: read_track(reader)?,
        normalize: if reader.flag()? {
            Some(Loudness { integrated_lufs: reader.f64()?, true_peak_dbtp: reader.f64()? })
        } else {
            None
        },
    })
}

fn read_track(reader: &mut Reader<'_>) -> Result<Option<TrackChoice>, Malformed> {
    match reader.u8()? {
        NO_TRACK => Ok(None),
        TRACK_INDEX => Ok(Some(TrackChoice::Index(reader.u32()?))),
        TRACK_LANGUAGE => {
            let track = TrackChoice::language(&reader.text()?);
            track.map(Some).map_err(|_| Malformed("a language is none"))
        }
        _ => Err(Malformed("a track cannot be chosen so")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Orders in which every field is there and every field is not.
    pub(in crate::protocol) fn outputs() -> Vec<OutputSpec> {
        let mut outputs = Vec::new();
        for format in AudioFormat::ALL {
            for quality in Quality::ALL {
                let plain = OutputSpec { quality: Some(quality), ..OutputSpec::plain(format) };
                outputs.extend([OutputSpec::plain(format), plain.clone()]);
                outputs.push(OutputSpec {
                    bitrate: Bitrate::parse("128k", format).ok(),
                    normalize: Some(Loudness::default()),
                    preserve_metadata: true,
                    track: Some(TrackChoice::Language("pt-br".to_owned())),
                    span: Span { start_secs: 1.25, end_secs: Some(9.5) },
                    channels: Some(ChannelCount::Mono),
                    sample_rate: SampleRate::parse(48_000, format).ok(),
                    ..plain.clone()
                });
                outputs.push(OutputSpec { track: Some(TrackChoice::Index(3)), ..plain });
            }
        }
        outputs
    }
}
