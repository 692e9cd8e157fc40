//! Looks: which endpoints have something due. Where few do, each look reads them all. Where many do, that would cost too
//! much at each hint: a look at all of them, or at a page of them, comes at intervals, and between them a look reads what
//! has just become due.

use std::time::Duration;

use domain::Timestamp;
use store::{Due, DueEndpoint, Line, StoreError};
use tokio::time::Instant;

use super::DeliverLoop;
use super::lanes::RECOVERY_REMEMBERED;

/// How long after a look that found something, or had no answer, the next one comes, unless it is asked for earlier.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Where more endpoints are due, a look at all of them is a page.
const FEW_ENDPOINTS: usize = 1_000;
/// Where more endpoints are due, not every look is at all of them.
const MOST_AT_EACH_LOOK: usize = 100;
/// How long after a page the next one is looked at.
const PAGE_PAUSE: Duration = Duration::from_millis(50);
/// How long a page is worked on while there is something to claim on it.
const PAGE_AT_MOST: Duration = Duration::from_secs(1);
/// For so long an endpoint is one that has just become due: more than a commit takes, and clocks differ by.
const FRESH: Duration = Duration::from_secs(2);
/// How many of these one look reads.
const MOST_FRESH: usize = 256;

/// A look to take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// At all that is due, or a page of it from here.
    All(Option<Line>),
    /// At what has just become due. The next look at all is due then.
    Fresh(Instant),
}

/// What a look has found.
pub(super) enum Found {
    All(Due),
    /// A page of it.
    Page(Due),
    Fresh(Vec<DueEndpoint>),
}

/// Which look is next.
pub(super) struct Looks {
    /// When it is to be one at all that is due.
    all_at: Instant,
    /// Where the present page begins; none: at the start.
    from: Option<Line>,
    /// Since when it is the present one.
    since: Instant,
    /// Where the next one begins.
    rest: Option<Line>,
}

impl Looks {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { all_at: now, from: None, since: now, rest: None }
    }

    /// The next look. A page is followed by the next one when nobody wants it any more, or it has had its time, so that
    /// neither what is on it nor what is not is waited for for ever.
    pub(super) fn next(&mut self, is_page_wanted: impl Fn() -> bool) -> Look {
        if Instant::now() < self.all_at {
            return Look::Fresh(self.all_at);
        }
        let is_at_end = self.rest.is_none();
        if is_at_end || self.since.elapsed() >= PAGE_AT_MOST || !is_page_wanted() {
            self.from = self.rest.take();
            self.since = Instant::now();
        }
        Look::All(self.from.clone())
    }

    /// Heeds what a look has found, of which the next is to come after `wait`.
    pub(super) fn heed(&mut self, found: &Found, wait: Duration) {
        if let Found::All(due) | Found::Page(due) = found {
            let is_much = due.endpoints.len() > MOST_AT_EACH_LOOK || due.rest.is_some();
            self.all_at = Instant::now() + if is_much { wait } else { Duration::ZERO };
            self.rest.clone_from(&due.rest);
        }
    }
}

/// Looks; what was found, and when to look again.
pub(super) async fn look(deliver: &DeliverLoop, look: Look) -> Result<(Found, Duration), StoreError> {
    let (store, now) = (&deliver.parts.store, deliver.parts.clock.now());
    match look {
        Look::All(from) => {
            let is_next_page = from.is_some();
            let (mut due, wait) = all_due(deliver, from).await?;
            forget_recoveries(&mut due.endpoints, now);
            let is_page = is_next_page || due.rest.is_some();
            Ok((if is_page { Found::Page(due) } else { Found::All(due) }, wait))
        }
        Look::Fresh(until) => {
            let mut due = store.freshly_due_endpoints(now.minus(FRESH), now, MOST_FRESH).await?;
            forget_recoveries(&mut due, now);
            Ok((Found::Fresh(due), until.saturating_duration_since(Instant::now())))
        }
    }
}

/// Takes it that who came back long ago has recovered: what the lanes know of that they forget after a time, and it must
/// not begin anew then.
fn forget_recoveries(due: &mut [DueEndpoint], now: Timestamp) {
    for endpoint in due {
        endpoint.recovered_at = endpoint.recovered_at.filter(|at| now.since(*at) < RECOVERY_REMEMBERED);
    }
}

