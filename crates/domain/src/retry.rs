//! When a delivery is tried again.

use std::time::Duration;

/// A fixed list of waits, each cut short by jitter, so that the receivers of a mass failure are not all called back
/// at the same moment. None is made longer: what is kept for as long as the schedule takes must outlast it.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first, second, … failed attempt. One attempt more than there are waits is made.
    pub waits: Vec<Duration>,
    /// The largest fraction of a wait that is taken off, 0 to 1.
    pub jitter: f64,
}

impl RetryPolicy {
    /// 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: ten attempts over about three days, the
    /// schedule that Standard Webhooks 1.0.0 gives as its example.
    pub fn standard() -> Self {
        const HOUR: u64 = 3600;
        let waits = [5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self { waits: waits.map(Duration::from_secs).to_vec(), jitter: 0.1 }
    }

    /// How long to wait after `attempts` failed attempts, or `None` when it was the last.
    ///
    /// `random` is uniform in 0 to 1: how much of the jitter is taken off.
    pub fn wait_after(&self, attempts: u32, random: f64) -> Option<Duration> {
        let index = usize::try_from(attempts.checked_sub(1)?).ok()?;
        let wait = self.waits.get(index)?;
        Some(wait.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0)))
    }

    /// How long it takes at most from the first attempt to the end of the last, where each takes so long at most and
    /// nothing but this schedule puts one off.
    pub fn longest(&self, attempt: Duration) -> Duration {
        self.waits.iter().fold(attempt, |all, wait| all.saturating_add(*wait).saturating_add(attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_walked_once_and_ends() {
        let policy = RetryPolicy::standard();
        let waits: Vec<u64> =
            (1..).map_while(|n| policy.wait_after(n, 0.0)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]);
        assert_eq!(policy.wait_after(0, 0.5), None);
    }

    #[test]
    fn jitter_takes_off_its_fraction_at_most_and_adds_nothing() {
        let policy = RetryPolicy { waits: vec![Duration::from_secs(100)], jitter: 0.1 };
        assert_eq!(policy.wait_after(1, 0.0), Some(Duration::from_secs(100)));
        assert_eq!(policy.wait_after(1, 1.0), Some(Duration::from_secs(90)));
    }

    #[test]
    fn the_longest_schedule_has_every_wait_and_every_attempt() {
        let policy = RetryPolicy { waits: [10, 20].map(Duration::from_secs).to_vec(), jitter: 0.1 };
        assert_eq!(policy.longest(Duration::from_secs(3)), Duration::from_secs(39));
        let none = RetryPolicy { waits: Vec::new(), jitter: 0.0 };
        assert_eq!(none.longest(Duration::from_secs(3)), Duration::from_secs(3));
    }
}
