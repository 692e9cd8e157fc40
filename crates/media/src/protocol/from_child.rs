//! What a child says. Everything here is read as if an attacker had written it.

use std::ops::Range;

use domain::{Extracted, Failure, FailureCode, Retry, Step};

use super::codec::place_of;
use super::extracted::{read_extracted, write_extracted};
use super::{MAX_PLANNED_RANGES, MAX_READ_BYTES, MAX_READ_RANGES, MAX_TEXT_BYTES, Malformed, Reader, Writer};
use crate::av::Probe;
use crate::jail::Wall;

const READ_TAG: u8 = 1;
const SIZE_TAG: u8 = 2;
const PLAN_TAG: u8 = 3;
const PROBE_TAG: u8 = 4;
const PROGRESS_TAG: u8 = 5;
const DONE_TAG: u8 = 6;
const FAILED_TAG: u8 = 7;
const REFUSED_TAG: u8 = 8;
const ATTACKED_TAG: u8 = 9;
const ONCE_TAG: u8 = 10;

/// The codes that a child can know of; it has no say about downloads, cancelling or our own defects.
const CODES: [FailureCode; 2] = [FailureCode::InvalidVideo, FailureCode::ExtractionFailed];
const RETRIES: [Retry; 2] = [Retry::Never, Retry::Worthwhile];

/// One message of a child.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FromChild {
    /// Wants these ranges of the source, end to end in one answer: all of each but the last, of which some will do.
    /// 1 to [`MAX_READ_RANGES`], of 1 to [`MAX_READ_BYTES`] together.
    Read(Vec<Range<u64>>),
    /// Wants the source's length.
    Size,
    /// Will read these.
    Plan(Vec<Range<u64>>),
    /// Will read nothing again that it reads from here on.
    Once,
    /// Has read the header.
    Probe(Probe),
    /// Is so far; the fraction is within 0 and 1.
    Progress { step: Step, fraction: Option<f64> },
    /// Has written the result. Its numbers are within reason, which does not make them true.
    Done(Extracted),
    /// Could not; what is private stays in the child.
    Failed(Failure),
    /// Could not confine itself, so did nothing.
    Refused { wall: Wall, cause: String },
    /// What an attack came to.
    Attacked { through: bool, detail: String },
}

impl FromChild {
    /// The whole frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Read(ranges) => write_ranges(Writer::new(READ_TAG), ranges),
            Self::Size => Writer::new(SIZE_TAG),
            Self::Once => Writer::new(ONCE_TAG),
            Self::Plan(ranges) => {
                write_ranges(Writer::new(PLAN_TAG), &ranges[..ranges.len().min(MAX_PLANNED_RANGES)])
            }
            Self::Probe(probe) => {
                Writer::new(PROBE_TAG).text(&probe.format).optional_f64(probe.duration_secs)
            }
            Self::Progress { step, fraction } => {
                Writer::new(PROGRESS_TAG).u8(place_of(step, &Step::ALL)).optional_f64(*fraction)
            }
            Self::Done(extracted) => write_extracted(Writer::new(DONE_TAG), extracted),
            Self::Failed(failure) => Writer::new(FAILED_TAG)
                .u8(place_of(&failure.public.code, &CODES))
                .u8(place_of(&failure.retry, &RETRIES))
                .text(&failure.public.message)
                .text(failure.public.details.as_deref().unwrap_or_default()),
            Self::Refused { wall, cause } => {
                Writer::new(REFUSED_TAG).u8(place_of(wall, &Wall::ALL)).text(cause)
            }
            Self::Attacked { through, detail } => {
                Writer::new(ATTACKED_TAG).u8(u8::from(*through)).text(detail)
            }
        }
        .finish()
    }

    /// Refuses a frame that is longer than its kind can be, before its body is read.
    pub(crate) fn check_header(tag: u8, body_bytes: usize) -> Result<(), Malformed> {
        let most = match tag {
            READ_TAG => MAX_READ_RANGES * 16,
            SIZE_TAG | ONCE_TAG => 0,
            PLAN_TAG => MAX_PLANNED_RANGES * 16,
            PROBE_TAG..=ATTACKED_TAG => 2 * MAX_TEXT_BYTES + 64,
            _ => return Err(Malformed("a message's kind does not exist")),
        };
        if body_bytes <= most { Ok(()) } else { Err(Malformed("a message is too long")) }
    }

    /// Reads the body of a frame.
    pub(crate) fn decode(tag: u8, body: &[u8]) -> Result<Self, Malformed> {
        Self::check_header(tag, body.len())?;
        match tag {
            READ_TAG => return read_read(body).map(Self::Read),
            PLAN_TAG => return read_ranges(body).map(Self::Plan),
            _ => {}
        }
        let mut reader = Reader::new(body);
        let message = match tag {
            SIZE_TAG => Self::Size,
            ONCE_TAG => Self::Once,
            PROBE_TAG => Self::Probe(read_probe(&mut reader)?),
            PROGRESS_TAG => Self::Progress {
                step: reader.one_of(&Step::ALL)?,
                fraction: reader.optional_f64()?.map(|fraction| fraction.clamp(0.0, 1.0)),
            },
            DONE_TAG => Self::Done(read_extracted(&mut reader)?),
            FAILED_TAG => Self::Failed(read_failure(&mut reader)?),
            REFUSED_TAG => Self::Refused { wall: reader.one_of(&Wall::ALL)?, cause: reader.text()? },
            ATTACKED_TAG => Self::Attacked { through: reader.flag()?, detail: reader.text()? },
            _ => return Err(Malformed("a message's kind does not exist")),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn write_ranges(writer: Writer, ranges: &[Range<u64>]) -> Writer {
    ranges.iter().fold(writer, |writer, range| writer.u64(range.start).u64(range.end))
}

fn read_read(body: &[u8]) -> Result<Vec<Range<u64>>, Malformed> {
    let ranges = read_ranges(body)?;
    // Each is below 2^63, and there are few, but their sum may still be more than 64 bits hold.
    let bytes = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end - range.start));
    let is_bounded = (1..=MAX_READ_BYTES as u64).contains(&bytes);
    if is_bounded { Ok(ranges) } else { Err(Malformed("a read is out of bounds")) }
}

