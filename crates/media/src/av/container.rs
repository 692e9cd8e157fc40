//! What a container's own marks say beyond what libav passes on: its proper name, where its audio lies, and whether
//! all of it is there.

use std::ops::Range;

use domain::Failure;

use super::failures;
use super::input::Input;
use super::track::Track;

/// How many bytes at the start hold a Matroska file's marks.
const HEAD_BYTES: usize = 4096;
/// More ranges than this are merged over small gaps: a plan must stay small.
const MOST_RANGES: usize = 32_768;

/// The container's short name: `mov` is told from `mp4` by its major brand, `webm` from `mkv` by its document type.
pub(super) fn name(input: &mut Input<'_>) -> Result<&'static str, Failure> {
    Ok(match input.container() {
        "mp4" if input.tag(c"major_brand").is_none_or(|brand| brand.starts_with("qt")) => "mov",
        "mkv" if matroska_head(input)?.is_some_and(|head| head.is_webm) => "webm",
        other => other,
    })
}

/// Fails if the container's own marks say that the source ends too early. Returns whether that could be told for the
/// whole of it.
pub(super) fn check_complete(input: &mut Input<'_>, track: &Track) -> Result<bool, Failure> {
    match input.container() {
        "mp4" => check_index(input, track),
        "mkv" => {
            let end = matroska_head(input)?.and_then(|head| head.segment_end);
            check_length(input, end)
        }
        "avi" | "wav" => {
            let end = riff_end(input)?;
            check_length(input, end)
        }
        _ => Ok(false),
    }
}

/// A file that was cut off still lists all its packets.
fn check_index(input: &mut Input<'_>, track: &Track) -> Result<bool, Failure> {
    let index = input.index(track.index);
    let (Some(whole), Some(last)) = (input.duration_secs(), index.last()) else { return Ok(false) };
    let last_secs = track.time_base.secs(last.2);
    // A fragmented file has only its first fragments listed.
    let covers_all = last_secs + (whole * 0.01).max(1.0) >= track.duration_secs.unwrap_or(whole);
    let size = input.size()?;
    let missing = index.iter().find(|(at, bytes, _)| at.saturating_add(*bytes) > size);
    match missing {
        Some((_, _, time)) => Err(failures::truncated(track.time_base.secs(*time).max(0.0), whole)),
        None => Ok(covers_all),
    }
}

/// The source must reach to where its outermost box ends.
fn check_length(input: &mut Input<'_>, end: Option<u64>) -> Result<bool, Failure> {
    let Some(end) = end else { return Ok(false) };
    let size = input.size()?;
    if size >= end {
        return Ok(true);
    }
    let whole = input.duration_secs().unwrap_or(0.0);
    // The share of bytes is the share of time, nearly.
    Err(failures::truncated(whole * size as f64 / end as f64, whole))
}

/// Where the (first) RIFF chunk ends; a recorder that died leaves 0 or all ones.
fn riff_end(input: &mut Input<'_>) -> Result<Option<u64>, Failure> {
    let mut head = [0; 8];
    let is_riff = input.read_at(0, &mut head)? == head.len() && head.starts_with(b"RIFF");
    let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    Ok((is_riff && size != 0 && size != u32::MAX).then_some(8 + u64::from(size)))
}

/// Where the track's bytes lie, in order of reading, neighbours merged; empty where the container does not say.
pub(super) fn byte_map(input: &Input<'_>, track: &Track) -> Vec<Range<u64>> {
    if input.container() != "mp4" {
        return Vec::new();
    }
    merge(input.index(track.index).into_iter().map(|(at, bytes, _)| at..at.saturating_add(bytes)).collect())
}

fn merge(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let (mut merged, mut gap) = (join(ranges, 0), 1024);
    while merged.len() > MOST_RANGES {
        merged = join(merged, gap);
        gap *= 2;
    }
    merged
}

/// Joins what follows within `gap` bytes.
fn join(ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start >= last.end && range.start - last.end <= gap => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

#[derive(Debug, PartialEq)]
struct MatroskaHead {
    is_webm: bool,
    /// Where the segment ends, unless it was written live.
    segment_end: Option<u64>,
}

fn matroska_head(input: &mut Input<'_>) -> Result<Option<MatroskaHead>, Failure> {
    let mut head = [0; HEAD_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match input.read_at(filled as u64, &mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(parse_matroska(&head[..filled]))
}

/// EBML header, then the segment (RFC 8794, RFC 9559).
fn parse_matroska(head: &[u8]) -> Option<MatroskaHead> {
    const EBML: u64 = 0x1a45_dfa3;
    const DOC_TYPE: u64 = 0x4282;
    const SEGMENT: u64 = 0x1853_8067;
    let (id, size, mut at) = element(head, 0)?;
    let header_end = at.checked_add(usize::try_from(size?).ok()?)?;
    if id != EBML {
        return None;
    }
    let mut is_webm = false;
    while at < header_end {
        let (id, size, body) = element(head, at)?;
        at = body.checked_add(usize::try_from(size?).ok()?)?;
        is_webm |= id == DOC_TYPE && head.get(body..at)?.starts_with(b"webm");
    }
    let (id, size, body) = element(head, header_end)?;
    let segment_end =
        (id == SEGMENT).then_some(size).flatten().and_then(|size| size.checked_add(body as u64));
    Some(MatroskaHead { is_webm, segment_end })
}

/// An element's id, its size (`None`: unknown), and where its body begins.
fn element(bytes: &[u8], at: usize) -> Option<(u64, Option<u64>, usize)> {
    let (id, _, size_at) = number(bytes, at)?;
    let (marked, width, body) = number(bytes, size_at)?;
    let mask = (1u64 << (7 * width)) - 1;
    let size = marked & mask;
    Some((id, (size != mask).then_some(size), body))
}

/// A variable-length number with its length mark, its width, and where it ends.
fn number(bytes: &[u8], at: usize) -> Option<(u64, u32, usize)> {
    let width = bytes.get(at)?.leading_zeros() + 1;
    let end = at.checked_add(width as usize)?;
    let value = bytes
        .get(at..end)
        .filter(|_| width <= 8)?
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, width, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matroska_says_its_kind_and_its_end() {
        let header = [0x1a, 0x45, 0xdf, 0xa3, 0x87, 0x42, 0x82, 0x84, b'w', b'e', b'b', b'm'];
        let with = |segment: &[u8]| parse_matroska(&[&header[..], segment].concat());
        assert_eq!(
            with(&[0x18, 0x53, 0x80, 0x67, 0x41, 0x00]),
            Some(MatroskaHead { is_webm: true, segment_end: Some(18 + 256) })
        );
        let live = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(with(&live), Some(MatroskaHead { is_webm: true, segment_end: None }));
        for bad in [&[][..], &[0], &[0x1a, 0x45, 0xdf, 0xa3, 0xff], &header, &[0xff; 64]] {
            assert_eq!(parse_matroska(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn neighbours_are_merged_and_a_plan_stays_small() {
        assert_eq!(merge(vec![0..10, 10..20, 30..40, 5..6]), [0..20, 30..40, 5..6]);
        let scattered = (0..100_000u64).map(|at| at * 3000..at * 3000 + 100).collect();
        let merged = merge(scattered);
        assert!(merged.len() <= MOST_RANGES);
        assert_eq!((merged[0].start, merged[merged.len() - 1].end), (0, 99_999 * 3000 + 100));
    }
}
