//! What an attempt means for its endpoint: one exact URL of one key. Another customer's hook at the same host is
//! another endpoint, and feels nothing of it.

use std::time::Duration;

use domain::{EndpointVerdict, EventKind, SendOutcome, Timestamp};
use store::DueEndpoint;

/// When an endpoint is left alone.
#[derive(Debug, Clone)]
pub struct CircuitConfig {
    /// After so many failures in a row the circuit opens: nothing is sent before a probe has succeeded.
    pub open_after: u32,
    /// How long it stays open the first time; twice as long after each probe that fails.
    pub first_pause: Duration,
    /// The longest that it stays open without a probe.
    pub longest_pause: Duration,
    /// An endpoint that has failed everything for so long is disabled.
    pub disable_after: Duration,
}

impl CircuitConfig {
    /// What follows from an attempt at an event of this kind for the endpoint as it stood when the attempt was
    /// claimed. That a live event was not taken is not held against it: it had less time, and is no part of what is
    /// promised.
    pub(super) fn verdict(
        &self,
        endpoint: &DueEndpoint,
        kind: EventKind,
        outcome: &SendOutcome,
        now: Timestamp,
    ) -> EndpointVerdict {
        if outcome.is_delivered() {
            return EndpointVerdict::Succeeded;
        }
        if outcome.is_gone() {
            return EndpointVerdict::Disable { reason: "it answered 410 Gone".to_owned() };
        }
        if kind.is_live() {
            return EndpointVerdict::Unchanged;
        }
        if endpoint.first_failed_at.is_some_and(|first| now.since(first) >= self.disable_after) {
            let days = self.disable_after.as_secs() / 86_400;
            return EndpointVerdict::Disable {
                reason: format!("everything sent to it for {days} days has failed"),
            };
        }
        EndpointVerdict::Failed { open_until: self.pause(endpoint.failures + 1).map(|pause| now.plus(pause)) }
    }

    /// How long the circuit is open after so many failures in a row; `None` while it stays closed.
    fn pause(&self, failures: u32) -> Option<Duration> {
        let doublings = failures.checked_sub(self.open_after)?.min(30);
        Some(self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use domain::{EndpointId, KeyId, Receiver, SendError};
    use url::Url;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_768_998_896_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn config() -> CircuitConfig {
        CircuitConfig {
            open_after: 5,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(60),
            disable_after: 5 * DAY,
        }
    }

    fn endpoint(failures: u32, failing_for: Duration) -> DueEndpoint {
        DueEndpoint {
            id: EndpointId::from_random([1; 8]),
            key: KeyId::from_random([2; 8]),
            receiver: Receiver::of(&Url::parse("https://hooks.example/").expect("a URL")),
            is_probe: false,
            failures,
            first_failed_at: (failures > 0).then(|| NOW.minus(failing_for)),
            has_live: false,
        }
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_ever_longer_up_to_a_bound() {
        let refused = SendOutcome::answered(500);
        for (failures, pause) in
            [(0, None), (3, None), (4, Some(10)), (5, Some(20)), (6, Some(40)), (7, Some(60)), (90, Some(60))]
        {
            let verdict = config().verdict(&endpoint(failures, DAY), EventKind::Failed, &refused, NOW);
            let open_until = pause.map(|secs| NOW.plus(Duration::from_secs(secs)));
            assert_eq!(verdict, EndpointVerdict::Failed { open_until }, "after {failures} failures");
        }
    }

    #[test]
    fn gone_disables_at_once_and_failing_for_five_days_does_too() {
        let gone =
            config().verdict(&endpoint(0, DAY), EventKind::Completed, &SendOutcome::answered(410), NOW);
        assert!(matches!(gone, EndpointVerdict::Disable { reason } if reason.contains("410")));
        let dead = SendOutcome::failed(SendError::Connect);
        assert!(matches!(
            config().verdict(&endpoint(40, 4 * DAY), EventKind::Completed, &dead, NOW),
            EndpointVerdict::Failed { .. }
        ));
        let verdict = config().verdict(&endpoint(40, 5 * DAY), EventKind::Completed, &dead, NOW);
        assert!(matches!(verdict, EndpointVerdict::Disable { reason } if reason.contains("5 days")));
    }

    #[test]
    fn success_closes_it_whatever_was_before() {
        let verdict =
            config().verdict(&endpoint(40, 5 * DAY), EventKind::Completed, &SendOutcome::answered(204), NOW);
        assert_eq!(verdict, EndpointVerdict::Succeeded);
    }

    #[test]
    fn a_live_event_that_was_not_taken_is_not_held_against_it() {
        let config = config();
        let verdict =
            |kind, status| config.verdict(&endpoint(40, 5 * DAY), kind, &SendOutcome::answered(status), NOW);
        for kind in [EventKind::Started, EventKind::Progress] {
            assert_eq!(verdict(kind, 500), EndpointVerdict::Unchanged);
            assert_eq!(verdict(kind, 200), EndpointVerdict::Succeeded);
            assert!(
                matches!(verdict(kind, 410), EndpointVerdict::Disable { .. }),
                "it said never to come back"
            );
        }
    }
}