fn read_ranges(body: &[u8]) -> Result<Vec<Range<u64>>, Malformed> {
    let (pairs, rest) = body.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(Malformed("a list of ranges is cut off"));
    }
    pairs
        .iter()
        .map(|pair| {
            let mut reader = Reader::new(pair);
            let range = reader.u64()?..reader.u64()?;
            if range.start < range.end && range.end <= i64::MAX as u64 {
                Ok(range)
            } else {
                Err(Malformed("a range is out of bounds"))
            }
        })
        .collect()
}

fn read_probe(reader: &mut Reader<'_>) -> Result<Probe, Malformed> {
    let format = reader.text()?;
    if format.is_empty() || format.len() > 32 {
        return Err(Malformed("a container's name is out of bounds"));
    }
    let duration_secs = reader.optional_f64()?;
    if duration_secs.is_some_and(|secs| secs < 0.0) {
        return Err(Malformed("a duration is negative"));
    }
    Ok(Probe { format, duration_secs })
}

fn read_failure(reader: &mut Reader<'_>) -> Result<Failure, Malformed> {
    let code = reader.one_of(&CODES)?;
    let retry = reader.one_of(&RETRIES)?;
    let (message, details) = (reader.text()?, reader.text()?);
    if message.is_empty() {
        return Err(Malformed("a failure says nothing"));
    }
    let failure = Failure { retry, ..Failure::permanent(code, message) };
    Ok(if details.is_empty() { failure } else { failure.with_details(details) })
}

#[cfg(test)]
mod tests {
    use super::super::extracted::tests::extractions;
    use super::*;
    use crate::protocol::{HEADER_BYTES, parse_header};

    fn samples() -> Vec<FromChild> {
        let largest = 7..7 + MAX_READ_BYTES as u64;
        let mut samples = vec![
            FromChild::Read(vec![largest]),
            FromChild::Read(vec![7..9, 100..101, 50..60]),
            FromChild::Size,
            FromChild::Once,
            FromChild::Plan(vec![0..10, 20..30]),
            FromChild::Probe(Probe { format: "mp4".to_owned(), duration_secs: Some(120.5) }),
            FromChild::Progress { step: Step::Extracting, fraction: Some(0.5) },
            FromChild::Progress { step: Step::Analyzing, fraction: None },
            FromChild::Failed(Failure::permanent(FailureCode::InvalidVideo, "Send a video.")),
            FromChild::Failed(Failure::transient(FailureCode::ExtractionFailed, "Again.").with_details("x")),
            FromChild::Refused { wall: Wall::Landlock, cause: "no such system call".to_owned() },
            FromChild::Attacked { through: false, detail: "EPERM".to_owned() },
        ];
        samples.extend(extractions().map(FromChild::Done));
        samples
    }

