//! What a container's own marks say beyond what libav passes on: its proper name, where its audio lies, and whether
//! all of it is there.

use std::ops::Range;

use domain::{Access, Failure};

use super::ffi::AvError;
use super::input::Input;
use super::marks::{
    MatroskaHead, is_piped_wave, is_scrambled, parse_asf, parse_avi, parse_box, parse_caf, parse_matroska,
    parse_w64, parse_wave,
};
use super::skip::Skip;
use super::track::Track;
use super::{AvLimits, failures, xing};

/// How many bytes at the start hold a container's marks.
const HEAD_BYTES: usize = 4096;
/// How many of a transport stream show whether it is scrambled: a second of a broadcast.
const BROADCAST_BYTES: usize = 1 << 20;
/// A chunk's name and length, before its body.
const CHUNK_HEAD_BYTES: u64 = 8;

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
    if input.is_stream() {
        return Ok(false);
    }
    match input.container() {
        "mp4" => check_index(input, track),
        "mkv" => {
            let end = matroska_head(input)?.and_then(|head| head.segment_end);
            let whole = input.duration_secs();
            check_length(input, end, whole)
        }
        container @ ("avi" | "wav" | "asf" | "w64" | "caf") => {
            let head = head(input)?;
            let (end, promised) = match container {
                "asf" => parse_asf(&head),
                "w64" => parse_w64(&head),
                "caf" => parse_caf(&head),
                "wav" => parse_wave(&head),
                _ => parse_avi(&head),
            };
            let whole = promised.or(input.duration_secs());
            check_length(input, end, whole)
        }
        // What is missing by that header, which programs count in different ways, is for the clock to say.
        "mp3" => match xing::end(input)? {
            Some(end) => Ok(input.size()? >= end),
            None => Ok(false),
        },
        _ => Ok(false),
    }
}

/// Why a header could not be read.
pub(super) fn headless(input: &mut Input<'_>, limits: &AvLimits, cause: AvError) -> Failure {
    let container = input.container();
    let failure = match torn_box(input) {
        Err(gone) => gone,
        // What libav says of a stream too many.
        Ok(_) if cause == AvError::MEMORY => too_many_streams(limits),
        Ok(Some(torn)) => failures::incomplete(torn),
        Ok(None) => {
            failures::damaged(format!("it begins like {container} but its header cannot be read: {cause}"))
        }
    };
    input.unless_gone(failure)
}

/// More streams than may be; libav does not tell that from too little memory.
pub(super) fn too_many_streams(limits: &AvLimits) -> Failure {
    failures::too_complex(format!(
        "its header has more than {} streams, or needs more memory than is allowed",
        limits.max_streams
    ))
}

/// Where an mp4 or mov without its index ends: within which outermost box.
fn torn_box(input: &mut Input<'_>) -> Result<Option<String>, Failure> {
    if input.container() != "mp4" || input.access() != Access::Random {
        return Ok(None);
    }
    let size = input.size()?;
    let found = outermost_box(input, |name, end| name == "moov" || end.is_none_or(|end| end > size))?;
    Ok(found
        .filter(|name| name != "moov")
        .map(|name| format!("ends after {size} bytes, within its `{name}` box and before its index")))
}

/// The first of an mp4's outermost boxes for whose name and end this holds; it has no end that is beyond all numbers.
pub(super) fn outermost_box(
    input: &mut Input<'_>,
    is_it: impl Fn(&str, Option<u64>) -> bool,
) -> Result<Option<String>, Failure> {
    /// Real files have five or so.
    const MOST_BOXES: usize = 64;
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        let head = bytes_at(input, at, 16)?;
        let Some((name, bytes)) = parse_box(&head) else { return Ok(None) };
        let end = at.checked_add(bytes);
        if is_it(name, end) {
            return Ok(Some(name.to_owned()));
        }
        let Some(end) = end else { return Ok(None) };
        at = end;
    }
    Ok(None)
}

/// Whether no sound could be had because a broadcaster sells the key.
pub(super) fn is_locked(input: &mut Input<'_>) -> Result<bool, Failure> {
    Ok(input.container() == "ts" && is_scrambled(&bytes_at(input, 0, BROADCAST_BYTES)?))
}

/// Whether it was written by a program that did not know its length and never said it.
pub(super) fn is_endless(input: &mut Input<'_>) -> Result<bool, Failure> {
    Ok(input.container() == "wav" && is_piped_wave(&head(input)?))
}

/// A file that was cut off still lists all its packets.
fn check_index(input: &mut Input<'_>, track: &Track) -> Result<bool, Failure> {
    let index = input.index(track.index);
    let (Some(whole), Some(last)) = (input.duration_secs(), index.last()) else { return Ok(false) };
    let last_secs = track.time_base.secs(last.2);
    let size = input.size()?;
    // libav has only the first fragments of a fragmented file listed, and of one that is cut only those that are there.
    let covers_all = match input.fragments_end() {
        Some(end) => end <= size,
        None => last_secs + (whole * 0.01).max(1.0) >= track.duration_secs.unwrap_or(whole),
    };
    let missing = index.iter().find(|(at, bytes, _)| at.saturating_add(*bytes) > size);
    match missing {
        Some((_, _, time)) => Err(failures::truncated(track.time_base.secs(*time).max(0.0), whole)),
        None => Ok(covers_all),
    }
}

