//! One reading of a plan: what of it is at hand, what is under way, what is to be asked for next. No IO.

use std::collections::BTreeMap;
use std::ops::Range;

use tokio::task::AbortHandle;

use super::batch::Batch;
use super::plan::{Piece, Plan};

/// A request under way; it ends when nobody wants its bytes any more.
#[derive(Debug)]
pub(crate) struct Flight(pub(crate) AbortHandle);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What of a request's bytes came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landed {
    All,
    Part,
    /// Nobody wants them any more; what came may have been read before.
    GivenUp,
}

/// The bytes of one request, in order of reading.
#[derive(Debug)]
struct Segment {
    /// The request's.
    id: u64,
    /// By offset.
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    /// Which places have arrived, in order, apart from each other.
    filled: Vec<Range<u64>>,
    flight: Option<Flight>,
    /// When it was read from, in reads.
    used: u64,
}

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
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, segments: BTreeMap::new(), reader: 0, steady_bytes: 0, reads: 0 }
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
            match before.map(|(start, segment)| start + segment.bytes.len() as u64) {
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
            flight: None,
            used: self.reads,
        };
        self.segments.insert(batch.places.start, segment);
    }

    /// This is the request.
    pub(crate) fn take_off(&mut self, id: u64, start: u64, flight: Flight) {
        if let Some(segment) = self.asked(id, start) {
            segment.flight = Some(flight);
        }
    }

    /// What this request fills, unless it was given up.
    fn asked(&mut self, id: u64, start: u64) -> Option<&mut Segment> {
        self.segments.get_mut(&start).filter(|segment| segment.id == id)
    }

    /// Bytes of the file have arrived; what of them was not asked for is dropped. How many were new.
    pub(crate) fn fill(&mut self, id: u64, start: u64, offset: u64, bytes: &[u8]) -> u64 {
        self.asked(id, start).map_or(0, |segment| segment.fill(start, offset, bytes))
    }

    /// A request has ended. What did not come is open again.
    pub(crate) fn land(&mut self, id: u64, start: u64) -> Landed {
        let Some(segment) = self.asked(id, start) else { return Landed::GivenUp };
        let is_full = |filled: &Range<u64>| filled.end - filled.start == segment.bytes.len() as u64;
        if segment.filled.first().is_some_and(is_full) {
            segment.flight = None;
            return Landed::All;
        }
        let Some(segment) = self.segments.remove(&start) else { return Landed::GivenUp };
        for filled in &segment.filled {
            let at = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX);
            let bytes = segment.bytes.get(at(filled.start)..at(filled.end)).unwrap_or_default().to_vec();
            self.keep(filled.start, bytes, segment.used);
        }
        Landed::Part
    }

    fn keep(&mut self, start: u64, bytes: Vec<u8>, used: u64) {
        let filled = std::iter::once(start..start + bytes.len() as u64).collect();
        let segment = Segment { id: 0, pieces: Vec::new(), bytes, filled, flight: None, used };
        self.segments.insert(start, segment);
    }

    /// Gives up what lies outside of the window, but for the `behind` bytes that were read last.
    pub(crate) fn evict(&mut self, window: u64, behind: u64) {
        let near = self.reader..self.reader.saturating_add(window.max(1));
        let is_near = |start: u64, segment: &Segment| {
            start < near.end && start + segment.bytes.len() as u64 > near.start
        };
        let mut far: Vec<(u64, u64, u64)> = self
            .segments
            .iter()
            .filter(|(start, segment)| !is_near(**start, segment))
            .map(|(start, segment)| {
                // What is still under way out there was asked for in vain.
                let used = if segment.flight.is_some() { 0 } else { segment.used + 1 };
                (used, *start, segment.bytes.len() as u64)
            })
            .collect();
        far.sort_unstable();
        let mut kept: u64 = far.iter().map(|(_, _, len)| len).sum();
        for (used, start, len) in far {
            if used == 0 || kept > behind {
                self.segments.remove(&start);
                kept -= len;
            }
        }
    }

    /// Takes over what another reading of the same file has at hand.
    pub(crate) fn inherit(&mut self, other: &Run) {
        for (start, segment) in &other.segments {
            for filled in &segment.filled {
                for piece in other.plan.pieces(filled.clone()) {
                    let at = usize::try_from(piece.place - start).unwrap_or(usize::MAX);
                    let len = usize::try_from(piece.len()).unwrap_or(0);
                    self.adopt(piece.range.start, segment.bytes.get(at..at + len).unwrap_or_default());
                }
            }
        }
    }

    /// Puts bytes of the file where this plan has them, if it does and they are not there yet.
    pub(crate) fn adopt(&mut self, offset: u64, bytes: &[u8]) {
        let range = offset..offset + bytes.len() as u64;
        for piece in self.plan.overlapping(range) {
            let places = piece.place..piece.place + piece.len();
            let is_free = self
                .segments
                .range(..places.end)
                .next_back()
                .is_none_or(|(start, segment)| start + segment.bytes.len() as u64 <= places.start);
            let at = usize::try_from(piece.range.start - offset).unwrap_or(usize::MAX);
            let len = usize::try_from(piece.len()).unwrap_or(0);
            if let Some(bytes) = bytes.get(at..at + len).filter(|_| is_free) {
                self.keep(places.start, bytes.to_vec(), self.reads);
            }
        }
    }

    /// Bytes held in memory.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        self.segments.values().map(|segment| segment.bytes.len()).sum()
    }
}

