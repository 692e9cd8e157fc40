//! How much louder it is to be: one gain, and how far peaks may reach into the ceiling for it.

use domain::{Loudness, LoudnessReport, MeasuredLoudness};

use super::meter::Heard;

/// The most that peaks are taken down by, dB. More would be heard, and there the gain stops.
const MOST_LIMITING_DB: f64 = 3.0;
/// True peaks are kept so far below their ceiling, dB. Rounding to 16 bits moves one by 1.5 steps at most (0.001 dB at
/// -9 dBTP), and a limiter's gain that falls by 3 dB in 10 ms while the wave is drawn through it by 0.02 dB at 48 kHz.
const MARGIN_DB: f64 = 0.05;
/// A target that is met to within this is reached, LU. Meters may differ by a tenth (EBU Tech 3341).
const NEAR_LU: f64 = 0.2;
/// So often the gain is corrected for what limiting took of the loudness. Each time most of the rest is gone.
const MOST_CORRECTIONS: u32 = 4;
/// So often the limiter's ceiling is lowered for peaks that came out above theirs. Then nothing is limited: that keeps
/// the ceiling for certain.
const MOST_LOWERINGS: u32 = 3;

/// What is done to the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Level {
    target: Loudness,
    before: MeasuredLoudness,
    gain_db: f64,
    /// What the limiter keeps to.
    ceiling_db: f64,
    corrections: u32,
    lowerings: u32,
}

impl Level {
    /// For sound that was measured; `None` where there was nothing to measure.
    pub(in super::super) fn of(heard: &Heard, target: Loudness) -> Option<Self> {
        let before = heard.measured()?;
        let ceiling_db = target.true_peak_dbtp - MARGIN_DB;
        let level = Self { target, before, gain_db: 0.0, ceiling_db, corrections: 0, lowerings: 0 };
        let gain_db = target.integrated_lufs - before.integrated_lufs;
        let mut level = Self { gain_db: gain_db.min(level.most_gain_db()), ..level };
        // What comes of the gain alone is known beforehand.
        while level.ceiling().is_none()
            && let Some(better) = level.corrected(level.expected(heard))
        {
            level = better;
        }
        Some(level)
    }

    /// The gain beyond which peaks would be taken down by more than they may.
    fn most_gain_db(&self) -> f64 {
        self.headroom_db() + MOST_LIMITING_DB
    }

    /// The gain beyond which peaks are taken down.
    fn headroom_db(&self) -> f64 {
        self.ceiling_db - self.before.true_peak_dbtp
    }

    /// The gain, a factor.
    pub(in super::super) fn gain(&self) -> f32 {
        factor(self.gain_db)
    }

    /// The limiter's ceiling, a factor of full scale; `None` where nothing reaches it.
    pub(in super::super) fn ceiling(&self) -> Option<f32> {
        (self.gain_db > self.headroom_db()).then(|| factor(self.ceiling_db))
    }

    /// What comes of the gain alone.
    pub(in super::super) fn expected(&self, heard: &Heard) -> MeasuredLoudness {
        MeasuredLoudness {
            integrated_lufs: heard.blocks.loudness(self.gain_db),
            true_peak_dbtp: self.before.true_peak_dbtp + self.gain_db,
        }
    }

    /// A better one, where this one came to `after` and that is not good yet. It is good only below the ceiling.
    pub(in super::super) fn corrected(&self, after: MeasuredLoudness) -> Option<Self> {
        let excess = after.true_peak_dbtp - self.target.true_peak_dbtp;
        if excess > 0.0 && self.ceiling().is_some() {
            return Some(self.lowered(excess));
        }
        if self.corrections == MOST_CORRECTIONS {
            return None;
        }
        let missing = self.target.integrated_lufs - after.integrated_lufs;
        let is_stopped = missing > 0.0 && self.gain_db >= self.most_gain_db();
        if missing.abs() <= NEAR_LU || is_stopped {
            return None;
        }
        // What the part of the gain that is limited has brought so far. The next part brings less, so that the target
        // is approached from below.
        let limited = self.gain_db - self.headroom_db();
        let brought = limited - (self.before.integrated_lufs + self.gain_db - after.integrated_lufs);
        let yielded = if limited > 0.0 { (brought / limited).clamp(0.25, 1.0) } else { 1.0 };
        let gain_db = (self.gain_db + missing / yielded).min(self.most_gain_db());
        Some(Self { gain_db, corrections: self.corrections + 1, ..*self })
    }

