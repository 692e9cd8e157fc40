//! How high the true peaks are (ITU-R BS.1770-4, annex 2), stretch by stretch.

use super::super::ffi::{AvError, Frame, Layout, Shape};
use super::draw::Drawing;
use super::meter::{Meter, STRETCH};
use super::oversample::REACH;
use super::planes::{bend, peak, planes};

/// How far the wave may pass the samples on both sides of it, as a share of their highest bend. Between two samples,
/// less the straight line between them, the filter (sinc in a Kaiser window with beta 9) is a sum of second differences;
/// this is the most that the absolute values of its weights sum up to. With the next: measured in a test.
const BEND_SHARE: f32 = 0.43;
/// What the filter's window leaves of a straight line's slope, and rounding, as a share of the highest sample.
const SLACK: f32 = 1.001;
/// Where points fall on samples less often, beginning anew costs as much as drawing on.
const MOST_PERIOD: u64 = STRETCH as u64 / 4;

/// The peaks alone.
pub(in super::super) struct PeakMeter {
    drawing: Drawing,
    may_leave_out: bool,
    shape: Shape,
    /// So many samples are kept from before the stretch, to draw with.
    context: usize,
    /// Each channel: context, and the stretch that comes in.
    waiting: Vec<Vec<f32>>,
    stretches: Vec<f32>,
    highest: f32,
}

impl PeakMeter {
    pub(in super::super) fn new(rate: u32, layout: &Layout) -> Result<Self, AvError> {
        let shape = Meter::takes(rate, layout);
        let drawing = Drawing::new(rate, layout)?;
        let context = drawing.context();
        Ok(Self {
            may_leave_out: drawing.grid().period() <= MOST_PERIOD,
            drawing,
            waiting: vec![vec![0.0; context]; usize::from(shape.layout.channels())],
            shape,
            context,
            stretches: Vec::new(),
            highest: 0.0,
        })
    }

    /// What samples it takes.
    pub(in super::super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Looks at samples of its shape.
    pub(in super::super) fn push(&mut self, frame: &Frame) -> Result<(), AvError> {
        let given = planes(frame)?;
        let (mut from, whole) = (0, frame.samples() as usize);
        while from < whole {
            let come = self.waiting.first().map_or(0, Vec::len) - self.context;
            let upto = whole.min(from + STRETCH - come);
            for (waiting, plane) in self.waiting.iter_mut().zip(&given) {
                waiting.extend_from_slice(&plane[from..upto]);
            }
            if come + upto - from == STRETCH {
                self.look(self.may_leave_out)?;
                self.waiting.iter_mut().for_each(|plane| drop(plane.drain(..STRETCH)));
            }
            from = upto;
        }
        Ok(())
    }

    /// Looks at the stretch that came in, and draws its wave, but where that can be left out as no higher than the
    /// highest peak so far.
    fn look(&mut self, may_leave_out: bool) -> Result<(), AvError> {
        // What is drawn with these samples' help lies up to a filter's reach before them, and the filter reaches as far
        // again; a bend has a sample on either side.
        let around = self.context - 2 * REACH - 1;
        let of_all = |measure: fn(&[f32]) -> f32, from: usize| {
            self.waiting.iter().map(|plane| measure(&plane[from..])).fold(0.0, f32::max)
        };
        let most = of_all(peak, around) * SLACK + of_all(bend, around) * BEND_SHARE;
        if may_leave_out && most <= self.highest {
            self.drawing.leave_out();
            self.stretches.push(most);
            return Ok(());
        }
        let samples = of_all(peak, self.context);
        let start = self.stretches.len() as u64 * STRETCH as u64;
        let drawn = self.drawing.draw(&self.waiting, self.context, start)?;
        let highest = drawn.planes.into_iter().map(peak).fold(samples, f32::max);
        self.highest = self.highest.max(highest);
        self.stretches.push(highest);
        Ok(())
    }

    /// The true peak of each stretch, a factor of full scale; or what it is not above, where another is as high. What is
    /// drawn with a sample's help counts where the sample is, so that a peak may count up to [`REACH`] samples later than
    /// it is.
    pub(in super::super) fn finish(mut self) -> Result<Vec<f32>, AvError> {
        // The end is drawn in any case: there the filter reaches over what is not there.
        self.look(false)?;
        let rest = self.drawing.finish()?.planes.into_iter().map(peak).fold(0.0, f32::max);
        if let Some(last) = self.stretches.last_mut() {
            *last = last.max(rest);
        }
        Ok(self.stretches)
    }
}

#[cfg(test)]
mod tests {
    use super::super::oversample::Oversampler;
    use super::super::planes::planes_mut;
    use super::*;

