//! What the store is asked: what is due, and for claims. One thing at a time, and beside the attempts, so that a
//! receiver never waits for a claim behind a disk's flush as long as there is something ahead for it.

use std::sync::Arc;
use std::time::Duration;

use domain::{Delivery, Lease};
use store::{Due, DueEndpoint, Line, StoreError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DeliverLoop;
use super::lanes::Lanes;

/// Where more endpoints are due, a look is a page of them.
const FEW_ENDPOINTS: usize = 1_000;
/// How long after a page the next one is looked at.
const PAGE_PAUSE: Duration = Duration::from_millis(50);
/// How long a page is worked on while there is something to claim on it.
const PAGE_AT_MOST: Duration = Duration::from_secs(1);
/// How long after a look that found something, or had no answer, the next one comes, unless it is asked for earlier.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Claims between two looks, while there is something to claim: each look reads all that is due.
const CLAIMS_IN_A_ROW: usize = 16;

/// What the store has answered.
pub(super) enum Answer {
    /// These endpoints have something to claim, and by then it is to be looked again.
    Due(Due, Duration),
    /// Up to `limit` deliveries were asked for, and these are ours; since then, or a little later.
    Claimed { endpoint: DueEndpoint, limit: usize, since: Instant, leases: Vec<Lease<Delivery>> },
    /// Nothing: it is out of reach, and asked again in a while.
    Silence,
}

/// At most one question that is under way.
pub(super) struct Asking {
    deliver: Arc<DeliverLoop>,
    question: JoinSet<Answer>,
    /// Claims that come before the next look.
    claims_left: usize,
    /// The last question had no answer: nothing is claimed before a look has one.
    is_in_vain: bool,
    pages: Pages,
}

/// Where much is due, it is looked at page by page, round and round.
struct Pages {
    /// Where the present one begins; none: at the start.
    from: Option<Line>,
    since: Instant,
    /// Where the next one begins.
    next: Option<Line>,
    /// There is nothing to claim on it now.
    is_done: bool,
}

impl Pages {
    fn new() -> Self {
        Self { from: None, since: Instant::now(), next: None, is_done: true }
    }

    /// Which page to look at: the next one if there is nothing to claim on this one, or it has had its time, so that
    /// neither what is on it nor what is not is waited for for ever.
    fn turn(&mut self) -> Option<Line> {
        if self.is_done || self.since.elapsed() >= PAGE_AT_MOST {
            self.from = self.next.take();
            self.since = Instant::now();
        }
        self.from.clone()
    }
}

impl Asking {
    pub(super) fn new(deliver: Arc<DeliverLoop>) -> Self {
        let question = JoinSet::new();
        Self { deliver, question, claims_left: 0, is_in_vain: true, pages: Pages::new() }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.question.is_empty()
    }

    /// Asks the next question, if none is under way: what is due, when it is time to look, or for a claim. Neither
    /// keeps the other from its turn. Whether it is a look.
    pub(super) fn next(&mut self, lanes: &mut Lanes, is_time_to_look: bool) -> bool {
        if !self.is_idle() {
            return false;
        }
        if !self.is_in_vain && (self.claims_left > 0 || !is_time_to_look) {
            if let Some((endpoint, limit)) = lanes.next_claim() {
                self.claims_left = self.claims_left.saturating_sub(1);
                let live_room = lanes.live_room(&endpoint);
                self.question.spawn(claim(Arc::clone(&self.deliver), endpoint, limit, live_room));
                return false;
            }
            self.pages.is_done = true;
        }
        if is_time_to_look {
            self.claims_left = CLAIMS_IN_A_ROW;
            self.question.spawn(look(Arc::clone(&self.deliver), self.pages.turn()));
        }
        is_time_to_look
    }

    /// The answer to the question under way; `None` when there is none. No answer is lost if this is dropped.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let answer = self.question.join_next().await?.unwrap_or(Answer::Silence);
        self.is_in_vain = matches!(answer, Answer::Silence);
        if let Answer::Due(due, _) = &answer {
            self.pages.next.clone_from(&due.rest);
            self.pages.is_done = false;
        }
        Some(answer)
    }
}

async fn look(deliver: Arc<DeliverLoop>, from: Option<Line>) -> Answer {
    match due(&deliver, from).await {
        Ok((due, wait)) => Answer::Due(due, wait),
        Err(cause) => {
            tracing::warn!(%cause, "what is due cannot be looked up; trying again");
            Answer::Silence
        }
    }
}

/// What is due now, and when to look again. One question where nothing is: that is what an idle service costs.
async fn due(deliver: &DeliverLoop, from: Option<Line>) -> Result<(Due, Duration), StoreError> {
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

async fn claim(deliver: Arc<DeliverLoop>, endpoint: DueEndpoint, limit: usize, live_room: usize) -> Answer {
    let (parts, lease) = (&deliver.parts, deliver.config.lease);
    let now = parts.clock.now();
    // Before any lease begins: how long the store, or whoever takes up the answer, lets it wait comes off the time in
    // which its attempt may begin.
    let since = Instant::now();
    match parts.store.claim_deliveries(&parts.node, &endpoint, limit, lease, now).await {
        Ok(mut leases) => {
            if let Err(cause) = deliver.keep_files(&mut leases).await {
                tracing::warn!(%cause, "what deliveries name could not be kept; trying again");
                deliver.give_back(leases, None).await;
                return Answer::Silence;
            }
            deliver.add_live(&endpoint, limit.min(leases.len() + live_room), &mut leases).await;
            Answer::Claimed { endpoint, limit, since, leases }
        }
        Err(cause) => {
            tracing::warn!(%cause, "no delivery could be claimed; trying again");
            Answer::Silence
        }
    }
}