    fn decode_frame(frame: &[u8]) -> Result<FromChild, Malformed> {
        let (header, body) = frame.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed("no header"))?;
        FromChild::decode(parse_header(*header).0, body)
    }

    #[test]
    fn messages_read_back_and_every_prefix_is_refused() {
        for message in samples() {
            let frame = message.encode();
            assert_eq!(decode_frame(&frame), Ok(message.clone()));
            // What ends between two ranges is a shorter list; a read wants one at least.
            let least = match message {
                FromChild::Plan(_) => 0,
                FromChild::Read(_) => 16,
                _ => usize::MAX,
            };
            let is_whole = |end: usize| {
                let body_bytes = end - HEADER_BYTES;
                body_bytes >= least && body_bytes.is_multiple_of(16)
            };
            for end in (HEADER_BYTES..frame.len()).filter(|end| !is_whole(*end)) {
                assert!(decode_frame(&frame[..end]).is_err(), "{message:?} cut at {end} was taken");
            }
            let longer = [frame.as_slice(), &[0]].concat();
            assert!(decode_frame(&longer).is_err(), "{message:?} with a byte more was taken");
        }
    }

    #[test]
    fn what_is_private_stays_in_the_child() {
        let failure = Failure::permanent(FailureCode::InvalidVideo, "Send a video.").with_private("/secret");
        let Ok(FromChild::Failed(read)) = decode_frame(&FromChild::Failed(failure).encode()) else {
            panic!("not a failure");
        };
        assert_eq!(read.private, None);
    }

    #[test]
    fn hostile_messages_are_refused() {
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("unknown kind", Writer::new(200).finish()),
            ("kind 0", Writer::new(0).finish()),
            ("read of no range", Writer::new(READ_TAG).finish()),
            ("read of nothing", Writer::new(READ_TAG).u64(5).u64(5).finish()),
            ("read of 2 GiB", Writer::new(READ_TAG).u64(0).u64(1 << 31).finish()),
            ("read beyond any file", Writer::new(READ_TAG).u64(u64::MAX - 1).u64(u64::MAX).finish()),
            (
                "reads of 2 MiB together",
                write_ranges(Writer::new(READ_TAG), &[0..1 << 20, 0..1 << 20]).finish(),
            ),
            (
                "reads whose sum wraps",
                write_ranges(Writer::new(READ_TAG), &vec![0..i64::MAX as u64; 3]).finish(),
            ),
            ("plan backwards", Writer::new(PLAN_TAG).u64(9).u64(3).finish()),
            ("plan beyond any file", Writer::new(PLAN_TAG).u64(0).u64(u64::MAX).finish()),
            ("probe without a name", Writer::new(PROBE_TAG).text("").u8(0).finish()),
            ("probe of a long name", Writer::new(PROBE_TAG).text(&"x".repeat(33)).u8(0).finish()),
            ("probe of negative length", Writer::new(PROBE_TAG).text("mp4").u8(1).f64(-1.0).finish()),
            ("endless probe", Writer::new(PROBE_TAG).text("mp4").u8(1).f64(f64::INFINITY).finish()),
            ("progress of no number", Writer::new(PROGRESS_TAG).u8(2).u8(1).f64(f64::NAN).finish()),
            ("progress of no step", Writer::new(PROGRESS_TAG).u8(9).u8(0).finish()),
            ("code of the parent's", Writer::new(FAILED_TAG).u8(2).u8(0).text("x").text("").finish()),
            ("failure without a word", Writer::new(FAILED_TAG).u8(0).u8(0).text("").text("").finish()),
            ("text that is longer than its frame", Writer::new(ATTACKED_TAG).u8(0).u16(900).finish()),
            ("text that is too long", Writer::new(ATTACKED_TAG).u8(0).u16(u16::MAX).finish()),
            ("text that is none", Writer::new(ATTACKED_TAG).u8(0).u16(2).u8(0xff).u8(0xfe).finish()),
            ("empty result", Writer::new(DONE_TAG).u64(0).u64(1).u32(48_000).u16(2).u32(0).u8(0).finish()),
            ("rate of 0", Writer::new(DONE_TAG).u64(1).u64(1).u32(0).u16(2).u32(0).u8(0).finish()),
            ("no channels", Writer::new(DONE_TAG).u64(1).u64(1).u32(48_000).u16(0).u32(0).u8(0).finish()),
        ];
        for (name, frame) in cases {
            assert!(decode_frame(&frame).is_err(), "{name} was taken");
        }
        for tag in [PLAN_TAG, READ_TAG] {
            assert!(FromChild::check_header(tag, u32::MAX as usize).is_err(), "4 GiB would be read");
        }
    }

    #[test]
    fn texts_cannot_forge_lines_and_fractions_stay_within_bounds() {
        let said = decode_frame(&Writer::new(ATTACKED_TAG).u8(1).text("a\nERROR b\u{1b}[2J").finish());
        assert_eq!(said, Ok(FromChild::Attacked { through: true, detail: "a ERROR b [2J".to_owned() }));
        let said = decode_frame(&Writer::new(PROGRESS_TAG).u8(2).u8(1).f64(7.0).finish());
        assert_eq!(said, Ok(FromChild::Progress { step: Step::Extracting, fraction: Some(1.0) }));
    }

    /// Random bytes under every tag, from a generator with a fixed seed: nothing panics, and what is taken is
    /// within bounds, so it can be written and read again.
    #[test]
    fn random_bytes_never_get_past_the_bounds() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..200_000 {
            let tag = (next() % 11) as u8;
            let body: Vec<u8> = (0..next() % 40).map(|_| (next() >> 32) as u8 & 0x3f).collect();
            if let Ok(message) = FromChild::decode(tag, &body) {
                assert_eq!(decode_frame(&message.encode()), Ok(message));
            }
        }
    }
}
