//! Chapters, cut to the part of the sound that was asked for.

/// A named place in the result.
#[derive(Debug, PartialEq)]
pub(super) struct Chapter {
    /// Milliseconds from the start of the result: what all formats count.
    pub(super) start_millis: u64,
    /// The same; `None` where nothing says when the last one ends.
    pub(super) end_millis: Option<u64>,
    /// May be empty.
    pub(super) title: String,
}

/// A chapter of the source, in seconds of its clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    pub(super) start_secs: f64,
    /// Some containers say only where a chapter begins.
    pub(super) end_secs: Option<f64>,
    /// Its place in the source's list.
    pub(super) index: usize,
}

/// Which part of the source's clock the result has, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) from_secs: f64,
    pub(super) to_secs: Option<f64>,
}

/// Those of the part, in order, counted from its start. One that reaches into it begins or ends where it does.
pub(super) fn within(mut marks: Vec<Mark>, cut: Cut) -> Vec<Mark> {
    marks.retain(|mark| mark.start_secs.is_finite());
    marks.sort_by(|one, other| one.start_secs.total_cmp(&other.start_secs));
    let next_starts = marks.iter().skip(1).map(|next| Some(next.start_secs)).chain([cut.to_secs]);
    let next_starts: Vec<_> = next_starts.collect();
    let cut_to_part = |(mark, next_start): (Mark, Option<f64>)| {
        let end = mark.end_secs.filter(|end| *end > mark.start_secs).or(next_start);
        let end = match (end, cut.to_secs) {
            (Some(end), Some(to)) => Some(end.min(to)),
            (end, to) => end.or(to),
        };
        let is_before = end.is_some_and(|end| end <= cut.from_secs);
        let is_after = cut.to_secs.is_some_and(|to| mark.start_secs >= to);
        (!is_before && !is_after).then(|| Mark {
            start_secs: (mark.start_secs - cut.from_secs).max(0.0),
            end_secs: end.map(|end| end - cut.from_secs),
            index: mark.index,
        })
    };
    marks.into_iter().zip(next_starts).filter_map(cut_to_part).collect()
}

/// To the nearest.
pub(super) fn millis(secs: f64) -> u64 {
    (secs * 1000.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(
        marks: &[(f64, Option<f64>)],
        from_secs: f64,
        to_secs: Option<f64>,
    ) -> Vec<(usize, f64, Option<f64>)> {
        let marks = marks.iter().enumerate();
        let marks = marks.map(|(index, (start_secs, end_secs))| Mark {
            start_secs: *start_secs,
            end_secs: *end_secs,
            index,
        });
        let cut = within(marks.collect(), Cut { from_secs, to_secs });
        cut.into_iter().map(|mark| (mark.index, mark.start_secs, mark.end_secs)).collect()
    }

    #[test]
    fn chapters_are_cut_and_moved_with_the_part() {
        let three = [(0.0, Some(2.0)), (2.0, Some(4.0)), (4.0, Some(6.0))];
        assert_eq!(
            cut(&three, 0.0, Some(6.0)),
            [(0, 0.0, Some(2.0)), (1, 2.0, Some(4.0)), (2, 4.0, Some(6.0))]
        );
        assert_eq!(cut(&three, 1.0, Some(4.0)), [(0, 0.0, Some(1.0)), (1, 1.0, Some(3.0))]);
        assert_eq!(cut(&three, 2.0, None), [(1, 0.0, Some(2.0)), (2, 2.0, Some(4.0))]);
        assert_eq!(cut(&three, 9.0, None), []);
    }

    #[test]
    fn an_end_that_is_not_said_is_the_next_start() {
        let open = [(4.0, None), (0.0, Some(0.0)), (f64::NAN, None)];
        assert_eq!(cut(&open, 0.0, None), [(1, 0.0, Some(4.0)), (0, 4.0, None)]);
        assert_eq!(cut(&open, 5.0, Some(6.0)), [(0, 0.0, Some(1.0))]);
        assert_eq!(cut(&open, -1.0, Some(6.0)), [(1, 1.0, Some(5.0)), (0, 5.0, Some(7.0))]);
    }
}
