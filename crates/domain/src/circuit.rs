//! When an endpoint is left alone, and what each attempt changes in that.

use std::time::Duration;

use crate::endpoint::{EndpointState, EndpointVerdict};
use crate::time::Timestamp;

/// When an endpoint is left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitPolicy {
    /// After so many failures in a row the circuit opens: nothing is sent before a probe has succeeded.
    pub open_after: u32,
    /// How long it stays open the first time; twice as long after each probe that fails.
    pub first_pause: Duration,
    /// The longest that it stays open without a probe.
    pub longest_pause: Duration,
    /// The largest fraction of a pause that is taken off, 0 to 1, so that those that opened together are not all probed
    /// together ever after.
    pub jitter: f64,
    /// An endpoint that has failed everything for so long is disabled.
    pub disable_after: Duration,
}

impl CircuitPolicy {
    /// How long the circuit is open the `nth` time in a row, from 1. `random` is uniform in 0 to 1: how much of the
    /// jitter is taken off.
    fn pause(&self, nth: u32, random: f64) -> Duration {
        let pause =
            self.first_pause.saturating_mul(1 << nth.saturating_sub(1).min(30)).min(self.longest_pause);
        pause.mul_f64(1.0 - self.jitter.clamp(0.0, 1.0) * random.clamp(0.0, 1.0))
    }
}

/// How an endpoint has been doing, as whoever records attempts reads it, under a lock, and writes it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointHealth {
    /// What is thought of it.
    pub state: EndpointState,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// When the first of them did.
    pub first_failed_at: Option<Timestamp>,
    /// Nothing is sent before.
    pub retry_at: Option<Timestamp>,
    /// How often in a row its circuit has opened: once, and again with each probe that failed.
    pub pauses: u32,
    /// A probe is under way.
    pub is_probing: bool,
    /// Why it is disabled, for its owner.
    pub reason: Option<String>,
}

impl EndpointHealth {
    /// One that nothing is known of.
    pub const NEW: Self = Self {
        state: EndpointState::Healthy,
        failures: 0,
        first_failed_at: None,
        retry_at: None,
        pauses: 0,
        is_probing: false,
        reason: None,
    };

    /// Takes in what one attempt, recorded at `now`, says. Nothing brings a disabled endpoint back but its owner.
    /// `random` is uniform in 0 to 1, for the jitter of a pause.
    pub fn learn(&mut self, verdict: &EndpointVerdict, policy: &CircuitPolicy, now: Timestamp, random: f64) {
        if self.state == EndpointState::Disabled {
            return;
        }
        match verdict {
            EndpointVerdict::Unchanged => {}
            EndpointVerdict::Resting { until } => self.retry_at = self.retry_at.max(Some(*until)),
            EndpointVerdict::Succeeded => {
                // Only a probe comes after that time. What was under way before it lifts no rest.
                let retry_at = self.retry_at.filter(|at| *at > now);
                *self = Self { retry_at, ..Self::NEW };
            }
            EndpointVerdict::Gone => self.disable("it answered 410 Gone".to_owned()),
            EndpointVerdict::Failed { is_probe, rest_until } => {
                self.fail(*is_probe, policy, now, random);
                if self.state != EndpointState::Disabled {
                    self.retry_at = self.retry_at.max(*rest_until);
                }
            }
        }
    }

    fn fail(&mut self, is_probe: bool, policy: &CircuitPolicy, now: Timestamp, random: f64) {
        self.failures = self.failures.saturating_add(1);
        let since = *self.first_failed_at.get_or_insert(now);
        if now.since(since) >= policy.disable_after {
            let days = policy.disable_after.as_secs() / 86_400;
            return self.disable(format!("everything sent to it for {days} days has failed"));
        }
        let opens = match self.state {
            EndpointState::Healthy => self.failures >= policy.open_after,
            // What was under way when it opened says nothing new.
            _ => is_probe,
        };
        if opens {
            self.state = EndpointState::Failing;
            self.pauses = self.pauses.saturating_add(1);
            self.is_probing = false;
            self.retry_at = self.retry_at.max(Some(now.plus(policy.pause(self.pauses, random))));
        }
    }