    /// One whose peaks are lower: by so much, dB, or, after too many tries, what the gain alone keeps below the ceiling.
    fn lowered(&self, excess: f64) -> Self {
        if self.lowerings == MOST_LOWERINGS {
            let ceiling_db = self.target.true_peak_dbtp - MARGIN_DB;
            let last = Self { ceiling_db, corrections: MOST_CORRECTIONS, ..*self };
            return Self { gain_db: self.gain_db.min(last.headroom_db()), ..last };
        }
        let ceiling_db = self.ceiling_db - excess - MARGIN_DB;
        let lower = Self { ceiling_db, lowerings: self.lowerings + 1, ..*self };
        Self { gain_db: self.gain_db.min(lower.most_gain_db()), ..lower }
    }

    /// What came of it. `lowest` is the factor by which the limiter took most off.
    pub(in super::super) fn report(
        &self,
        after: MeasuredLoudness,
        lowest: f32,
        decoded_peak_dbtp: Option<f64>,
    ) -> LoudnessReport {
        let missing = self.target.integrated_lufs - after.integrated_lufs;
        LoudnessReport::Normalized {
            before: self.before,
            after,
            gain_db: self.gain_db,
            limited_db: (-decibels(lowest)).max(0.0),
            shortfall_lu: if missing > NEAR_LU { missing } else { 0.0 },
            decoded_peak_dbtp,
        }
    }
}

impl Heard {
    /// `None` for silence, for less than can be measured, and for what is no number.
    pub(in super::super) fn measured(&self) -> Option<MeasuredLoudness> {
        let highest = self.peaks.iter().copied().fold(0.0, f32::max);
        let integrated_lufs = self.blocks.loudness(0.0);
        let measured = MeasuredLoudness { integrated_lufs, true_peak_dbtp: decibels(highest) };
        let is_number = measured.integrated_lufs.is_finite() && measured.true_peak_dbtp.is_finite();
        is_number.then_some(measured)
    }
}

fn factor(decibels: f64) -> f32 {
    10f64.powf(decibels / 20.0) as f32
}

/// Of a factor.
pub(in super::super) fn decibels(factor: f32) -> f64 {
    20.0 * f64::from(factor).log10()
}

#[cfg(test)]
mod tests {
    use super::super::gate::Blocks;
    use super::*;

    const TARGET: Loudness = Loudness { integrated_lufs: -16.0, true_peak_dbtp: -1.0 };

    fn heard(blocks: &[(usize, f64)], peak_db: f64) -> Heard {
        Heard { blocks: Blocks::of(blocks), peaks: [0.0, factor(peak_db)].into() }
    }

    fn level(integrated_lufs: f64, peak_db: f64) -> Level {
        Level::of(&heard(&[(1, integrated_lufs)], peak_db), TARGET).expect("something to measure")
    }

    #[test]
    fn the_gain_reaches_the_target_and_stops_where_too_much_would_be_limited() {
        for (integrated, peak, gain, is_limited) in [
            (-20.0, -12.0, 4.0, false),
            (-10.0, 0.0, -6.0, false),
            (-18.0, -3.1, 2.0, false),
            (-18.0, -3.0, 2.0, true),
            (-30.0, -6.0, 7.95, true),
            (-16.5, 0.5, 0.5, true),
            (-16.0, 6.0, -4.05, true),
        ] {
            let level = level(integrated, peak);
            let name = format!("{integrated} LUFS, {peak} dBTP");
            assert!((level.gain_db - gain).abs() < 1e-5, "{name}: {}", level.gain_db);
            assert_eq!(level.ceiling().is_some(), is_limited, "{name}");
        }
    }

    #[test]
    fn what_the_gate_lets_in_or_out_is_reckoned_with() {
        for (name, blocks, peak_db, target, gain_db, is_limited) in [
            ("nothing changes", &[(10, -20.0), (10, -50.0)][..], -30.0, -16.0, 4.0, false),
            // After 22 dB the floor counts, for far more than what is loud.
            ("a floor comes in", &[(36, -38.0), (36_000, -75.0)], -30.0, -16.0, 31.95, true),
            ("what was quiet drops out", &[(10, -30.0), (10, -36.0)], -10.0, -67.0, -37.0, false),
        ] {
            let heard = heard(blocks, peak_db);
            let target = Loudness { integrated_lufs: target, true_peak_dbtp: -1.0 };
            let level = Level::of(&heard, target).expect("something to measure");
            assert!((level.gain_db - gain_db).abs() < 0.05, "{name}: {level:?}");
            assert_eq!(level.ceiling().is_some(), is_limited, "{name}");
            let missing = target.integrated_lufs - level.expected(&heard).integrated_lufs;
            assert_eq!(missing.abs() < NEAR_LU, !is_limited, "{name}: {missing} LU are missing");
        }
    }

