//! Takes the tops off true peaks that would pass the ceiling; all else stays as it is.

use std::rc::Rc;

use super::super::ffi::{AvError, Frame, Shape};
use super::curve::Curve;
use super::meter::STRETCH;
use super::oversample::{Oversampler, REACH};
use super::planes::{planes, planes_mut};

/// So many samples before a stretch are drawn with it, half of them to fill the filter.
const CONTEXT: usize = 4 * REACH;
/// A stretch is looked at where a measurement that is less exact by this says so: two passes round differently.
const NEARLY: f32 = 0.999;

/// A gain for every sample, and a lower one where a true peak would pass the ceiling. Works stretch by stretch, one
/// behind, and gives out exactly as many samples as it takes.
pub(in super::super) struct Limiter {
    gain: f32,
    ceiling: f32,
    /// Of each stretch, before the gain.
    peaks: Rc<[f32]>,
    shape: Shape,
    oversampler: Oversampler,
    drawn: Option<Drawn>,
    curve: Curve,
    /// Each channel, with the gain: context, the stretch that comes out next, and the one that comes in.
    waiting: Vec<Vec<f32>>,
    /// What each sample of the two stretches may be multiplied by at most.
    needs: Vec<f32>,
    /// Stretches that are complete.
    stretches: usize,
}

/// What the oversampler has been given.
struct Drawn {
    /// The first sample, counted from the start of all.
    from: u64,
    /// Points before this sample were drawn with too little context.
    usable_from: u64,
    points: u64,
}

impl Limiter {
    /// `gain` and `ceiling` are factors; `peaks` is what a meter found in the same sound without the gain.
    pub(in super::super) fn new(
        shape: &Shape,
        gain: f32,
        ceiling: f32,
        peaks: Rc<[f32]>,
    ) -> Result<Self, AvError> {
        Ok(Self {
            gain,
            ceiling,
            peaks,
            shape: shape.clone(),
            oversampler: Oversampler::new(shape.rate, &shape.layout)?,
            drawn: None,
            curve: Curve::new(shape.rate, STRETCH / 2),
            waiting: vec![vec![0.0; CONTEXT + STRETCH]; usize::from(shape.layout.channels())],
            needs: vec![1.0; STRETCH],
            stretches: 0,
        })
    }

    /// Takes samples.
    pub(in super::super) fn push(
        &mut self,
        frame: &Frame,
        sink: &mut dyn FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        let given = planes(frame)?;
        let (mut from, whole) = (0, frame.samples() as usize);
        while from < whole {
            let upto = whole.min(from + STRETCH - self.come());
            for (waiting, plane) in self.waiting.iter_mut().zip(&given) {
                waiting.extend(plane[from..upto].iter().map(|sample| sample * self.gain));
            }
            from = upto;
            if self.come() == STRETCH {
                self.look()?;
                self.give(STRETCH, sink)?;
                self.stretches += 1;
            }
        }
        Ok(())
    }

    /// Gives out what it held back, and says the lowest factor that it took a peak down by.
    pub(in super::super) fn finish(
        mut self,
        sink: &mut dyn FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<f32, AvError> {
        let rest = self.come();
        self.look()?;
        if self.drawn.is_some() {
            self.draw(None)?;
        }
        self.give(STRETCH, sink)?;
        self.stretches += 1;
        self.give(rest, sink)?;
        Ok(self.curve.lowest())
    }

    /// Samples of the stretch that comes in.
    fn come(&self) -> usize {
        self.waiting.first().map_or(0, Vec::len) - CONTEXT - STRETCH
    }

    /// Draws the wave of the stretch that came in, if it has a peak or follows one that has.
    fn look(&mut self) -> Result<(), AvError> {
        self.needs.resize(STRETCH + self.come(), 1.0);
        let has_peak = |stretch: usize| {
            self.peaks.get(stretch).is_none_or(|peak| peak * self.gain > self.ceiling * NEARLY)
        };
        if !has_peak(self.stretches) && !self.stretches.checked_sub(1).is_some_and(has_peak) {
            self.drawn = None;
            return Ok(());
        }
        let mut from = CONTEXT + STRETCH;
        if self.drawn.is_none() {
            self.oversampler.restart()?;
            let start = (self.stretches * STRETCH) as u64;
            let context = if self.stretches > 0 { CONTEXT } else { 0 };
            from -= context;
            let usable_from = start - (context / 2) as u64;
            self.drawn = Some(Drawn { from: start - context as u64, usable_from, points: 0 });
        }
        for plane in &self.waiting {
            for (sample, need) in plane[CONTEXT + STRETCH..].iter().zip(&mut self.needs[STRETCH..]) {
                lower(need, *sample, self.ceiling);
            }
        }
        self.draw(Some(from))
    }

    /// Draws what is waiting from this place on, or what is left, and notes what its peaks need.
    fn draw(&mut self, from: Option<usize>) -> Result<(), AvError> {
        let Some(drawn) = &mut self.drawn else { return Ok(()) };
        let given: Option<Vec<&[f32]>> =
            from.map(|from| self.waiting.iter().map(|plane| &plane[from..]).collect());
        let grid = self.oversampler.grid();
        let points = self.oversampler.draw(given.as_deref())?;
        // The needs begin with the stretch before this one; before the first there is none.
        let first = (self.stretches as u64 * STRETCH as u64) as i64 - STRETCH as i64;
        for plane in planes(points)? {
            for (point, value) in (drawn.points..).zip(plane) {
                if value.abs() <= self.ceiling {
                    continue;
                }
                let before = drawn.from + grid.sample_before(point);
                if before < drawn.usable_from {
                    continue;
                }
                // Both samples around the point make it.
                let at = usize::try_from(before as i64 - first).unwrap_or(0);
                for need in self.needs.iter_mut().skip(at).take(2) {
                    lower(need, *value, self.ceiling);
                }
            }
        }
        drawn.points += u64::from(points.samples());
        Ok(())
    }

    /// Gives out the older stretch, of which so many samples are there.
    fn give(
        &mut self,
        count: usize,
        sink: &mut dyn FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        let is_none_yet = self.stretches == 0;
        if !is_none_yet && count > 0 {
            let gains = self.curve.next(&self.needs, count);
            let mut frame = Frame::with_room(&self.shape, i32::try_from(count).map_err(|_| AvError::STOP)?)?;
            for (out, plane) in planes_mut(&mut frame)?.into_iter().zip(&self.waiting) {
                out.copy_from_slice(&plane[CONTEXT..CONTEXT + count]);
                for (sample, gain) in out.iter_mut().zip(gains.iter().flatten()) {
                    *sample *= gain;
                }
            }
            sink(&frame)?;
        }
        self.needs.drain(..STRETCH.min(self.needs.len()));
        for plane in &mut self.waiting {
            plane.drain(..STRETCH.min(plane.len()));
        }
        Ok(())
    }
}

/// Lowers what a sample may be multiplied by, where the wave would pass the ceiling.
fn lower(need: &mut f32, value: f32, ceiling: f32) {
    if value.abs() > ceiling {
        *need = need.min(ceiling / value.abs());
    }
}