/// The source must reach to where its outermost box ends, or its sound.
fn check_length(input: &mut Input<'_>, end: Option<u64>, whole_secs: Option<f64>) -> Result<bool, Failure> {
    let Some(end) = end else { return Ok(false) };
    let size = input.size()?;
    if size >= end {
        return Ok(true);
    }
    let whole = whole_secs.unwrap_or(0.0);
    // The share of bytes is the share of time, nearly.
    Err(failures::truncated(whole * size as f64 / end as f64, whole))
}

/// What an AVI of which every byte is there must have at least: libav goes where its index leads, and takes what comes
/// before it leads nowhere for all. By what the file says of the picture, or of the track if that is less, because
/// either is wrong in some files.
pub(super) fn least_secs(input: &mut Input<'_>, track: &Track) -> Result<Option<f64>, Failure> {
    if input.container() != "avi" {
        return Ok(None);
    }
    let (_, whole_secs) = parse_avi(&head(input)?);
    Ok(track.duration_secs.zip(whole_secs).map(|(track_secs, whole_secs)| track_secs.min(whole_secs)))
}

/// What will be read of the track from here on, in order of reading, neighbours joined; empty where the container does
/// not say. Of a part, the bytes up to `until_secs` on the track's own clock, without those that are skipped.
pub(super) fn byte_map(
    input: &mut Input<'_>,
    track: &Track,
    skip: Option<&Skip>,
    until_secs: Option<f64>,
) -> Vec<Range<u64>> {
    let is_wanted = |ticks: i64| until_secs.is_none_or(|until| track.time_base.secs(ticks) < until);
    let index = input.index(track.index);
    match input.container() {
        "mp4" => join(
            index
                .iter()
                .enumerate()
                .filter(|(number, (_, _, ticks))| {
                    is_wanted(*ticks) && skip.is_none_or(|skip| skip.reads(*number, *ticks))
                })
                .map(|(_, (at, bytes, _))| *at..at.saturating_add(*bytes)),
        ),
        "avi" => {
            let from = input.position();
            let end = index.iter().rev().find(|(_, _, ticks)| is_wanted(*ticks));
            let end =
                end.map_or(0, |(at, bytes, _)| at.saturating_add(*bytes).saturating_add(CHUNK_HEAD_BYTES));
            between(from..end, others(input, track))
        }
        _ => Vec::new(),
    }
}

/// The bodies of all chunks of an AVI that are another track's, by its index: libav reads each one's head and jumps
/// over the rest.
fn others(input: &Input<'_>, track: &Track) -> Vec<Range<u64>> {
    let indexes = input.tracks().into_iter().map(|other| other.index).filter(|other| *other != track.index);
    let chunks = indexes.flat_map(|other| input.index(other));
    let bodies = chunks.map(|(at, bytes, _)| {
        let body = at.saturating_add(CHUNK_HEAD_BYTES);
        body..body.saturating_add(bytes)
    });
    bodies.collect()
}

/// What of `whole` is in none of `gaps`.
fn between(whole: Range<u64>, mut gaps: Vec<Range<u64>>) -> Vec<Range<u64>> {
    gaps.sort_unstable_by_key(|gap| gap.start);
    let mut at = whole.start;
    let mut ranges = Vec::new();
    for gap in gaps.into_iter().filter(|gap| gap.end > whole.start).take_while(|gap| gap.start < whole.end) {
        if gap.start > at {
            ranges.push(at..gap.start);
        }
        at = at.max(gap.end);
    }
    if at < whole.end {
        ranges.push(at..whole.end);
    }
    ranges
}

/// Joins neighbours.
fn join(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start == last.end => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

fn matroska_head(input: &mut Input<'_>) -> Result<Option<MatroskaHead>, Failure> {
    Ok(parse_matroska(&head(input)?))
}

/// The first bytes of the source, which hold the marks.
fn head(input: &mut Input<'_>) -> Result<Vec<u8>, Failure> {
    bytes_at(input, 0, HEAD_BYTES)
}

/// So many bytes from there, if it has them.
pub(super) fn bytes_at(input: &mut Input<'_>, offset: u64, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read_at(offset.saturating_add(filled as u64), &mut bytes[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what this is about, also of one")]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(join([0..10, 10..20, 30..40, 5..6]), [0..20, 30..40, 5..6]);
    }

    #[test]
    fn what_lies_between_is_found_however_it_overlaps() {
        for (whole, gaps, expected) in [
            (10..100, vec![20..30, 40..50], vec![10..20, 30..40, 50..100]),
            (10..100, vec![40..50, 0..20, 15..30, 45..48], vec![30..40, 50..100]),
            (10..100, vec![90..200, 300..400], vec![10..90]),
            (10..100, vec![], vec![10..100]),
            (10..10, vec![0..5], vec![]),
        ] {
            assert_eq!(between(whole, gaps), expected);
        }
    }
}
