//! What an attempt says of its endpoint: one exact URL of one key. Another customer's hook at the same host is another
//! endpoint, and feels nothing of it. What follows from it is reckoned where it is recorded, from what all nodes know
//! ([`domain::EndpointHealth`]).

use std::time::Duration;

use domain::{EndpointVerdict, EventKind, SendOutcome, Timestamp};

/// What an attempt at an event of this kind says. That a live event was not taken is not held against an endpoint: it
/// had less time, and is no part of what is promised. A `Retry-After` of an answer that is about the receiver and not
/// about this event (RFC 6585, section 4; RFC 9110, section 15.6.4) holds for all that would go there, within `longest`,
/// whatever kind of event was answered so.
pub(super) fn verdict(
    is_probe: bool,
    kind: EventKind,
    outcome: &SendOutcome,
    longest: Duration,
    now: Timestamp,
) -> EndpointVerdict {
    if outcome.is_delivered() {
        return EndpointVerdict::Succeeded;
    }
    if outcome.is_gone() {
        return EndpointVerdict::Gone;
    }
    let asked = outcome.retry_after.filter(|_| matches!(outcome.status, Some(429 | 503)));
    let rest_until = asked.map(|wait| now.plus(wait.min(longest)));
    match rest_until {
        Some(until) if kind.is_live() => EndpointVerdict::Resting { until },
        None if kind.is_live() => EndpointVerdict::Unchanged,
        rest_until => EndpointVerdict::Failed { is_probe, rest_until },
    }
}

/// Whether nothing is to be sent to its endpoint for now.
pub(super) fn is_left_alone(verdict: &EndpointVerdict) -> bool {
    matches!(
        verdict,
        EndpointVerdict::Gone
            | EndpointVerdict::Resting { .. }
            | EndpointVerdict::Failed { rest_until: Some(_), .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_768_998_896_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn said(kind: EventKind, status: u16, retry_after: Option<Duration>) -> EndpointVerdict {
        let outcome = SendOutcome { retry_after, ..SendOutcome::answered(status) };
        verdict(false, kind, &outcome, DAY, NOW)
    }

    #[test]
    fn that_a_live_event_was_not_taken_is_no_failure_but_a_rest_that_was_asked_for_is_one() {
        for kind in [EventKind::Started, EventKind::Progress] {
            for (status, asked) in [(500, None), (500, Some(DAY)), (429, None)] {
                assert_eq!(said(kind, status, asked), EndpointVerdict::Unchanged);
            }
            for (status, asked) in [(429, DAY), (503, DAY), (503, 9 * DAY)] {
                let rest = said(kind, status, Some(asked));
                assert_eq!(rest, EndpointVerdict::Resting { until: NOW.plus(DAY) });
                assert!(is_left_alone(&rest));
            }
            assert_eq!(said(kind, 200, None), EndpointVerdict::Succeeded);
            assert_eq!(said(kind, 410, None), EndpointVerdict::Gone);
        }
    }

    #[test]
    fn a_rest_is_for_all_where_the_answer_is_about_the_receiver_and_never_beyond_the_bound() {
        let minute = Duration::from_secs(60);
        for (status, asked, rest) in [
            (429, Some(minute), Some(minute)),
            (503, Some(minute), Some(minute)),
            (503, Some(9 * DAY), Some(DAY)),
            (503, None, None),
            (500, Some(minute), None),
        ] {
            let rest_until = rest.map(|rest| NOW.plus(rest));
            let expected = EndpointVerdict::Failed { is_probe: false, rest_until };
            assert_eq!(said(EventKind::Completed, status, asked), expected, "{status}");
        }
    }
}
