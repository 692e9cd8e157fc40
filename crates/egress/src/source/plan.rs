//! Which bytes of a file will be read, laid end to end in order of reading.
//!
//! A place in that row is a *place*; where the byte lies in the file is its *offset*. Whatever is fetched, kept and
//! counted ahead of the reader is counted in places, so that a window is as large as the bytes in it, however far apart
//! they lie in the file.

use std::ops::Range;

/// Bytes that lie together in the file and in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where it begins in the plan.
    pub(crate) place: u64,
    /// Where it lies in the file.
    pub(crate) range: Range<u64>,
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The bytes that will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In order of reading, without overlaps.
    pieces: Vec<Piece>,
    /// The same by offset, as indexes, where that is another order.
    by_offset: Option<Vec<u32>>,
    len: u64,
}

impl Plan {
    /// A whole file, from its first byte to its last: place and offset are the same.
    pub(crate) fn whole(length: u64) -> Self {
        let pieces = if length == 0 { Vec::new() } else { vec![Piece { place: 0, range: 0..length }] };
        Self { pieces, by_offset: None, len: length }
    }

    /// These ranges of a file of `length` bytes; `None` where nothing of them lies within it. Where ranges overlap,
    /// their order is not to be believed, and they are taken by offset.
    pub(crate) fn of(ranges: Vec<Range<u64>>, length: u64) -> Option<Self> {
        let clipped = |range: Range<u64>| range.start..range.end.min(length);
        let mut ranges: Vec<Range<u64>> =
            ranges.into_iter().map(clipped).filter(|range| range.start < range.end).collect();
        let is_ascending = |ranges: &[Range<u64>]| ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
        let mut by_offset = None;
        if !is_ascending(&ranges) {
            let mut order: Vec<u32> = (0..u32::try_from(ranges.len()).ok()?).collect();
            order.sort_by_key(|index| ranges[*index as usize].start);
            let overlaps =
                order.windows(2).any(|pair| ranges[pair[0] as usize].end > ranges[pair[1] as usize].start);
            if overlaps {
                ranges = disjoint(ranges);
            } else {
                by_offset = Some(order);
            }
        }
        let mut len = 0;
        let pieces: Vec<Piece> = ranges
            .into_iter()
            .map(|range| {
                let place = len;
                len += range.end - range.start;
                Piece { place, range }
            })
            .collect();
        (len > 0).then_some(Self { pieces, by_offset, len })
    }

    /// All bytes of it.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Where the byte at `offset` of the file lies in the plan, and where the piece ends that it belongs to.
    pub(crate) fn place(&self, offset: u64) -> Option<Range<u64>> {
        let piece = match &self.by_offset {
            None => self.pieces[..self.pieces.partition_point(|piece| piece.range.start <= offset)].last(),
            Some(order) => {
                let after = order.partition_point(|index| self.pieces[*index as usize].range.start <= offset);
                order[..after].last().map(|index| &self.pieces[*index as usize])
            }
        };
        let piece = piece.filter(|piece| piece.range.contains(&offset))?;
        Some(piece.place + (offset - piece.range.start)..piece.place + piece.len())
    }

    /// What lies at these places, piece by piece.
    pub(crate) fn pieces(&self, places: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let first = self.pieces.partition_point(|piece| piece.place + piece.len() <= places.start);
        self.pieces[first..].iter().take_while(move |piece| piece.place < places.end).map(move |piece| {
            let skipped = places.start.saturating_sub(piece.place);
            let place = piece.place + skipped;
            let start = piece.range.start + skipped;
            Piece { place, range: start..start + (piece.len() - skipped).min(places.end - place) }
        })
    }

    /// What of the plan lies within this range of the file.
    pub(crate) fn overlapping(&self, range: Range<u64>) -> Vec<Piece> {
        let cut = |piece: &Piece| {
            let start = piece.range.start.max(range.start);
            let end = piece.range.end.min(range.end);
            (start < end)
                .then(|| Piece { place: piece.place + (start - piece.range.start), range: start..end })
        };
        let nth = |index: usize| match &self.by_offset {
            None => self.pieces.get(index),
            Some(order) => order.get(index).and_then(|index| self.pieces.get(*index as usize)),
        };
        let ends_before = |index: &usize| nth(*index).is_some_and(|piece| piece.range.end <= range.start);
        let (mut low, mut high) = (0, self.pieces.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if ends_before(&middle) { low = middle + 1 } else { high = middle }
        }
        (low..).map_while(nth).take_while(|piece| piece.range.start < range.end).filter_map(cut).collect()
    }
}

fn disjoint(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_of_the_file_is_left_out() {
        assert_eq!(Plan::of(vec![], 100), None);
        assert_eq!(Plan::of(vec![100..200, 7..7], 100), None);
        let plan = Plan::of(vec![90..200, 10..20], 100).expect("a plan");
        assert_eq!(plan.len(), 20);
        assert_eq!(plan.pieces(0..20).map(|piece| piece.range).collect::<Vec<_>>(), [90..100, 10..20]);
    }

    #[test]
    fn a_byte_is_found_in_whatever_order_it_is_read() {
        for (ranges, found) in [
            (vec![10..20, 30..50], [(9, None), (10, Some(0..10)), (19, Some(9..10)), (30, Some(10..30))]),
            (vec![30..50, 10..20], [(9, None), (10, Some(20..30)), (19, Some(29..30)), (30, Some(0..20))]),
            // Overlapping: by offset.
            (
                vec![30..50, 10..35, 10..12],
                [(9, None), (10, Some(0..40)), (19, Some(9..40)), (49, Some(39..40))],
            ),
        ] {
            let plan = Plan::of(ranges.clone(), 1000).expect("a plan");
            for (offset, place) in found {
                assert_eq!(plan.place(offset), place, "{ranges:?} {offset}");
            }
            assert_eq!(plan.place(50), None);
            assert_eq!(plan.place(u64::MAX), None);
        }
    }

    #[test]
    fn pieces_are_cut_where_the_places_end() {
        let plan = Plan::of(vec![30..50, 10..20], 1000).expect("a plan");
        let pieces = |places: Range<u64>| plan.pieces(places).collect::<Vec<_>>();
        assert_eq!(pieces(5..6), [Piece { place: 5, range: 35..36 }]);
        assert_eq!(pieces(18..25), [Piece { place: 18, range: 48..50 }, Piece { place: 20, range: 10..15 }]);
        assert_eq!(pieces(20..20), []);
        assert_eq!(pieces(30..99), []);
        assert_eq!(Plan::whole(10).pieces(0..99).collect::<Vec<_>>(), [Piece { place: 0, range: 0..10 }]);
        assert_eq!(Plan::whole(0).pieces(0..99).count(), 0);
    }
}
