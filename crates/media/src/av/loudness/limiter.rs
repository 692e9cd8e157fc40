//! Takes the tops off true peaks that would pass the ceiling; all else stays as it is.

use std::rc::Rc;

use super::super::ffi::{AvError, Frame, Shape};
use super::curve::Curve;
use super::draw::Drawing;
use super::meter::STRETCH;
use super::planes::{planes, planes_mut};

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
    drawing: Drawing,
    curve: Curve,
    /// So many samples are kept from before the two stretches, to draw with.
    context: usize,
    /// Each channel, with the gain: context, the stretch that comes out next, and the one that comes in.
    waiting: Vec<Vec<f32>>,
    /// What each sample of the two stretches may be multiplied by at most.
    needs: Vec<f32>,
    /// Stretches that are complete.
    stretches: usize,
}

impl Limiter {
    /// `gain` and `ceiling` are factors; `peaks` is what a meter found in the same sound without the gain.
    pub(in super::super) fn new(
        shape: &Shape,
        gain: f32,
        ceiling: f32,
        peaks: Rc<[f32]>,
    ) -> Result<Self, AvError> {
        let drawing = Drawing::new(shape.rate, &shape.layout)?;
        let context = drawing.context();
        Ok(Self {
            gain,
            ceiling,
            peaks,
            shape: shape.clone(),
            drawing,
            curve: Curve::new(shape.rate, STRETCH / 2),
            context,
            waiting: vec![vec![0.0; context + STRETCH]; usize::from(shape.layout.channels())],
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
        self.draw(None)?;
        self.give(STRETCH, sink)?;
        self.stretches += 1;
        self.give(rest, sink)?;
        Ok(self.curve.lowest())
    }

    /// Samples of the stretch that comes in.
    fn come(&self) -> usize {
        self.waiting.first().map_or(0, Vec::len) - self.context - STRETCH
    }

    /// Draws the wave of the stretch that came in, if it has a peak or follows one that has.
    fn look(&mut self) -> Result<(), AvError> {
        self.needs.resize(STRETCH + self.come(), 1.0);
        let has_peak = |stretch: usize| {
            self.peaks.get(stretch).is_none_or(|peak| peak * self.gain > self.ceiling * NEARLY)
        };
        if !has_peak(self.stretches) && !self.stretches.checked_sub(1).is_some_and(has_peak) {
            self.drawing.leave_out();
            return Ok(());
        }
        let come_from = self.context + STRETCH;
        for plane in &self.waiting {
            for (sample, need) in plane[come_from..].iter().zip(&mut self.needs[STRETCH..]) {
                lower(need, *sample, self.ceiling);
            }
        }
        self.draw(Some(come_from))
    }

    /// Draws what is waiting from this place on, or what is left, and notes what its peaks need.
    fn draw(&mut self, from: Option<usize>) -> Result<(), AvError> {
        let start = self.stretches as u64 * STRETCH as u64;
        let grid = self.drawing.grid();
        let points = match from {
            Some(from) => self.drawing.draw(&self.waiting, from, start)?,
            None => self.drawing.finish()?,
        };
        // The needs begin with the stretch before this one; before the first there is none.
        let first = start as i64 - STRETCH as i64;
        for plane in points.planes {
            for (point, value) in (points.first..).zip(plane) {
                if value.abs() <= self.ceiling {
                    continue;
                }
                // Both samples around the point make it.
                let at = usize::try_from(grid.sample_before(point) as i64 - first).unwrap_or(0);
                for need in self.needs.iter_mut().skip(at).take(2) {
                    lower(need, *value, self.ceiling);
                }
            }
        }
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
                out.copy_from_slice(&plane[self.context..self.context + count]);
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

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::super::ffi::Layout;
    use super::super::meter::Meter;
    use super::super::peaks::PeakMeter;
    use super::super::planes::scaled;
    use super::*;

    /// The tone has as many points in a period.
    const POINTS: f64 = 10.0;

    /// One frame, in which a tone near the end of what can be heard begins after so many stretches. The meter's points
    /// fall on its very peaks, others do not.
    fn late_tone(shape: &Shape, stretches: usize) -> Frame {
        let mut frame = Frame::with_room(shape, (stretches as i32 + 3) * STRETCH as i32).expect("a frame");
        let points_a_sample = 192_000.0 / f64::from(shape.rate);
        for plane in planes_mut(&mut frame).expect("planes") {
            for (at, sample) in plane.iter_mut().enumerate() {
                let tone = (TAU * at as f64 * points_a_sample / POINTS).cos() as f32;
                *sample = if at < stretches * STRETCH + 100 { 0.0 } else { tone };
            }
        }
        frame
    }

    fn peaks(shape: &Shape, frames: &[Frame]) -> Vec<f32> {
        let mut meter = PeakMeter::new(shape.rate, &shape.layout).expect("a meter");
        for frame in frames {
            meter.push(frame).expect("samples");
        }
        meter.finish().expect("peaks")
    }

    #[test]
    fn it_sees_the_meters_points_wherever_it_begins_to_look() {
        // At 44,056 Hz a point falls on every 5507th sample alone.
        for rate in [48_000, 44_100, 44_056] {
            let shape = Meter::takes(rate, &Layout::usual(1));
            for stretches in 0..12 {
                let frame = late_tone(&shape, stretches);
                let before = peaks(&shape, std::slice::from_ref(&frame)).into();
                let mut limiter = Limiter::new(&shape, 1.0, 0.8, before).expect("a limiter");
                let mut made = Vec::new();
                let mut keep = |frame: &Frame| {
                    made.push(scaled(frame, 1.0)?);
                    Ok(())
                };
                limiter.push(&frame, &mut keep).expect("samples");
                limiter.finish(&mut keep).expect("the rest");
                let highest = peaks(&shape, &made).into_iter().fold(0.0, f32::max);
                assert!(highest <= 0.8 * 1.001, "{rate} Hz after {stretches} stretches: {highest}");
            }
        }
    }
}
