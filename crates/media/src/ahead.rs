//! What a child reads ahead of itself: where its plan is followed from range to range, one question asks for many of
//! them. A packet-by-packet interleaved hour has 170,000 ranges of some hundred bytes, and each question costs both
//! sides a switch of processes.

use std::collections::VecDeque;
use std::ops::Range;

use crate::protocol::MAX_READ_RANGES;

/// Bytes that one question asks for ahead: some seconds of audio. What comes first is not kept waiting for long.
const AHEAD_BYTES: u64 = 64 << 10;

/// The plan, the place in it, and what has come ahead.
#[derive(Default)]
pub(crate) struct Ahead {
    /// By offset.
    planned: Vec<Range<u64>>,
    /// The first range after the one that was read last.
    next: Option<usize>,
    /// Pieces that have come and were not asked for yet.
    held: VecDeque<(u64, Vec<u8>)>,
}

impl Ahead {
    /// Follows this plan from now on.
    pub(crate) fn plan(&mut self, ranges: &[Range<u64>]) {
        self.planned = ranges.to_vec();
        self.planned.sort_unstable_by_key(|range| range.start);
        self.next = None;
    }

    /// The piece at `offset`, if it has come and is no longer than `room`; what was skipped is let go.
    pub(crate) fn take(&mut self, offset: u64, room: usize) -> Option<Vec<u8>> {
        let at = self.held.iter().position(|(start, bytes)| *start == offset && bytes.len() <= room)?;
        self.held.drain(..at);
        self.held.pop_front().map(|(_, bytes)| bytes)
    }

    /// What to ask for besides `wanted`: the planned ranges that follow, if the one before it was read just now.
    pub(crate) fn following(&mut self, wanted: &Range<u64>) -> Vec<Range<u64>> {
        let at = self.planned.partition_point(|range| range.end <= wanted.start);
        let is_whole = self
            .planned
            .get(at)
            .is_some_and(|range| range.contains(&wanted.start) && range.end == wanted.end);
        let goes_on = is_whole && self.next == Some(at);
        self.next = is_whole.then_some(at + 1);
        if !goes_on {
            return Vec::new();
        }
        let mut bytes = wanted.end - wanted.start;
        let more = self.planned[at + 1..].iter().take(MAX_READ_RANGES - 1).take_while(|range| {
            bytes += range.end - range.start;
            bytes <= AHEAD_BYTES
        });
        more.cloned().collect()
    }

    /// Keeps what has come of `ranges`, end to end; at the source's end that is less than all.
    pub(crate) fn hold(&mut self, ranges: &[Range<u64>], mut bytes: &[u8]) {
        self.held.clear();
        for range in ranges {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(length);
            if !piece.is_empty() {
                self.held.push_back((range.start, piece.to_vec()));
            }
            bytes = rest;
        }
        self.next = self.next.map(|next| next + ranges.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the ranges one by one as libav does, and says what was asked for.
    fn questions(ahead: &mut Ahead, reads: &[Range<u64>]) -> Vec<Vec<Range<u64>>> {
        let mut asked = Vec::new();
        for wanted in reads {
            let room = (wanted.end - wanted.start) as usize;
            let expected: Vec<u8> = wanted.clone().map(|at| at as u8).collect();
            if let Some(bytes) = ahead.take(wanted.start, room) {
                assert_eq!(bytes, expected, "{wanted:?} from what was held");
                continue;
            }
            let following = ahead.following(wanted);
            let bytes: Vec<u8> = following.iter().cloned().flatten().map(|at| at as u8).collect();
            ahead.hold(&following, &bytes);
            asked.push([std::slice::from_ref(wanted), following.as_slice()].concat());
        }
        asked
    }

    fn planned(ranges: &[Range<u64>]) -> Ahead {
        let mut ahead = Ahead::default();
        ahead.plan(ranges);
        ahead
    }

    #[test]
    fn a_plan_that_is_followed_is_asked_for_many_ranges_at_once() {
        let ranges: Vec<Range<u64>> = (0..100).map(|at| at * 9000..at * 9000 + 1000).collect();
        let asked = questions(&mut planned(&ranges), &ranges);
        assert_eq!(asked.len(), 3, "the first, 65 more, the rest");
        assert_eq!(asked.concat(), ranges);
    }

    #[test]
    fn what_jumps_about_is_asked_for_one_by_one() {
        let ranges: Vec<Range<u64>> = (0..20).map(|at| at * 100..at * 100 + 10).collect();
        let backwards: Vec<Range<u64>> = ranges.iter().rev().cloned().collect();
        assert_eq!(questions(&mut planned(&ranges), &backwards).len(), 20);
        let every_other: Vec<Range<u64>> = ranges.iter().step_by(2).cloned().collect();
        assert_eq!(questions(&mut planned(&ranges), &every_other).len(), 10);
    }

    #[test]
    fn parts_of_a_range_and_what_is_not_planned_are_asked_for_alone() {
        let ranges = [0..10, 20..30, 40..50, 60..70];
        let reads = [0..10, 20..25, 25..30, 33..36, 60..70];
        let asked = questions(&mut planned(&ranges), &reads);
        assert_eq!(asked, reads.map(|read| vec![read]));
    }

    #[test]
    fn what_the_source_does_not_have_is_not_held() {
        let mut ahead = planned(&[0..10, 20..30, 40..50]);
        ahead.hold(&[20..30, 40..50], &[7; 13]);
        assert_eq!(ahead.take(20, 9), None, "no room for all of it");
        assert_eq!(ahead.take(40, 10), Some(vec![7; 3]));
        assert_eq!(ahead.take(20, 10), None, "skipped");
    }
}