    /// A number from -1 to 1 that looks like chance.
    fn noise(at: usize) -> f32 {
        let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn heard(rate: u32, samples: &[f32]) -> Vec<f32> {
        let mut meter = PeakMeter::new(rate, &Layout::usual(1)).expect("a meter");
        // In pieces that do not fit the stretches.
        for piece in samples.chunks(1000) {
            let mut frame = Frame::with_room(meter.shape(), piece.len() as i32).expect("a frame");
            planes_mut(&mut frame).expect("planes")[0].copy_from_slice(piece);
            meter.push(&frame).expect("samples");
        }
        meter.finish().expect("peaks")
    }

    fn drawn(rate: u32, samples: &[f32]) -> Vec<f32> {
        let mut oversampler = Oversampler::new(rate, &Layout::usual(1)).expect("an oversampler");
        let mut points =
            planes(oversampler.draw(Some(&[samples])).expect("points")).expect("planes")[0].to_vec();
        points.extend_from_slice(planes(oversampler.draw(None).expect("the rest")).expect("planes")[0]);
        points
    }

    #[test]
    fn the_highest_peak_is_what_drawing_all_of_the_wave_finds() {
        for rate in [8000, 44_100, 44_056, 48_000, 96_000] {
            for kind in 0..6 {
                let sound = |at: usize| {
                    // A swell, so that stretches are left out and drawn by turns, with its top inside.
                    let swell = (at as f32 / 9000.0).sin() * (at as f32 / 50_000.0).sin();
                    match kind {
                        0 => noise(at) * swell,
                        // Tones, up to near half the rate.
                        1..5 => (at as f32 * [0.02, 0.5, 1.57, 2.9][kind - 1]).sin() * swell,
                        _ => {
                            if noise(at) > 0.9995 {
                                noise(at + 1)
                            } else {
                                0.0
                            }
                        }
                    }
                };
                let samples: Vec<f32> = (0..150_000).map(sound).collect();
                let all =
                    drawn(rate, &samples).iter().chain(&samples).fold(0.0_f32, |most, at| most.max(at.abs()));
                let found = heard(rate, &samples).into_iter().fold(0.0, f32::max);
                assert!((found / all - 1.0).abs() < 1e-5, "{rate} Hz, sound {kind}: {found} for {all}");
            }
        }
    }

    #[test]
    fn stretches_that_cannot_matter_are_not_drawn_and_say_no_less_than_their_peak() {
        let swell = |at: usize| 0.9 - 0.7 * at as f32 / (20 * STRETCH) as f32;
        let samples: Vec<f32> = (0..20 * STRETCH).map(|at| (at as f32 * 0.1).sin() * swell(at)).collect();
        let found = heard(48_000, &samples);
        // Drawn is the first alone. Of the others is said what may be there at most, which is more than what is.
        for (stretch, found) in found.iter().enumerate().take(20).skip(1) {
            let most = swell(stretch * STRETCH);
            assert!((most * 1.002..most * 1.01).contains(found), "{stretch}: {found} for {most}");
        }
    }

    #[test]
    fn no_wave_passes_its_samples_by_more_than_the_share_of_their_bend() {
        for rate in [8000, 11_025, 22_050, 44_100, 48_000, 88_200, 96_000] {
            for (place, mut rest) in filter(rate) {
                // Less the straight line from the sample before to the one after, and what is left of a slope.
                rest[REACH - 1] -= 1.0 - place;
                rest[REACH] -= place;
                let slope: f64 = rest.iter().zip(0..).map(|(tap, at)| tap * f64::from(at)).sum();
                rest[REACH] -= slope;
                rest[REACH - 1] += slope;
                let share: f64 = sums(&sums(&rest)).iter().map(|weight| weight.abs()).sum();
                assert!(share < f64::from(BEND_SHARE), "{rate} Hz at {place}: {share}");
                assert!(2.0 * slope.abs() < f64::from(SLACK) - 1.0, "{rate} Hz at {place}: {slope}");
            }
        }
    }

    /// Of the values up to each.
    fn sums(values: &[f64]) -> Vec<f64> {
        let add = |sum: &mut f64, value: &f64| {
            *sum += value;
            Some(*sum)
        };
        values.iter().scan(0.0, add).collect()
    }

    /// libswresample's own: where between two samples each point of a period is, and how the samples around it weigh
    /// there, by what it answers to impulses.
    fn filter(rate: u32) -> Vec<(f64, Vec<f64>)> {
        let grid = Drawing::new(rate, &Layout::usual(1)).expect("a drawing").grid();
        let (period, reach) = (grid.period(), REACH as u64);
        // Away from the start, where it mirrors.
        let begin = (4 * reach).div_ceil(period) * period;
        let points = grid.points_before(begin)..grid.points_before(begin + period);
        let place = |point| (point * period) as f64 / (points.end - points.start) as f64;
        let none_yet = |point| (place(point).fract(), vec![0.0; 2 * REACH]);
        let mut filter: Vec<_> = points.clone().map(none_yet).collect();
        for impulse in begin - reach..begin + period + reach {
            let mut samples = vec![0.0; (begin + period + 4 * reach) as usize];
            samples[impulse as usize] = 1.0;
            let answer = drawn(rate, &samples);
            for (point, (_, taps)) in points.clone().zip(&mut filter) {
                let tap = (impulse + reach - 1).checked_sub(grid.sample_before(point));
                if let Some(tap) = tap.and_then(|tap| taps.get_mut(tap as usize)) {
                    *tap = f64::from(answer[point as usize]);
                }
            }
        }
        filter
    }
}
