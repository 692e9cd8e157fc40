//! Draws the wave of some stretches and leaves others out, with the points where drawing all would have them.

use super::super::ffi::{AvError, Layout};
use super::oversample::{Grid, Oversampler, REACH};
use super::planes::planes;

/// So many samples at least before a stretch are drawn with it where the one before was left out, half of them to fill
/// the filter.
const CONTEXT: usize = 4 * REACH;

/// An oversampler that can leave samples out.
pub(super) struct Drawing {
    oversampler: Oversampler,
    /// Before this sample points were drawn with too little context; `None` where the last samples were left out.
    usable_from: Option<u64>,
    /// The point that comes next, counted from the start of all, as samples are.
    next_point: u64,
}

/// Some of the wave.
pub(super) struct Points<'a> {
    /// The number of the first, counted from the start of all.
    pub(super) first: u64,
    /// The points of each channel.
    pub(super) planes: Vec<&'a [f32]>,
}

impl Drawing {
    /// Of planar float at `rate` Hz.
    pub(super) fn new(rate: u32, layout: &Layout) -> Result<Self, AvError> {
        Ok(Self { oversampler: Oversampler::new(rate, layout)?, usable_from: None, next_point: 0 })
    }

    /// So many samples from before a stretch have to be kept: enough to begin among them where there is a point.
    pub(super) fn context(&self) -> usize {
        CONTEXT + usize::try_from(self.oversampler.grid().period()).unwrap_or(usize::MAX / 2)
    }

    /// Where its points are.
    pub(super) fn grid(&self) -> Grid {
        self.oversampler.grid()
    }

    /// The next samples are left out.
    pub(super) fn leave_out(&mut self) {
        self.usable_from = None;
    }

    /// The points that can be drawn with the samples of each channel from `at` on, the first of which is number `start`
    /// of all. What comes before `at` is drawn first where it was left out.
    pub(super) fn draw(
        &mut self,
        channels: &[Vec<f32>],
        at: usize,
        start: u64,
    ) -> Result<Points<'_>, AvError> {
        let (mut from, grid) = (at, self.oversampler.grid());
        if self.usable_from.is_none() {
            self.oversampler.restart()?;
            let begin = start.saturating_sub(CONTEXT as u64) / grid.period() * grid.period();
            from -= (start - begin) as usize;
            self.next_point = grid.points_before(begin);
            self.usable_from = Some(start.saturating_sub(CONTEXT as u64 / 2));
        }
        let given: Vec<&[f32]> = channels.iter().map(|channel| &channel[from..]).collect();
        self.points(Some(&given))
    }

    /// The points that are left; none where the last samples were left out.
    pub(super) fn finish(&mut self) -> Result<Points<'_>, AvError> {
        match self.usable_from {
            Some(_) => self.points(None),
            None => Ok(Points { first: self.next_point, planes: Vec::new() }),
        }
    }

    fn points(&mut self, given: Option<&[&[f32]]>) -> Result<Points<'_>, AvError> {
        let usable_from = self.oversampler.grid().points_before(self.usable_from.unwrap_or(0));
        let made = planes(self.oversampler.draw(given)?)?;
        let count = made.first().map_or(0, |plane| plane.len());
        let unusable = usable_from.saturating_sub(self.next_point).min(count as u64);
        let first = self.next_point + unusable;
        self.next_point += count as u64;
        Ok(Points { first, planes: made.into_iter().map(|plane| &plane[unusable as usize..]).collect() })
    }
}
