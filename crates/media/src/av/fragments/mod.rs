//! Fragmented mp4: where its fragments' heads lie, and bringing them here before libav walks over them.
//!
//! libav reads such a file by walking from head to head, one request each. Nothing of that is changed, so that what it
//! hears is what it would hear in a plain reading. Only the heads are here already when it comes to them: all at once,
//! where the file lists its fragments (`index`), else by several walks side by side (`walk`). A list that lies costs
//! requests and nothing else.

mod index;
mod walk;

use std::collections::{BTreeSet, VecDeque};

use self::index::{SegmentIndex, parse_mfra, parse_mfro, parse_sidx};
use self::walk::{read_head, walk};
use super::HostGone;
use super::marks::parse_box;
use super::reader::Reader;

/// Where the boxes before the first fragment end: they hold no list of samples.
const OPENING_BYTES: usize = 64 << 10;
/// The longest list of fragments: a `sidx` box has at most 65,535 of 12 bytes.
const MOST_INDEX_BYTES: u64 = 1 << 20;
/// Shorter fragments than this are mostly sound, or so close to each other that they are better read straight through.
const LEAST_FRAGMENT_BYTES: u64 = 128 << 10;
/// Beyond so many fragments no further list is read: they are as many as one list may have, and enough for 18 h.
const MOST_LISTED: usize = 65_535;
/// Lists within lists.
const MOST_INDEXES: usize = 1024;
/// A list within a list is short.
const INDEX_GUESS_BYTES: u64 = 4096;
/// Walks side by side where no fragment is listed: as many as a host is asked things at once.
const WALKS: u64 = 4;
/// How far a fragment's begin is looked for.
const MOST_SEARCHED_BYTES: u64 = 4 << 20;
/// And in such steps.
const SEARCH_STEP_BYTES: usize = 64 << 10;

/// What a fragmented file says of itself as a whole, in front of its fragments.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fragments {
    /// How long tracks play, by their numbers; not all have a list of their own.
    pub(super) durations: Vec<(u64, f64)>,
    /// Where the last fragment ends.
    pub(super) end: Option<u64>,
}

impl Fragments {
    fn add(&mut self, index: &SegmentIndex) {
        self.durations.push((index.track, index.secs));
        self.end = self.end.max(Some(index.end));
    }

    /// How long the track of this number plays.
    pub(super) fn secs(&self, track: u64) -> Option<f64> {
        let durations = self.durations.iter().filter(|(number, _)| *number == track);
        durations.map(|(_, secs)| *secs).max_by(f64::total_cmp)
    }
}

/// The boxes before the first fragment.
#[derive(Debug, Default, PartialEq)]
struct Opening {
    /// Each `sidx`: where it begins, and its bytes.
    indexes: Vec<(u64, u64)>,
    /// Where the first fragment begins.
    first: u64,
}

/// Brings the heads of a fragmented file here. `None` if it is none, or is better read straight through.
pub(super) fn gather(reader: &mut Reader<'_>) -> Result<Option<Fragments>, HostGone> {
    let Some(opening) = open(&reader.look(0, OPENING_BYTES)?) else { return Ok(None) };
    let listed = listed_in_front(reader, &opening)?;
    // What a size claims may lie beyond every file.
    let size = reader.size()?;
    if opening.first >= size {
        return Ok(None);
    }
    let Some(first) = read_head(reader, opening.first, 0)? else { return Ok(None) };
    let Some(second) = first.next.filter(|second| *second < size) else { return Ok(None) };
    // A list of one fragment is that fragment's own.
    let mut starts = if listed.starts.len() > 1 { listed.starts } else { Vec::new() };
    let length = match (starts.first(), starts.last()) {
        (Some(first), Some(last)) => (last - first) / (starts.len() as u64 - 1),
        // Where each track has fragments of its own, every other one may be short.
        _ => match read_head(reader, second, 0)?.and_then(|head| head.next) {
            Some(third) => (second - opening.first).max(third.min(size) - second),
            None => second - opening.first,
        },
    };
    // libav gives up at a list of lists, and would believe in one that says where the fragments lie.
    if length >= LEAST_FRAGMENT_BYTES || listed.is_nested {
        for (at, bytes) in &opening.indexes {
            reader.shelve(*at, skipped(*bytes));
        }
    }
    if length < LEAST_FRAGMENT_BYTES {
        return Ok(None);
    }
    if starts.is_empty() {
        starts = listed_at_end(reader)?;
    }
    if starts.is_empty() {
        starts = found(reader, second, length)?;
    }
    starts.extend([opening.first, second]);
    walk(reader, starts, first.guess_bytes())?;
    Ok(Some(listed.whole))
}

