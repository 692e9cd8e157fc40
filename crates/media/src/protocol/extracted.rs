//! What a child says that it made. Its numbers are within reason, which does not make them true.

use domain::{Extracted, LoudnessReport, MeasuredLoudness, MetadataPart, Method};

use super::codec::place_of;
use super::{Malformed, Reader, Writer};

const METHODS: [Method; 2] = [Method::Copy, Method::Encode];

const NOT_ASKED: u8 = 0;
const UNMEASURABLE: u8 = 1;
const NORMALIZED: u8 = 2;

/// Decibels, LUFS and LU beyond this are nobody's sound.
const MOST_DB: f64 = 1000.0;

pub(super) fn write_extracted(writer: Writer, extracted: &Extracted) -> Writer {
    let Extracted { size, samples, sample_rate, channels, constant_kbps, .. } = extracted;
    let Extracted { method, damaged_packets, loudness, metadata_left_out, .. } = extracted;
    let writer = writer
        .u64(*size)
        .u64(*samples)
        .u32(*sample_rate)
        .u16(*channels)
        .u32(constant_kbps.unwrap_or(0))
        .u8(place_of(method, &METHODS))
        .u64(*damaged_packets)
        .u8(u8::try_from(metadata_left_out.len()).unwrap_or(u8::MAX));
    let writer =
        metadata_left_out.iter().fold(writer, |writer, part| writer.u8(place_of(part, &MetadataPart::ALL)));
    match loudness {
        None => writer.u8(NOT_ASKED),
        Some(LoudnessReport::Unmeasurable) => writer.u8(UNMEASURABLE),
        Some(LoudnessReport::Normalized {
            before,
            after,
            gain_db,
            limited_db,
            shortfall_lu,
            decoded_peak_dbtp,
        }) => [before, after]
            .into_iter()
            .fold(writer.u8(NORMALIZED), |writer, measured| {
                writer.f64(measured.integrated_lufs).f64(measured.true_peak_dbtp)
            })
            .f64(*gain_db)
            .f64(*limited_db)
            .f64(*shortfall_lu)
            .optional_f64(*decoded_peak_dbtp),
    }
}

pub(super) fn read_extracted(reader: &mut Reader<'_>) -> Result<Extracted, Malformed> {
    let extracted = Extracted {
        size: reader.u64()?,
        samples: reader.u64()?,
        sample_rate: reader.u32()?,
        channels: reader.u16()?,
        constant_kbps: Some(reader.u32()?).filter(|kbps| *kbps > 0),
        method: reader.one_of(&METHODS)?,
        damaged_packets: reader.u64()?,
        metadata_left_out: read_left_out(reader)?,
        loudness: read_loudness(reader)?,
    };
    // The highest rate that any of our formats can say is FLAC's 655,350 Hz (RFC 9639), the most channels WAV's.
    let sane = extracted.size > 0
        && (1..=655_350).contains(&extracted.sample_rate)
        && (1..=255).contains(&extracted.channels)
        && extracted.damaged_packets <= i64::MAX as u64
        && extracted.constant_kbps.is_none_or(|kbps| kbps <= 10_000);
    if sane { Ok(extracted) } else { Err(Malformed("a result is out of bounds")) }
}

fn read_left_out(reader: &mut Reader<'_>) -> Result<Vec<MetadataPart>, Malformed> {
    match usize::from(reader.u8()?) {
        count if count <= MetadataPart::ALL.len() => {
            (0..count).map(|_| reader.one_of(&MetadataPart::ALL)).collect()
        }
        _ => Err(Malformed("more metadata was left out than there is")),
    }
}

fn read_loudness(reader: &mut Reader<'_>) -> Result<Option<LoudnessReport>, Malformed> {
    match reader.u8()? {
        NOT_ASKED => Ok(None),
        UNMEASURABLE => Ok(Some(LoudnessReport::Unmeasurable)),
        NORMALIZED => Ok(Some(LoudnessReport::Normalized {
            before: read_measured(reader)?,
            after: read_measured(reader)?,
            gain_db: read_db(reader)?,
            limited_db: read_db(reader)?,
            shortfall_lu: read_db(reader)?,
            decoded_peak_dbtp: if reader.flag()? { Some(read_db(reader)?) } else { None },
        })),
        _ => Err(Malformed("a report of loudness is of no known kind")),
    }
}

fn read_measured(reader: &mut Reader<'_>) -> Result<MeasuredLoudness, Malformed> {
    Ok(MeasuredLoudness { integrated_lufs: read_db(reader)?, true_peak_dbtp: read_db(reader)? })
}

fn read_db(reader: &mut Reader<'_>) -> Result<f64, Malformed> {
    let value = reader.f64()?;
    if value.abs() <= MOST_DB { Ok(value) } else { Err(Malformed("a loudness is out of bounds")) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Results in which every field is there and every field is not.
    pub(in crate::protocol) fn extractions() -> impl Iterator<Item = Extracted> {
        let measured = MeasuredLoudness { integrated_lufs: -23.5, true_peak_dbtp: -1.5 };
        let normalized = |decoded_peak_dbtp| LoudnessReport::Normalized {
            before: measured,
            after: measured,
            gain_db: 7.5,
            limited_db: 0.0,
            shortfall_lu: 0.25,
            decoded_peak_dbtp,
        };
        let plain = Extracted {
            size: 4_824_000,
            samples: 5_000_000,
            sample_rate: 44_100,
            channels: 2,
            constant_kbps: Some(192),
            method: Method::Encode,
            damaged_packets: 3,
            loudness: None,
            metadata_left_out: Vec::new(),
        };
        let copied = Extracted {
            constant_kbps: None,
            method: Method::Copy,
            metadata_left_out: MetadataPart::ALL.to_vec(),
            ..plain.clone()
        };
        let reports = [LoudnessReport::Unmeasurable, normalized(None), normalized(Some(-0.5))];
        let with_report = plain.clone();
        let reported = reports
            .into_iter()
            .map(move |report| Extracted { loudness: Some(report), ..with_report.clone() });
        [plain, copied].into_iter().chain(reported)
    }

    #[test]
    fn a_loudness_beyond_reason_is_refused() {
        for value in [f64::INFINITY, f64::NAN, 1e9] {
            let frame = Writer::new(0).u8(NORMALIZED).f64(value).f64(0.0).finish();
            assert!(
                read_loudness(&mut Reader::new(&frame[super::super::HEADER_BYTES..])).is_err(),
                "{value}"
            );
        }
    }
}
