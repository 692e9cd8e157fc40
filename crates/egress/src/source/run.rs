//! One reading of a plan: what of it is at hand, what is under way, what is to be asked for next. No IO.

use std::collections::BTreeMap;
use std::ops::Range;

use super::batch::Batch;
use super::plan::{Piece, Plan};

/// Bytes of one request that are read on end, in order of reading. Requests that were made for another plan may fill
/// several.
#[derive(Debug)]
struct Segment {
    /// The request's.
    id: u64,
    /// By offset.
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
    /// Which places have arrived, in order, apart from each other.
    filled: Vec<Range<u64>>,
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

impl Segment {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether some of it has yet to come.
    fn is_open(&self) -> bool {
        self.missing() > 0
    }

    /// Bytes that have yet to come.
    fn missing(&self) -> u64 {
        self.len() - self.filled.iter().map(|filled| filled.end - filled.start).sum::<u64>()
    }

    /// The places that have yet to be filled, where it begins at `start`.
    fn gaps(&self, start: u64) -> impl Iterator<Item = Range<u64>> {
        let starts = std::iter::once(start).chain(self.filled.iter().map(|filled| filled.end));
        let ends = self.filled.iter().map(|filled| filled.start).chain(std::iter::once(start + self.len()));
        starts.zip(ends).map(|(start, end)| start..end).filter(|gap| !gap.is_empty())
    }

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
        assert_eq!(run.fill(7, 1995, &file(1995..2006)), 6);
        assert_eq!(run.fill(7, 1000, &file(1000..1010)), 10);
        assert_eq!(run.fill(7, 1000, &file(1000..1010)), 0, "again");
        assert_eq!(run.read(1000, 5), Some(file(1000..1005)));
        assert_eq!(run.read(1005, 500), Some(file(1005..1010)), "no further than it lies together");
        assert_eq!(run.read(2000, 500), Some(file(2000..2006)));
        assert_eq!(run.read(2006, 500), None);
        assert!(run.land(7));
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
            run.fill(7, batch.places.start, &file(batch.places.clone()));
            assert!(!run.land(7));
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
    fn a_jump_gives_up_nothing_that_is_on_its_way_unless_it_is_in_the_way() {
        let mut run = planned(&[0..5000]);
        for (id, start) in [(1, 0), (2, 100), (3, 200)] {
            let batch = Batch::first(run.plan(), start..start + 100, &POLICY);
            run.ask(id, &batch);
        }
        run.fill(1, 0, &file(0..60));
        run.aim(4000);
        run.evict(300, 300);
        assert_eq!((run.fill(2, 100, &file(100..130)), run.take_given_up()), (30, vec![]), "still wanted");
        assert!(run.make_way(300));
        assert_eq!(run.take_given_up(), [3], "which had most to bring");
        run.evict(300, 150);
        assert_eq!(run.take_given_up(), [2], "beyond what is kept");
        assert_eq!((run.fill(1, 60, &file(60..100)), run.land(1)), (40, false));
        run.aim(0);
        assert!(!run.make_way(300), "nothing is under way elsewhere");
        assert_eq!(run.read(0, 500).map(|bytes| bytes.len()), Some(100));
        assert_eq!(run.gap(300), Some((130..400, false)), "what had come by then is not asked for again");
    }

    #[test]
    fn another_plan_takes_over_what_is_on_its_way() {
        let mut head = Run::new(Plan::whole(10_000));
        let batch = Batch::first(head.plan(), 100..200, &POLICY);
        head.ask(5, &batch);
        head.fill(5, 100, &file(100..120));
        let mut run = planned(&[110..130, 150..160, 190..300]);
        run.inherit(&head);
        head.give_up_all();
        assert_eq!((head.take_given_up(), run.wants(5)), (vec![5], true));
        assert_eq!(run.gap(1000), Some((40..140, false)), "the rest comes");
        assert_eq!(run.fill(5, 120, &file(120..195)), 10 + 10 + 5);
        assert_eq!(run.read(150, 100), Some(file(150..160)));
        assert!(run.land(5), "short");
        assert_eq!((run.wants(5), run.read(190, 100)), (false, Some(file(190..195))));
    }

    #[test]
    fn a_request_that_ends_after_its_bytes_were_read_has_not_failed() {
        let mut run = planned(&[0..5000]);
        let batch = ask(&mut run, 300);
        run.fill(7, 0, &file(batch.places.clone()));
        assert_eq!(run.read(0, 100).map(|bytes| bytes.len()), Some(100));
        run.evict(300, 0);
        assert!(!run.land(7));
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
