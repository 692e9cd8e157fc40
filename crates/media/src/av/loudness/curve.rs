//! The limiter's gain from sample to sample: low enough wherever it must be, and never in a hurry.

use std::collections::VecDeque;

/// Seconds in which the gain goes down before a peak. Within the ear's backward masking (up to 20 ms; Fastl and Zwicker,
/// Psychoacoustics, 4.3), and as libav's loudnorm has it. It also bridges the half waves of any tone from 50 Hz on, so
/// that the gain does not follow them.
const LOOK_AHEAD_SECS: f64 = 0.010;
/// Decibels a second at which it comes back: the 3 dB that are taken off at most in 100 ms, as in loudnorm, within
/// forward masking (up to 200 ms; there, 4.4).
const RELEASE_DB_PER_SEC: f64 = 30.0;

/// Turns the gain that each sample needs at most into one that can be applied.
///
/// The least need of the coming look-ahead, let go slowly, then averaged over the look-ahead that has passed. Each value
/// of that average looked as far as the sample in question, so none is higher than its need, nor is their mean.
pub(super) struct Curve {
    look_ahead: usize,
    /// The factor by which the gain may rise from one sample to the next.
    rise: f32,
    envelope: f32,
    /// The envelope over the look-ahead that has passed, oldest first, and its sum.
    passed: VecDeque<f32>,
    sum: f64,
    /// How many at the end of `passed` are 1.
    resting: usize,
    is_begun: bool,
    lowest: f32,
}

impl Curve {
    /// At rest; `rate` in Hz. Looks ahead at most `most` samples.
    pub(super) fn new(rate: u32, most: usize) -> Self {
        let look_ahead = ((f64::from(rate) * LOOK_AHEAD_SECS).round() as usize).clamp(1, most);
        Self {
            look_ahead,
            rise: 10f64.powf(RELEASE_DB_PER_SEC / 20.0 / f64::from(rate)) as f32,
            envelope: 1.0,
            passed: VecDeque::from(vec![1.0; look_ahead + 1]),
            sum: (look_ahead + 1) as f64,
            resting: look_ahead + 1,
            is_begun: false,
            lowest: 1.0,
        }
    }

    /// The lowest gain so far.
    pub(super) fn lowest(&self) -> f32 {
        self.lowest
    }

    /// The gains of the next `count` samples; `None` if all are 1. `needs` are theirs and the look-ahead's; past the
    /// end nothing is needed.
    pub(super) fn next(&mut self, needs: &[f32], count: usize) -> Option<Vec<f32>> {
        let known = needs.len().min(count + self.look_ahead);
        if self.resting > self.look_ahead && needs[..known].iter().all(|need| *need >= 1.0) {
            self.is_begun |= count > 0;
            return None;
        }
        // The gain of the first samples goes down before them, where nothing is heard.
        let before = if self.is_begun { 0 } else { self.look_ahead };
        self.is_begun = true;
        let mut gains = Vec::with_capacity(count);
        let mut least = Least::default();
        let mut coming = needs[..known].iter();
        for at in 0..before + count + self.look_ahead {
            let need = if at < before { 1.0 } else { coming.next().copied().unwrap_or(1.0) };
            least.push(at, need);
            if let Some(now) = at.checked_sub(self.look_ahead) {
                let gain = self.step(least.since(now));
                if now >= before {
                    gains.push(gain);
                }
            }
        }
        Some(gains)
    }

    /// One sample further.
    fn step(&mut self, least: f32) -> f32 {
        self.envelope = (self.envelope * self.rise).min(least);
        self.resting = if self.envelope >= 1.0 { self.resting + 1 } else { 0 };
        self.passed.push_back(self.envelope);
        self.sum += f64::from(self.envelope) - f64::from(self.passed.pop_front().unwrap_or(1.0));
        if self.resting > self.look_ahead {
            // What rounding has added up ends here.
            self.sum = self.passed.len() as f64;
        }
        let gain = (self.sum / self.passed.len() as f64) as f32;
        self.lowest = self.lowest.min(gain);
        gain
    }
}

/// The least of the latest values.
#[derive(Default)]
struct Least(VecDeque<(usize, f32)>);

impl Least {
    fn push(&mut self, at: usize, value: f32) {
        while self.0.back().is_some_and(|(_, higher)| *higher >= value) {
            self.0.pop_back();
        }
        self.0.push_back((at, value));
    }

    /// Of those from there on.
    fn since(&mut self, at: usize) -> f32 {
        while self.0.front().is_some_and(|(old, _)| *old < at) {
            self.0.pop_front();
        }
        self.0.front().map_or(1.0, |(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 8000;

    /// All gains, from needs that come in pieces.
    fn gains(needs: &[f32], piece: usize) -> Vec<f32> {
        let mut curve = Curve::new(RATE, 1000);
        let mut all = Vec::new();
        for from in (0..needs.len()).step_by(piece) {
            let count = piece.min(needs.len() - from);
            let known = needs.len().min(from + count + curve.look_ahead);
            all.extend(curve.next(&needs[from..known], count).unwrap_or_else(|| vec![1.0; count]));
        }
        all
    }

    /// Single peaks, one at either end, a dense stretch, and rest between.
    fn needs() -> Vec<f32> {
        let mut needs = vec![1.0_f32; 9000];
        for (at, need) in [(0, 0.75), (1500, 0.71), (1530, 0.9), (8999, 0.8)] {
            needs[at] = need;
        }
        for (at, need) in needs[4000..5000].iter_mut().enumerate() {
            *need = 0.72 + 0.28 * ((at * 7919) % 101) as f32 / 100.0;
        }
        needs
    }

    #[test]
    fn no_gain_is_above_its_need_nor_falls_faster_than_the_look_ahead() {
        let needs = needs();
        let gains = gains(&needs, 4096);
        assert_eq!(gains.len(), needs.len());
        let look_ahead = f64::from(RATE) * LOOK_AHEAD_SECS;
        for (at, (gain, need)) in gains.iter().zip(&needs).enumerate() {
            assert!(*gain <= need + 1e-6, "sample {at}: {gain} for {need}");
            let fall = at.checked_sub(1).map_or(0.0, |before| f64::from(gains[before] - gain));
            assert!(fall <= 0.3 / look_ahead, "sample {at} falls by {fall}");
        }
    }

    #[test]
    fn it_rests_before_a_peak_is_in_sight_and_after_the_release() {
        let gains = gains(&needs(), 4096);
        assert_eq!(gains[1500 - 81], 1.0, "a sample before the look-ahead");
        assert!((gains[1500] - 0.71).abs() < 0.01, "no more than needed: {}", gains[1500]);
        assert!(gains[1500 + 240] < 1.0, "the release takes about 100 ms");
        assert_eq!(gains[3000], 1.0, "at rest again");
    }

    #[test]
    fn it_does_not_matter_in_what_pieces_the_needs_come() {
        let needs = needs();
        let whole = gains(&needs, needs.len());
        for piece in [100, 1000, 4096] {
            let pieces = gains(&needs, piece);
            assert!(whole.iter().zip(&pieces).all(|(one, other)| (one - other).abs() < 1e-6), "{piece}");
        }
    }
}