/// What a file says of its fragments in front of them, where they are still to come.
pub(super) fn take_in_front(reader: &mut Reader<'_>) -> Result<Fragments, HostGone> {
    let opening = open(&reader.look(0, OPENING_BYTES)?).unwrap_or_default();
    let mut fragments = Fragments::default();
    for (at, bytes) in &opening.indexes {
        let whole = reader.look(*at, usize::try_from(*bytes).unwrap_or(0))?;
        if let Some(index) = at.checked_add(*bytes).and_then(|end| parse_sidx(&whole, end)) {
            fragments.add(&index);
        }
        // What libav would make of a list is said at `gather`.
        reader.shelve(*at, skipped(*bytes));
    }
    Ok(fragments)
}

/// `None` if it is not a fragmented file, or its first fragment is far.
fn open(bytes: &[u8]) -> Option<Opening> {
    let (mut at, mut has_moov, mut opening) = (0, false, Opening::default());
    while let Some((name, size)) = bytes.get(at..).and_then(parse_box) {
        match name {
            "moof" if has_moov => return Some(Opening { first: at as u64, ..opening }),
            "mdat" | "moof" => return None,
            "moov" => has_moov = true,
            "sidx" if has_moov && size <= MOST_INDEX_BYTES => opening.indexes.push((at as u64, size)),
            _ => {}
        }
        at = usize::try_from(size).ok().and_then(|size| at.checked_add(size))?;
    }
    // A long list of fragments leads out of the bytes that are here.
    let is_listed = has_moov && at > bytes.len() && !opening.indexes.is_empty();
    is_listed.then_some(Opening { first: at as u64, ..opening })
}

/// The head of a `sidx` box of so many bytes, as that of a box that is skipped.
fn skipped(bytes: u64) -> Vec<u8> {
    let size = u32::try_from(bytes).unwrap_or(u32::MAX);
    [size.to_be_bytes(), *b"skip"].concat()
}

/// What the file lists at its start.
#[derive(Default)]
struct Listed {
    /// Where fragments begin, in order, each once.
    starts: Vec<u64>,
    whole: Fragments,
    is_nested: bool,
}

fn listed_in_front(reader: &mut Reader<'_>, opening: &Opening) -> Result<Listed, HostGone> {
    let mut listed = Listed::default();
    if opening.indexes.is_empty() {
        return Ok(listed);
    }
    let size = reader.size()?;
    let mut waiting: VecDeque<u64> = opening.indexes.iter().map(|(at, _)| *at).collect();
    let mut seen = BTreeSet::new();
    while let Some(at) = waiting.pop_front() {
        // Lists may lie across each other, so that a small file could name more than memory has room for.
        if seen.len() >= MOST_INDEXES || listed.starts.len() >= MOST_LISTED {
            break;
        }
        if !seen.insert(at) {
            continue;
        }
        let head = reader.look(at.min(size), 16)?;
        let Some(("sidx", size)) = parse_box(&head).filter(|(_, size)| *size <= MOST_INDEX_BYTES) else {
            continue;
        };
        let whole = reader.look(at, size as usize)?;
        let Some(index) = at.checked_add(size).and_then(|end| parse_sidx(&whole, end)) else { continue };
        if opening.indexes.iter().any(|(top, _)| *top == at) {
            listed.whole.add(&index);
        }
        listed.is_nested |= !index.indexes.is_empty();
        listed.starts.extend(index.fragments);
        if !index.indexes.is_empty() {
            // All of the next level, ahead of the reader.
            reader.plan(index.indexes.iter().map(|at| *at..at.saturating_add(INDEX_GUESS_BYTES)).collect());
            waiting.extend(index.indexes);
        }
    }
    listed.starts.sort_unstable();
    listed.starts.dedup();
    Ok(listed)
}

