//! Quantiles and medians.

use std::time::Duration;

/// The wait, in milliseconds, that this share of them does not exceed (nearest rank).
pub(crate) fn quantile_millis(waits: &[Duration], share: f64) -> f64 {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1000.0)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let waits: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile_millis(&waits, 0.5), 50.0);
        assert_eq!(quantile_millis(&waits, 0.99), 99.0);
        assert_eq!(quantile_millis(&waits[..1], 0.99), 100.0);
        assert!(quantile_millis(&[], 0.99).is_nan());
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
