//! What one request asks for: the pure rules by which planned bytes become ranges.

use std::ops::Range;

use bytes::Bytes;

use super::plan::{Piece, Plan};

/// What one request may ask for, at this host and at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Ranges in one request.
    pub(crate) max_parts: usize,
    /// Bytes between two pieces that are read and thrown away rather than jumped over.
    pub(crate) join_gap: u64,
    /// Planned bytes in one request.
    pub(crate) max_bytes: u64,
    /// Bytes in one request, with those that are thrown away.
    pub(crate) max_wire_bytes: u64,
}

impl Policy {
    /// One range, as long as it is.
    pub(crate) const ALL: Self =
        Self { max_parts: 1, join_gap: 0, max_bytes: u64::MAX, max_wire_bytes: u64::MAX };
}

/// The bytes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Which places of the plan it fills.
    pub(crate) places: Range<u64>,
    /// What it fills them from.
    pub(crate) pieces: Vec<Piece>,
    /// What is asked of the host, in order of reading.
    pub(crate) ranges: Vec<Range<u64>>,
}

impl Batch {
    /// The first request for the bytes at these places, or for as many of them as the policy allows. There is at least
    /// one byte at them.
    pub(crate) fn first(plan: &Plan, places: Range<u64>, policy: &Policy) -> Self {
        let mut batch = Self { places: places.start..places.start, pieces: Vec::new(), ranges: Vec::new() };
        let (mut bytes, mut wire) = (0, 0);
        for mut piece in plan.pieces(places) {
            let room = policy.max_bytes.saturating_sub(bytes).min(policy.max_wire_bytes.saturating_sub(wire));
            let gap = batch.ranges.last().and_then(|last| piece.range.start.checked_sub(last.end));
            let joins = gap.filter(|gap| *gap <= policy.join_gap && *gap < room);
            let is_full = room == 0 || (joins.is_none() && batch.ranges.len() >= policy.max_parts.max(1));
            if is_full && !batch.ranges.is_empty() {
                break;
            }
            let room = if batch.ranges.is_empty() { room.max(1) } else { room - joins.unwrap_or(0) };
            piece.range.end = piece.range.end.min(piece.range.start + room);
            bytes += piece.len();
            wire += piece.len() + joins.unwrap_or(0);
            batch.places.end += piece.len();
            match batch.ranges.last_mut() {
                Some(last) if joins.is_some() => last.end = piece.range.end,
                _ => batch.ranges.push(piece.range.clone()),
            }
            batch.pieces.push(piece);
        }
        batch.pieces.sort_by_key(|piece| piece.range.start);
        batch
    }

    /// Whether it takes the form of several parts.
    pub(crate) fn is_multi(&self) -> bool {
        self.ranges.len() > 1
    }

    /// The file's bytes from the first to the last that are asked for.
    pub(crate) fn span(&self) -> Range<u64> {
        let start = self.ranges.iter().map(|range| range.start).min().unwrap_or(0);
        start..self.ranges.iter().map(|range| range.end).max().unwrap_or(start)
    }

    /// What was wanted of these bytes of the file, each from its offset on.
    pub(crate) fn wanted(&self, offset: u64, bytes: &Bytes) -> impl Iterator<Item = (u64, Bytes)> {
        let end = offset + bytes.len() as u64;
        let first = self.pieces.partition_point(|piece| piece.range.end <= offset);
        self.pieces[first..].iter().take_while(move |piece| piece.range.start < end).map(move |piece| {
            let common = piece.range.start.max(offset)..piece.range.end.min(end);
            let at = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
            (common.start, bytes.slice(at(common.start)..at(common.end)))
        })
    }