    fn disable(&mut self, reason: String) {
        let failures = self.failures.max(1);
        let first_failed_at = self.first_failed_at;
        let state = EndpointState::Disabled;
        *self = Self { state, failures, first_failed_at, reason: Some(reason), ..Self::NEW };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_768_998_896_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: false, rest_until: None };
    const PROBE_FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: true, rest_until: None };

    fn policy() -> CircuitPolicy {
        CircuitPolicy {
            open_after: 5,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(60),
            jitter: 0.1,
            disable_after: 5 * DAY,
        }
    }

    fn after(verdicts: &[EndpointVerdict]) -> EndpointHealth {
        let mut health = EndpointHealth::NEW;
        verdicts.iter().for_each(|verdict| health.learn(verdict, &policy(), NOW, 0.0));
        health
    }

    fn in_secs(secs: u64) -> Option<Timestamp> {
        Some(NOW.plus(Duration::from_secs(secs)))
    }

    #[test]
    fn it_opens_after_failures_in_a_row_for_its_first_pause_however_many_were_under_way() {
        let four = after(&[FAILED; 4]);
        assert_eq!((four.state, four.failures, four.retry_at), (EndpointState::Healthy, 4, None));
        for count in [5, 6, 160] {
            let health = after(&vec![FAILED; count]);
            assert_eq!((health.state, health.retry_at), (EndpointState::Failing, in_secs(10)), "{count}");
            assert_eq!(health.failures as usize, count);
        }
        let again = after(&[FAILED, FAILED, FAILED, FAILED, EndpointVerdict::Succeeded, FAILED]);
        assert_eq!((again.state, again.failures), (EndpointState::Healthy, 1));
    }

    #[test]
    fn each_probe_that_fails_doubles_the_pause_up_to_its_bound() {
        let mut health = after(&[FAILED; 5]);
        for secs in [20, 40, 60, 60] {
            health.is_probing = true;
            health.learn(&FAILED, &policy(), NOW, 0.0);
            assert!(health.is_probing, "an attempt from before ended the probe");
            health.learn(&PROBE_FAILED, &policy(), NOW, 0.0);
            assert_eq!((health.retry_at, health.is_probing), (in_secs(secs), false));
        }
        health.learn(&EndpointVerdict::Succeeded, &policy(), NOW.plus(Duration::from_secs(60)), 0.0);
        assert_eq!(health, EndpointHealth::NEW);
    }

    #[test]
    fn jitter_takes_off_its_fraction_of_every_pause_and_adds_nothing() {
        for (random, first, longest) in [(0.0, 10_000, 60_000), (0.5, 9_500, 57_000), (1.0, 9_000, 54_000)] {
            let mut health = EndpointHealth::NEW;
            (0..5).for_each(|_| health.learn(&FAILED, &policy(), NOW, random));
            assert_eq!(health.retry_at, Some(NOW.plus(Duration::from_millis(first))));
            (0..5).for_each(|_| health.learn(&PROBE_FAILED, &policy(), NOW, random));
            assert_eq!(health.retry_at, Some(NOW.plus(Duration::from_millis(longest))));
        }
    }

    #[test]
    fn a_rest_that_was_asked_for_is_kept_whatever_else_is_said() {
        let rest = |secs| EndpointVerdict::Failed { is_probe: false, rest_until: in_secs(secs) };
        let healthy = after(&[rest(120), FAILED, rest(7), EndpointVerdict::Succeeded]);
        assert_eq!(healthy, EndpointHealth { retry_at: in_secs(120), ..EndpointHealth::NEW });
        let open = after(&[rest(120), FAILED, FAILED, FAILED, FAILED]);
        assert_eq!((open.state, open.retry_at), (EndpointState::Failing, in_secs(120)));
        let slow = after(&[rest(120), FAILED, FAILED, FAILED, FAILED, EndpointVerdict::Succeeded]);
        assert_eq!(slow, EndpointHealth { retry_at: in_secs(120), ..EndpointHealth::NEW });
        let open = after(&[rest(3), FAILED, FAILED, FAILED, FAILED]);
        assert_eq!((open.state, open.retry_at), (EndpointState::Failing, in_secs(10)));
    }

    #[test]
    fn gone_disables_at_once_and_failing_for_five_days_does_too() {
        let gone = after(&[EndpointVerdict::Gone, EndpointVerdict::Succeeded, FAILED]);
        assert_eq!((gone.state, gone.failures, gone.retry_at), (EndpointState::Disabled, 1, None));
        assert_eq!(gone.reason.as_deref(), Some("it answered 410 Gone"));

        let mut dead = after(&[FAILED; 5]);
        dead.learn(&PROBE_FAILED, &policy(), NOW.plus(5 * DAY - Duration::from_secs(1)), 0.0);
        assert_eq!(dead.state, EndpointState::Failing);
        dead.learn(&PROBE_FAILED, &policy(), NOW.plus(5 * DAY), 0.0);
        assert_eq!((dead.state, dead.failures), (EndpointState::Disabled, 7));
        assert_eq!(dead.reason.as_deref(), Some("everything sent to it for 5 days has failed"));
    }

    #[test]
    fn a_live_event_that_was_not_taken_is_not_held_against_it() {
        let before = after(&[FAILED; 3]);
        let mut health = before.clone();
        health.learn(&EndpointVerdict::Unchanged, &policy(), NOW.plus(6 * DAY), 0.0);
        assert_eq!(health, before);
        for secs in [60, 7] {
            let until = NOW.plus(Duration::from_secs(secs));
            health.learn(&EndpointVerdict::Resting { until }, &policy(), NOW, 0.0);
            assert_eq!(
                health,
                EndpointHealth { retry_at: in_secs(60), ..before.clone() },
                "but a rest is kept"
            );
        }
        health.learn(&EndpointVerdict::Gone, &policy(), NOW, 0.0);
        let disabled = health.clone();
        health.learn(&EndpointVerdict::Resting { until: NOW.plus(DAY) }, &policy(), NOW, 0.0);
        assert_eq!(health, disabled);
    }
}