    #[test]
    fn what_cannot_be_measured_has_no_level() {
        for (lufs, peak_db) in [
            (f64::NEG_INFINITY, -6.0),
            (-71.0, -60.0),
            (-20.0, f64::NEG_INFINITY),
            (f64::NAN, -6.0),
            (-20.0, f64::INFINITY),
        ] {
            assert_eq!(Level::of(&heard(&[(1, lufs)], peak_db), TARGET), None, "{lufs} LUFS, {peak_db} dBTP");
        }
        assert_eq!(Level::of(&heard(&[], -6.0), TARGET), None, "less than a block");
    }

    #[test]
    fn what_limiting_took_is_given_back_as_far_as_it_may() {
        let first = level(-20.0, -3.0);
        let after = |integrated_lufs| MeasuredLoudness { integrated_lufs, true_peak_dbtp: -1.04 };
        assert_eq!(first.corrected(after(-16.15)), None, "near enough");
        // 2.05 dB of the gain went into the limiter and brought 1.55 LU.
        let second = first.corrected(after(-16.5)).expect("a correction");
        assert!((second.gain_db - (4.0 + 0.5 / (1.55 / 2.05))).abs() < 1e-5, "{second:?}");
        let third = second.corrected(after(-17.5)).expect("another");
        assert!((third.gain_db - 4.95).abs() < 1e-5, "no further than 3 dB into the limiter: {third:?}");
        assert_eq!(third.corrected(after(-17.2)), None, "it stays there");
        let LoudnessReport::Normalized { shortfall_lu, .. } = third.report(after(-17.2), 0.71, None) else {
            panic!("it was normalised");
        };
        assert!((shortfall_lu - 1.2).abs() < 1e-9);
    }

    #[test]
    fn a_peak_that_came_out_too_high_lowers_the_limiters_ceiling() {
        let first = level(-20.0, -3.0);
        let after = MeasuredLoudness { integrated_lufs: -16.0, true_peak_dbtp: -0.9 };
        let second = first.corrected(after).expect("a correction");
        assert!((second.ceiling_db - -1.2).abs() < 1e-9, "{second:?}");
    }

    #[test]
    fn whatever_comes_of_it_the_last_level_keeps_the_ceiling() {
        let first = level(-20.0, -3.0);
        let after = |integrated_lufs, true_peak_dbtp| MeasuredLoudness { integrated_lufs, true_peak_dbtp };
        for corrections in [0, MOST_CORRECTIONS] {
            let off = |at: u32| if at.is_multiple_of(2) { -0.3 } else { 0.3 };
            let spent =
                (0..corrections).try_fold(first, |level, at| level.corrected(after(-16.0 + off(at), -1.01)));
            let spent = spent.expect("another one each time");
            assert_eq!(spent.corrections, corrections);
            let last = (0..=MOST_LOWERINGS).try_fold(spent, |level, _| level.corrected(after(-16.0, -0.9)));
            let last = last.expect("a lower one each time");
            assert_eq!(last.ceiling(), None, "nothing is limited: {last:?}");
            assert!((last.gain_db - 1.95).abs() < 1e-5, "all that the ceiling leaves room for: {last:?}");
            let expected = last.expected(&heard(&[(1, -20.0)], -3.0));
            assert_eq!(last.corrected(expected), None, "it ends, although it is too quiet");
            let report = last.report(expected, 1.0, None);
            let LoudnessReport::Normalized { limited_db, shortfall_lu, .. } = report else {
                panic!("it was normalised");
            };
            assert!(limited_db == 0.0 && (shortfall_lu - 2.05).abs() < 1e-5, "{shortfall_lu} LU are missing");
        }
    }

    #[test]
    fn a_lower_ceiling_does_not_take_more_off_than_it_may() {
        let first = level(-20.0, 0.0);
        let after = MeasuredLoudness { integrated_lufs: -19.0, true_peak_dbtp: -0.9 };
        let second = first.corrected(after).expect("a correction");
        assert!((second.gain_db - second.headroom_db() - MOST_LIMITING_DB).abs() < 1e-9, "{second:?}");
    }
}
