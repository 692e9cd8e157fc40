//! One reading of a plan: what of it is at hand, what is under way, what is to be asked for next. No IO.

use std::collections::BTreeMap;
use std::ops::Range;

use self::segment::Segment;
use super::batch::Batch;
use super::plan::{Piece, Plan};

mod segment;

/// One reading of a plan.
#[derive(Debug)]
pub(crate) struct Run {
    plan: Plan,
    /// By the place at which they begin; none overlaps another.
    segments: BTreeMap<u64, Segment>,
    /// Where the reader is.
    reader: u64,
    /// Bytes read on end: a reader that jumps has yet to show that it goes on.
    steady_bytes: u64,
    reads: u64,
    /// Requests of which not all is wanted any more.
    given_up: Vec<u64>,
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, segments: BTreeMap::new(), reader: 0, steady_bytes: 0, reads: 0, given_up: Vec::new() }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Up to `max_bytes` bytes that lie together in the file from `offset` on, if the first of them has arrived.
    pub(crate) fn read(&mut self, offset: u64, max_bytes: usize) -> Option<Vec<u8>> {
        let piece = self.plan.place(offset)?;
        self.reads += 1;
        let reads = self.reads;
        let (start, segment) = self.segments.range_mut(..=piece.start).next_back()?;
        let filled = segment.filled.iter().find(|filled| filled.contains(&piece.start))?;
        let end = filled.end.min(piece.end).min(piece.start.saturating_add(max_bytes as u64));
        let at = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX);
        let bytes = segment.bytes.get(at(piece.start)..at(end))?.to_vec();
        segment.used = reads;
        self.moved(piece.start, bytes.len() as u64);
        Some(bytes)
    }

    /// The reader wants the byte at `offset`, which is in the plan.
    pub(crate) fn aim(&mut self, offset: u64) {
        if let Some(piece) = self.plan.place(offset) {
            self.moved(piece.start, 0);
        }
    }

    /// Small steps forward are steady too: a reader that skips what it has no use for.
    fn moved(&mut self, place: u64, count: u64) {
        let step = place.checked_sub(self.reader);
        if step.is_none_or(|step| step > self.steady_bytes) {
            self.steady_bytes = 0;
        }
        self.steady_bytes += step.unwrap_or(0).min(self.steady_bytes) + count;
        self.reader = place + count;
    }

    /// Bytes read on end.
    pub(crate) fn steady_bytes(&self) -> u64 {
        self.steady_bytes
    }

    /// The first bytes within `window` of the reader that have neither arrived nor been asked for, and whether the
    /// reader waits for them.
    pub(crate) fn gap(&self, window: u64) -> Option<(Range<u64>, bool)> {
        let end = self.reader.saturating_add(window).min(self.plan.len());
        let mut at = self.reader;
        while at < end {
            let before = self.segments.range(..=at).next_back();
            match before.map(|(start, segment)| start + segment.len()) {
                Some(covered) if covered > at => at = covered,
                _ => {
                    let next = self.segments.range(at..).next().map_or(end, |(start, _)| *start);
                    return Some((at..next.min(end), at == self.reader));
                }
            }
        }
        None
    }

    /// How far ahead of the reader its window reaches.
    pub(crate) fn window_end(&self, window: u64) -> u64 {
        self.reader.saturating_add(window).min(self.plan.len())
    }

    /// A request for these bytes is made.
    pub(crate) fn ask(&mut self, id: u64, batch: &Batch) {
        let len = usize::try_from(batch.places.end - batch.places.start).unwrap_or(0);
        let segment = Segment {
            id,
            pieces: batch.pieces.clone(),
            bytes: vec![0; len],
            filled: Vec::new(),
            used: self.reads,
        };
        self.segments.insert(batch.places.start, segment);
    }

    /// What this request has yet to fill; nothing, where it was given up.
    fn asked(&mut self, id: u64) -> impl Iterator<Item = (u64, &mut Segment)> {
        let segments = self.segments.iter_mut().map(|(start, segment)| (*start, segment));
        segments.filter(move |(_, segment)| segment.id == id && segment.is_open())
    }

    /// Bytes of the file have arrived; what of them was not asked for is dropped. How many were new.
    pub(crate) fn fill(&mut self, id: u64, offset: u64, bytes: &[u8]) -> u64 {
        self.asked(id).map(|(start, segment)| segment.fill(start, offset, bytes)).sum()
    }

    /// A request has ended. What did not come is open again; whether that is something.
    pub(crate) fn land(&mut self, id: u64) -> bool {
        let short: Vec<u64> = self.asked(id).map(|(start, _)| start).collect();
        short.iter().for_each(|start| self.keep_filled(*start));
        !short.is_empty()
    }

    /// Wants no more bytes here than have come.
    fn give_up(&mut self, start: u64) {
        self.given_up.extend(self.segments.get(&start).map(|segment| segment.id));
        self.keep_filled(start);
    }

    /// The requests that were given up since this was asked last. They may still have other places to fill.
    pub(crate) fn take_given_up(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.given_up)
    }

    /// Whether bytes of this request are wanted.
    pub(crate) fn wants(&self, id: u64) -> bool {
        self.segments.values().any(|segment| segment.id == id && segment.is_open())
    }

    fn keep_filled(&mut self, start: u64) {
        let Some(segment) = self.segments.remove(&start) else { return };
        for filled in &segment.filled {
            let at = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX);
            let bytes = segment.bytes.get(at(filled.start)..at(filled.end)).unwrap_or_default().to_vec();
            self.keep(filled.start, bytes, segment.used);
        }
    }

    fn keep(&mut self, start: u64, bytes: Vec<u8>, used: u64) {
        let filled = std::iter::once(start..start + bytes.len() as u64).collect();
        let segment = Segment { id: 0, pieces: Vec::new(), bytes, filled, used };
        self.segments.insert(start, segment);
    }

    /// Gives up the request that has most to bring of what lies outside of the window, if there is one.
    pub(crate) fn make_way(&mut self, window: u64) -> bool {
        let open = self.far(window).filter(|(_, segment)| segment.is_open());
        let most = open.max_by_key(|(_, segment)| segment.missing()).map(|(start, _)| start);
        most.map(|start| self.give_up(start)).is_some()
    }

    /// Gives up all that is under way.
    pub(crate) fn give_up_all(&mut self) {
        let open = self.segments.iter().filter(|(_, segment)| segment.is_open());
        for start in open.map(|(start, _)| *start).collect::<Vec<_>>() {
            self.give_up(start);
        }
    }

    /// What lies outside of the window.
    fn far(&self, window: u64) -> impl Iterator<Item = (u64, &Segment)> {
        let near = self.reader..self.reader.saturating_add(window.max(1));
        let segments = self.segments.iter().map(|(start, segment)| (*start, segment));
        segments.filter(move |(start, segment)| *start >= near.end || start + segment.len() <= near.start)
    }

    /// Keeps no more outside of the window than `behind` bytes, those that were read last. What is on its way there
    /// may come, since a demuxer that has jumped mostly comes back; where it is too much, it is given up first.
    pub(crate) fn evict(&mut self, window: u64, behind: u64) {
        let bytes = |run: &Self| run.far(window).map(|(_, segment)| segment.len()).sum::<u64>();
        while bytes(self) > behind && self.make_way(window) {}
        let mut kept = bytes(self);
        let mut far: Vec<_> =
            self.far(window).map(|(start, segment)| (segment.used, start, segment.len())).collect();
        far.sort_unstable();
        for (_, start, len) in far {
            if kept > behind {
                self.segments.remove(&start);
                kept -= len;
            }
        }
    }

    /// Takes over what another reading of the same file has at hand, and what is on its way to it.
    pub(crate) fn inherit(&mut self, other: &Run) {
        for (start, segment) in &other.segments {
            for filled in &segment.filled {
                for piece in other.plan.pieces(filled.clone()) {
                    let at = usize::try_from(piece.place - start).unwrap_or(usize::MAX);
                    let len = usize::try_from(piece.len()).unwrap_or(0);
                    self.adopt(piece.range.start, segment.bytes.get(at..at + len).unwrap_or_default());
                }
            }
            for missing in segment.gaps(*start) {
                for piece in other.plan.pieces(missing) {
                    self.expect(piece.range, segment);
                }
            }
        }
    }

    /// These bytes of the file come by the request of another reading's segment.
    fn expect(&mut self, range: Range<u64>, other: &Segment) {
        for piece in self.plan.overlapping(range) {
            if self.is_free(&piece) {
                let segment = Segment {
                    id: other.id,
                    bytes: vec![0; usize::try_from(piece.len()).unwrap_or(0)],
                    filled: Vec::new(),
                    used: self.reads,
                    pieces: vec![piece.clone()],
                };
                self.segments.insert(piece.place, segment);
            }
        }
    }

    /// Whether nothing is here or on its way here yet.
    fn is_free(&self, piece: &Piece) -> bool {
        let before = self.segments.range(..piece.place + piece.len()).next_back();
        before.is_none_or(|(start, segment)| start + segment.len() <= piece.place)
    }

    /// Puts bytes of the file where this plan has them, if it does and they are not there yet.
    pub(crate) fn adopt(&mut self, offset: u64, bytes: &[u8]) {
        let range = offset..offset + bytes.len() as u64;
        for piece in self.plan.overlapping(range) {
            let is_free = self.is_free(&piece);
            let at = usize::try_from(piece.range.start - offset).unwrap_or(usize::MAX);
            let len = usize::try_from(piece.len()).unwrap_or(0);
            if let Some(bytes) = bytes.get(at..at + len).filter(|_| is_free) {
                self.keep(piece.place, bytes.to_vec(), self.reads);
            }
        }
    }

    /// Bytes held in memory.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.segments.values().map(|segment| segment.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests;
