//! The walk from fragment to fragment. Where the next one begins is known only once this one's sizes are, so that a
//! walk is as slow as the way to the host is long. Several go side by side, from wherever a fragment is known to begin.

use std::collections::BTreeSet;

use super::super::HostGone;
use super::super::marks::parse_box;
use super::super::reader::Reader;

/// The longest head that is kept: the lists of samples of an hour have about so many bytes.
const MOST_HEAD_BYTES: u64 = 1 << 20;
/// All heads that are kept: of fragments of a second in three hours. Beyond, the demuxer finds its way alone.
const MOST_KEPT_BYTES: usize = 24 << 20;
/// Shorter leaps than this, on average, are better read through: in the time of a round trip as much arrives.
const LEAST_LEAP_BYTES: u64 = 32 << 10;
/// So many tell how long they are on average, and how long their heads are at most.
const ENOUGH_FRAGMENTS: usize = 32;
/// The least that is asked for: heads are longer or shorter by what there is to see.
const LEAST_GUESS_BYTES: usize = 2048;

/// All of a fragment but its media: the boxes up to the media's bytes.
pub(super) struct Head {
    bytes: Vec<u8>,
    /// Where the media ends; `None` where they have no end, or there are none.
    pub(super) next: Option<u64>,
}

impl Head {
    /// About how many bytes another one has.
    pub(super) fn guess_bytes(&self) -> usize {
        (self.bytes.len() + self.bytes.len() / 4).max(LEAST_GUESS_BYTES)
    }
}

/// Reads the head that begins at `at`, first `guess` bytes of it. `None` if there is no fragment.
pub(super) fn read_head(reader: &mut Reader<'_>, at: u64, guess: usize) -> Result<Option<Head>, HostGone> {
    let mut bytes = reader.look(at, guess)?;
    let (mut end, mut is_fragment, mut next) = (0, false, None);
    loop {
        extend(reader, at, &mut bytes, end + 16)?;
        let rest = bytes.get(end..).unwrap_or_default();
        let Some((name, size)) = parse_box(rest) else { break };
        if name == "mdat" {
            next = (at + end as u64).checked_add(size);
            // As far as a size of 64 bits reaches: also where there is none, so that nobody has to look again.
            end += 16;
            break;
        }
        let is_head =
            matches!(name, "moof" | "styp" | "sidx" | "ssix" | "emsg" | "prft" | "free" | "skip" | "uuid");
        if !is_head || size > MOST_HEAD_BYTES || end as u64 + size > MOST_HEAD_BYTES {
            break;
        }
        is_fragment |= name == "moof";
        end += size as usize;
        extend(reader, at, &mut bytes, end)?;
    }
    bytes.truncate(end);
    Ok(is_fragment.then_some(Head { bytes, next }))
}

/// Reads on until there are `count` bytes, if the file has them.
fn extend(reader: &mut Reader<'_>, at: u64, bytes: &mut Vec<u8>, count: usize) -> Result<(), HostGone> {
    let missing = count.saturating_sub(bytes.len());
    if missing > 0 {
        bytes.extend(reader.look(at.saturating_add(bytes.len() as u64), missing)?);
    }
    Ok(())
}

/// Walks from all of `starts` at once until each walk comes to where another has been, and shelves every head.
pub(super) fn walk(reader: &mut Reader<'_>, mut starts: Vec<u64>, mut guess: usize) -> Result<(), HostGone> {
    let size = reader.size()?;
    let (mut seen, mut missed, mut kept_bytes, mut spanned_bytes) = (BTreeSet::new(), 0, 0, 0);
    let mut most = ENOUGH_FRAGMENTS;
    loop {
        starts.retain(|at| *at < size && !seen.contains(at));
        starts.sort_unstable();
        starts.dedup();
        if starts.is_empty() {
            return Ok(());
        }
        let later = starts.split_off(starts.len().min(most));
        most = usize::MAX;
        // Where a box before a fragment leads to one that is here already, that box is all that is missing.
        let heads: Vec<_> = starts.into_iter().map(|at| (at, reader.unshelved(at, guess))).collect();
        reader.plan(heads.iter().map(|(at, bytes)| *at..at.saturating_add(*bytes as u64)).collect());
        let mut next = Vec::new();
        for (at, bytes) in heads {
            let Some(head) = read_head(reader, at, bytes)?.filter(|_| seen.insert(at)) else {
                missed += 1;
                // Whoever says that fragments are here has no idea.
                if missed >= ENOUGH_FRAGMENTS {
                    return Ok(());
                }
                continue;
            };
            kept_bytes += head.bytes.len();
            spanned_bytes += head.next.map_or(0, |next| next.min(size) - at);
            guess = guess.max(head.guess_bytes());
            next.extend(head.next);
            reader.shelve(at, head.bytes);
            let is_dense = spanned_bytes < LEAST_LEAP_BYTES * seen.len() as u64;
            if kept_bytes > MOST_KEPT_BYTES || (is_dense && seen.len() >= ENOUGH_FRAGMENTS) {
                return Ok(());
            }
        }
        starts = [next, later].concat();
    }
}
