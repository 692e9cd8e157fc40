//! What an attempt says of its endpoint: one exact URL of one key. Another customer's hook at the same host is another
//! endpoint, and feels nothing of it. What follows from it is reckoned where it is recorded, from what all nodes know
//! ([`domain::EndpointHealth`]).

use std::time::Duration;

use domain::{EndpointVerdict, EventKind, SendOutcome, Timestamp};

/// What an attempt at an event of this kind says. That a live event was not taken is not held against an endpoint: it
/// had less time, and is no part of what is promised. A `Retry-After` of an answer that is about the receiver and not
/// about this event (RFC 6585, section 4; RFC 9110, section 15.6.4) holds for all that would go there, within `longest`.
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
    if kind.is_live() {
        return EndpointVerdict::Unchanged;
    }
    let asked = outcome.retry_after.filter(|_| matches!(outcome.status, Some(429 | 503)));
    EndpointVerdict::Failed { is_probe, rest_until: asked.map(|wait| now.plus(wait.min(longest))) }
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
    fn a_live_event_says_that_it_was_taken_or_that_the_url_is_gone_and_nothing_else() {
        for kind in [EventKind::Started, EventKind::Progress] {
            assert_eq!(said(kind, 500, None), EndpointVerdict::Unchanged);
            assert_eq!(said(kind, 429, Some(DAY)), EndpointVerdict::Unchanged);
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