    /// Bytes that are asked for.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// As it is written in a request (RFC 9110, 14.1.2).
    pub(crate) fn header(&self) -> String {
        let ranges: Vec<String> =
            self.ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        format!("bytes={}", ranges.join(","))
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what this is about, also of one")]
mod tests {
    use super::*;

    const WIDE: Policy = Policy { max_parts: 100, join_gap: 0, max_bytes: 1_000, max_wire_bytes: 10_000 };

    fn batch(ranges: &[Range<u64>], from: u64, policy: Policy) -> (Range<u64>, Vec<Range<u64>>) {
        let plan = Plan::of(ranges.to_vec(), 1 << 40).expect("a plan");
        let batch = Batch::first(&plan, from..plan.len(), &policy);
        let filled: u64 = batch.pieces.iter().map(Piece::len).sum();
        assert_eq!(filled, batch.places.end - batch.places.start);
        (batch.places, batch.ranges)
    }

    #[test]
    fn planned_bytes_become_ranges_by_the_policy() {
        let chunks = [100..200, 300..400, 1000..1100];
        let one = Policy { max_parts: 1, ..WIDE };
        type Case = (&'static str, u64, Policy, Range<u64>, Vec<Range<u64>>);
        let cases: [Case; 9] = [
            ("several parts", 0, WIDE, 0..300, vec![100..200, 300..400, 1000..1100]),
            ("so many at most", 0, Policy { max_parts: 2, ..WIDE }, 0..200, vec![100..200, 300..400]),
            ("one", 0, one, 0..100, vec![100..200]),
            ("from within a piece", 130, one, 130..200, vec![330..400]),
            ("small gaps read through", 0, Policy { join_gap: 100, ..one }, 0..200, vec![100..400]),
            ("and joined in parts", 0, Policy { join_gap: 100, ..WIDE }, 0..300, vec![100..400, 1000..1100]),
            ("so many bytes", 0, Policy { max_bytes: 150, ..WIDE }, 0..150, vec![100..200, 300..350]),
            (
                "what is thrown away counts",
                0,
                Policy { join_gap: 700, max_wire_bytes: 250, ..one },
                0..150,
                vec![100..350],
            ),
            ("at least a byte", 0, Policy { max_bytes: 0, max_wire_bytes: 0, ..one }, 0..1, vec![100..101]),
        ];
        for (name, from, policy, places, ranges) in cases {
            assert_eq!(batch(&chunks, from, policy), (places, ranges), "{name}");
        }
    }

    #[test]
    fn a_step_back_in_the_file_is_another_range() {
        let (places, ranges) = batch(&[300..400, 100..200], 0, Policy { join_gap: 1000, ..WIDE });
        assert_eq!((places, ranges), (0..200, vec![300..400, 100..200]));
    }

    #[test]
    fn what_is_thrown_away_is_not_wanted() {
        let plan = Plan::of(vec![2..4, 6..9], 100).expect("a plan");
        let batch = Batch::first(&plan, 0..plan.len(), &Policy { join_gap: 10, ..WIDE });
        assert_eq!(batch.ranges, [2..9]);
        let wanted = |offset, bytes: &'static str| -> Vec<(u64, Bytes)> {
            batch.wanted(offset, &Bytes::from_static(bytes.as_bytes())).collect()
        };
        assert_eq!(wanted(0, "0123456"), [(2, Bytes::from_static(b"23")), (6, Bytes::from_static(b"6"))]);
        assert_eq!(wanted(7, "789"), [(7, Bytes::from_static(b"78"))]);
        assert_eq!(wanted(4, "45"), []);
    }

    #[test]
    fn neighbours_are_one_range() {
        let (_, ranges) = batch(&[100..200, 200..300], 0, WIDE);
        assert_eq!(ranges, [100..300]);
        let plan = Plan::of(vec![100..200, 500..600], 1000).expect("a plan");
        let batch = Batch::first(&plan, 0..200, &WIDE);
        assert_eq!(batch.header(), "bytes=100-199,500-599");
        assert_eq!((batch.span(), batch.wire_bytes(), batch.is_multi()), (100..600, 200, true));
    }
}
