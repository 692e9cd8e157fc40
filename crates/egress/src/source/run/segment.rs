//! What one request brings, in the order in which it is read, and how much of it has come.

use std::ops::Range;

use crate::source::plan::Piece;

/// Bytes of one request that are read on end, in order of reading. Requests that were made for another plan may fill
/// several.
#[derive(Debug)]
pub(super) struct Segment {
    /// The request's.
    pub(super) id: u64,
    /// By offset.
    pub(super) pieces: Vec<Piece>,
    pub(super) bytes: Vec<u8>,
    /// Which places have arrived, in order, apart from each other.
    pub(super) filled: Vec<Range<u64>>,
    /// When it was read from, in reads.
    pub(super) used: u64,
}

impl Segment {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether some of it has yet to come.
    pub(super) fn is_open(&self) -> bool {
        self.missing() > 0
    }

    /// Bytes that have yet to come.
    pub(super) fn missing(&self) -> u64 {
        self.len() - self.filled.iter().map(|filled| filled.end - filled.start).sum::<u64>()
    }

    /// The places that have yet to be filled, where it begins at `start`.
    pub(super) fn gaps(&self, start: u64) -> impl Iterator<Item = Range<u64>> {
        let starts = std::iter::once(start).chain(self.filled.iter().map(|filled| filled.end));
        let ends = self.filled.iter().map(|filled| filled.start).chain(std::iter::once(start + self.len()));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }

    pub(super) fn fill(&mut self, start: u64, offset: u64, bytes: &[u8]) -> u64 {
        let arrived = offset..offset + bytes.len() as u64;
        let first = self.pieces.partition_point(|piece| piece.range.end <= arrived.start);
        let mut new = 0;
        let mut places = Vec::new();
        for piece in self.pieces[first..].iter().take_while(|piece| piece.range.start < arrived.end) {
            let common = piece.range.start.max(arrived.start)..piece.range.end.min(arrived.end);
            let place = piece.place + (common.start - piece.range.start);
            let at = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
            let source = at(arrived.start, common.start)..at(arrived.start, common.end);
            let target = at(start, place)..at(start, place) + source.len();
            if let (Some(target), Some(source)) = (self.bytes.get_mut(target), bytes.get(source)) {
                target.copy_from_slice(source);
                places.push(place..place + source.len() as u64);
            }
        }
        for place in places {
            new += self.mark(place);
        }
        new
    }

    /// Notes that these places have arrived; how many of them had not.
    fn mark(&mut self, new: Range<u64>) -> u64 {
        // Nearly always the continuation of the last one.
        if let Some(last) = self.filled.last_mut().filter(|last| last.end == new.start) {
            last.end = new.end;
            return new.end - new.start;
        }
        let before: u64 = self.filled.iter().map(|filled| filled.end - filled.start).sum();
        self.filled.push(new);
        self.filled.sort_by_key(|filled| filled.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(self.filled.len());
        for filled in self.filled.drain(..) {
            match joined.last_mut() {
                Some(last) if filled.start <= last.end => last.end = last.end.max(filled.end),
                _ => joined.push(filled),
            }
        }
        self.filled = joined;
        self.filled.iter().map(|filled| filled.end - filled.start).sum::<u64>() - before
    }
}
