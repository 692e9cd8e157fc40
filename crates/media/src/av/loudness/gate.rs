//! What of the sound counts for its loudness (BS.1770-4, annex 1): neither what is next to silence nor what is far below the
//! rest.

/// Below this, LUFS, a block does not count.
const ABSOLUTE_LUFS: f64 = -70.0;
/// Nor does it so far below the mean of those that pass that, LU.
const RELATIVE_LU: f64 = -10.0;
/// Between a block's mean square and its loudness, dB.
const OFFSET_DB: f64 = -0.691;

/// The energies of blocks of 400 ms, one each 100 ms. For a day 3.5 MB.
#[derive(Default)]
pub(super) struct Blocks(Vec<f32>);

impl Blocks {
    /// The next block is so loud, LUFS.
    pub(super) fn push(&mut self, lufs: f64) {
        self.0.push(energy(lufs) as f32);
    }

    /// The integrated loudness after this gain, LUFS: it may take others past the gate than before. Minus infinity where
    /// none passes.
    pub(super) fn loudness(&self, gain_db: f64) -> f64 {
        let absolute = energy(ABSOLUTE_LUFS - gain_db);
        let relative = self.mean_from(absolute) * 10f64.powf(RELATIVE_LU / 10.0);
        let mean = self.mean_from(relative.max(absolute));
        if mean == 0.0 { f64::NEG_INFINITY } else { OFFSET_DB + 10.0 * mean.log10() + gain_db }
    }

    /// The mean of those with at least so much energy, 0 if there are none. What is no number is not passed over.
    fn mean_from(&self, least: f64) -> f64 {
        let (mut sum, mut count) = (0.0, 0_u32);
        for energy in self.0.iter().map(|energy| f64::from(*energy)) {
            if energy >= least || energy.is_nan() {
                (sum, count) = (sum + energy, count + 1);
            }
        }
        sum / f64::from(count.max(1))
    }
}

fn energy(lufs: f64) -> f64 {
    10f64.powf((lufs - OFFSET_DB) / 10.0)
}

#[cfg(test)]
impl Blocks {
    /// So many of each loudness.
    pub(super) fn of(blocks: &[(usize, f64)]) -> Self {
        let mut made = Self::default();
        blocks.iter().for_each(|(count, lufs)| (0..*count).for_each(|_| made.push(*lufs)));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_depends_on_the_gain() {
        for (name, blocks, gain_db, expected) in [
            ("steady", &[(10, -20.0)][..], 4.0, -16.0),
            ("silence does not count", &[(10, -20.0), (90, f64::NEG_INFINITY)], 0.0, -20.0),
            ("nor what is far below", &[(10, -20.0), (10, -35.0)], 0.0, -20.0),
            ("the mean is of energies", &[(10, -20.0), (10, -23.0)], 0.0, -21.2460),
            ("a floor below the gate", &[(36, -38.0), (36_000, -75.0)], 0.0, -38.0),
            ("is above it after the gain", &[(36, -38.0), (36_000, -75.0)], 22.0, -45.2136),
            ("what falls below it is gone", &[(10, -30.0), (10, -36.0)], -35.0, -65.0),
            ("all of it", &[(10, -30.0)], -41.0, f64::NEG_INFINITY),
            ("nothing", &[], 0.0, f64::NEG_INFINITY),
        ] {
            let loudness = Blocks::of(blocks).loudness(gain_db);
            assert!(loudness == expected || (loudness - expected).abs() < 1e-3, "{name}: {loudness}");
        }
        assert!(Blocks::of(&[(3, -20.0), (1, f64::NAN)]).loudness(0.0).is_nan());
    }
}