/// One question where nothing is due: that is what an idle service costs.
async fn all_due(deliver: &DeliverLoop, from: Option<Line>) -> Result<(Due, Duration), StoreError> {
    let (store, now, poll) = (&deliver.parts.store, deliver.parts.clock.now(), deliver.config.poll);
    let next = store.next_delivery_due(now).await?;
    if next.is_none_or(|next| next > now) {
        let nothing = Due { endpoints: Vec::new(), rest: None };
        return Ok((nothing, next.map_or(poll, |next| next.since(now).min(poll))));
    }
    let due = store.due_endpoints(now, FEW_ENDPOINTS, from.as_ref()).await?;
    let wait = if due.rest.is_some() { PAGE_PAUSE } else { LOOK_AGAIN };
    Ok((due, wait.min(poll)))
}

#[cfg(test)]
mod tests {
    use domain::{EndpointId, KeyId, Receiver};
    use url::Url;

    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    fn found(count: usize, rest: Option<Line>) -> Found {
        let endpoint = DueEndpoint {
            id: EndpointId::from_random([1; 8]),
            key: KeyId::from_random([1; 8]),
            receiver: Receiver::of(&Url::parse("https://hooks.example/").expect("a URL")),
            is_probe: false,
            recovered_at: None,
            has_live: false,
        };
        Found::All(Due { endpoints: vec![endpoint; count], rest })
    }

    fn line(receiver: &str) -> Option<Line> {
        Some(Line { key: "key_1".to_owned(), receiver: receiver.to_owned() })
    }

    #[test]
    fn who_came_back_long_ago_is_not_taken_for_one_that_came_back() {
        let now = Timestamp::from_millis(1_768_998_896_000);
        let recovered = |ago: Duration| {
            let Found::All(due) = found(1, None) else { unreachable!("a look at all") };
            let mut due = due.endpoints;
            due[0].recovered_at = Some(now.minus(ago));
            forget_recoveries(&mut due, now);
            due[0].recovered_at.is_some()
        };
        assert!(recovered(Duration::ZERO) && recovered(RECOVERY_REMEMBERED - WAIT));
        assert!(!recovered(RECOVERY_REMEMBERED));
    }

    #[tokio::test(start_paused = true)]
    async fn every_look_is_at_all_that_is_due_where_that_is_little() {
        let mut looks = Looks::new();
        for count in [0, 1, MOST_AT_EACH_LOOK] {
            looks.heed(&found(count, None), WAIT);
            assert_eq!(looks.next(|| true), Look::All(None), "{count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_much_is_due_what_is_new_is_looked_at_between_looks_at_all() {
        let mut looks = Looks::new();
        looks.heed(&found(MOST_AT_EACH_LOOK + 1, None), WAIT);
        let then = Instant::now() + WAIT;
        assert_eq!(looks.next(|| true), Look::Fresh(then));
        looks.heed(&Found::Fresh(Vec::new()), WAIT);
        tokio::time::advance(WAIT - Duration::from_millis(1)).await;
        assert_eq!(looks.next(|| true), Look::Fresh(then), "a look at what is new puts it off no further");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(looks.next(|| true), Look::All(None));
    }

    #[tokio::test(start_paused = true)]
    async fn pages_follow_each_other_when_they_are_done_and_within_their_time() {
        let mut looks = Looks::new();
        assert_eq!(looks.next(|| false), Look::All(None));
        looks.heed(&found(1, line("b.example:443")), WAIT);
        tokio::time::advance(WAIT).await;
        assert_eq!(looks.next(|| true), Look::All(None), "there is something to claim on it");
        looks.heed(&found(1, line("b.example:443")), WAIT);
        tokio::time::advance(WAIT).await;
        assert_eq!(looks.next(|| false), Look::All(line("b.example:443")));
        looks.heed(&found(1, line("c.example:443")), WAIT);
        tokio::time::advance(PAGE_AT_MOST).await;
        assert_eq!(looks.next(|| true), Look::All(line("c.example:443")), "it had its time");
        looks.heed(&found(1, None), WAIT);
        tokio::time::advance(WAIT).await;
        assert_eq!(looks.next(|| true), Look::All(None), "round and round");
    }
}