fn listed_at_end(reader: &mut Reader<'_>) -> Result<Vec<u64>, HostGone> {
    const TAIL_BYTES: u64 = 16;
    let size = reader.size()?;
    let tail = reader.look(size.saturating_sub(TAIL_BYTES), TAIL_BYTES as usize)?;
    let Some(bytes) = parse_mfro(&tail).filter(|bytes| *bytes <= MOST_INDEX_BYTES.min(size)) else {
        return Ok(Vec::new());
    };
    Ok(parse_mfra(&reader.look(size - bytes, bytes as usize)?))
}

/// Some places where fragments begin, where none is listed: by looking for one around each quarter of the file.
fn found(reader: &mut Reader<'_>, second: u64, length: u64) -> Result<Vec<u64>, HostGone> {
    let rest = reader.size()?.saturating_sub(second);
    let mut starts = Vec::new();
    // Otherwise a search is longer than the walk that it shortens.
    if rest / WALKS < 8 * length {
        return Ok(starts);
    }
    for part in 1..WALKS {
        starts.extend(search(reader, second + rest / WALKS * part, (2 * length).min(MOST_SEARCHED_BYTES))?);
    }
    Ok(starts)
}

/// The first `moof` box within `most` bytes from `from`: one that begins with its header, as it should (8.8.4).
fn search(reader: &mut Reader<'_>, from: u64, most: u64) -> Result<Option<u64>, HostGone> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < most {
        let more = reader.look(from + bytes.len() as u64, SEARCH_STEP_BYTES)?;
        if more.is_empty() {
            break;
        }
        // What may lie across the seam is looked at again.
        let new = bytes.len().saturating_sub(16);
        bytes.extend(more);
        let is_head = |window: &[u8]| &window[4..8] == b"moof" && &window[8..16] == b"\0\0\0\x10mfhd";
        if let Some(at) = bytes[new..].windows(16).position(is_head) {
            return Ok(Some(from + (new + at) as u64));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use domain::Step;

    use super::super::{Host, Probe};
    use super::*;

    /// A file, and where it was read or to be read.
    struct Asked {
        file: Vec<u8>,
        places: Vec<u64>,
    }

    impl Host for Asked {
        fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
            self.places.push(offset);
            let rest = usize::try_from(offset).ok().and_then(|at| self.file.get(at..)).unwrap_or_default();
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }
        fn size(&mut self) -> Result<u64, HostGone> {
            Ok(self.file.len() as u64)
        }
        fn plan(&mut self, ranges: &[Range<u64>]) {
            self.places.extend(ranges.iter().map(|range| range.start));
        }
        fn probed(&mut self, _: Probe) {}
        fn progressed(&mut self, _: Step, _: Option<f64>) {}
    }

    /// A fragment whose media says to end after so many bytes.
    fn fragment(said: u64, media: &[u8]) -> Vec<u8> {
        let head = b"\0\0\0\x18moof\0\0\0\x10mfhd\0\0\0\0\0\0\0\0";
        [head.as_slice(), b"\0\0\0\x01mdat", &said.to_be_bytes(), media].concat()
    }

    #[test]
    fn a_fragment_that_would_lie_beyond_the_file_is_not_looked_for() {
        /// So many that some are looked for within the file.
        const FRAGMENTS: usize = 48;
        let media = vec![0; LEAST_FRAGMENT_BYTES as usize];
        let honest = media.len() as u64 + 16;
        for said in [1 << 40, i64::MAX as u64, u64::MAX - 100_000_000, u64::MAX] {
            for first_liar in [0, 1, 2, 9] {
                let mut file = b"\0\0\0\x08ftyp\0\0\0\x08moov".to_vec();
                for number in 0..FRAGMENTS {
                    file.extend(fragment(if number < first_liar { honest } else { said }, &media));
                }
                let end = file.len() as u64;
                let mut host = Asked { file, places: Vec::new() };
                let gathered = gather(&mut Reader::new(&mut host)).expect("a host");
                assert_eq!(gathered.is_some(), first_liar > 0, "{said} from fragment {first_liar} on");
                let beyond = host.places.iter().find(|at| **at >= end);
                assert_eq!(beyond, None, "{said} from fragment {first_liar} on, in {end} bytes");
            }
        }
    }
}