impl Segment {
    fn fill(&mut self, start: u64, offset: u64, bytes: &[u8]) -> u64 {
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

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what this is about, also of one")]
mod tests {
    use super::super::batch::Policy;
    use super::*;

    const POLICY: Policy = Policy { max_parts: 100, join_gap: 0, max_bytes: 100, max_wire_bytes: 1000 };

    /// Every byte says where it lies.
    fn file(range: Range<u64>) -> Vec<u8> {
        range.map(|offset| offset as u8).collect()
    }

    fn planned(ranges: &[Range<u64>]) -> Run {
        Run::new(Plan::of(ranges.to_vec(), 10_000).expect("a plan"))
    }

    fn ask(run: &mut Run, window: u64) -> Batch {
        let (gap, _) = run.gap(window).expect("a gap");
        let batch = Batch::first(run.plan(), gap, &POLICY);
        run.ask(7, &batch);
        batch
    }

    #[test]
    fn what_arrives_is_read_where_it_lies_in_the_file() {
        let mut run = planned(&[1000..1010, 2000..2010]);
        let batch = ask(&mut run, 100);
        assert_eq!(batch.places, 0..20);
        assert_eq!(run.gap(100), None, "all of it is under way");
        assert_eq!(run.read(1000, 5), None);
        // In the wrong order, and with bytes that nobody planned.
        assert_eq!(run.fill(7, 0, 1995, &file(1995..2006)), 6);
        assert_eq!(run.fill(7, 0, 1000, &file(1000..1010)), 10);
        assert_eq!(run.fill(7, 0, 1000, &file(1000..1010)), 0, "again");
        assert_eq!(run.read(1000, 5), Some(file(1000..1005)));
        assert_eq!(run.read(1005, 500), Some(file(1005..1010)), "no further than it lies together");
        assert_eq!(run.read(2000, 500), Some(file(2000..2006)));
        assert_eq!(run.read(2006, 500), None);
        assert_eq!(run.land(7, 0), Landed::Part);
        assert_eq!(run.gap(100), Some((16..20, true)), "what did not come is open again");
        assert_eq!(run.read(2000, 500), Some(file(2000..2006)), "what came is not");
        run.aim(1000);
        assert_eq!(run.gap(100), Some((16..20, false)), "and is not waited for from elsewhere");
    }

    #[test]
    fn the_window_moves_with_the_reader_and_bounds_what_is_held() {
        let mut run = planned(&[0..5000]);
        for _ in 0..3 {
            let batch = ask(&mut run, 300);
            run.fill(7, batch.places.start, batch.places.start, &file(batch.places.clone()));
            assert_eq!(run.land(7, batch.places.start), Landed::All);
        }
        assert_eq!(run.gap(300), None);
        assert_eq!(run.read(0, 250).map(|bytes| bytes.len()), Some(100));
        assert_eq!(run.read(100, 150).map(|bytes| bytes.len()), Some(100));
        assert_eq!(run.gap(300), Some((300..500, false)));
        run.evict(300, 100);
        assert_eq!(run.held_bytes(), 200, "one segment behind, one ahead");
        assert_eq!(run.read(150, 1).map(|bytes| bytes[0]), Some(150));
        run.evict(300, 0);
        run.aim(4000);
        run.evict(300, 0);
        assert_eq!(run.held_bytes(), 0);
    }

    #[test]
    fn a_request_that_ends_after_its_bytes_were_read_has_not_failed() {
        let mut run = planned(&[0..5000]);
        let batch = ask(&mut run, 300);
        run.fill(7, 0, 0, &file(batch.places.clone()));
        assert_eq!(run.read(0, 100).map(|bytes| bytes.len()), Some(100));
        run.evict(300, 0);
        assert_eq!(run.land(7, 0), Landed::GivenUp);
    }

    #[test]
    fn a_jump_ends_a_steady_reading() {
        let mut run = Run::new(Plan::whole(5000));
        run.adopt(0, &file(0..1000));
        run.read(0, 400);
        run.read(400, 100);
        assert_eq!(run.steady_bytes(), 500);
        run.read(600, 100);
        assert_eq!(run.steady_bytes(), 700, "a small step forward");
        run.aim(3000);
        assert_eq!(run.steady_bytes(), 0);
        run.read(0, 10);
        assert_eq!(run.steady_bytes(), 10);
    }

    #[test]
    fn another_plan_takes_over_what_is_at_hand() {
        let mut head = Run::new(Plan::whole(10_000));
        head.adopt(0, &file(0..100));
        head.adopt(5000, &file(5000..5050));
        let mut run = planned(&[5040..5060, 90..110, 40..50]);
        run.inherit(&head);
        assert_eq!(run.read(5040, 100), Some(file(5040..5050)));
        assert_eq!(run.read(90, 100), Some(file(90..100)));
        assert_eq!(run.read(40, 100), Some(file(40..50)));
        run.aim(5040);
        assert_eq!(run.gap(100), Some((10..20, false)));
        run.inherit(&head);
        assert_eq!(run.held_bytes(), 30, "nothing twice");
    }
}
