//! What the store is asked: what is due, and for claims. One thing at a time, and beside the attempts, so that a
//! receiver never waits for a claim behind a disk's flush as long as there is something ahead for it.

use std::sync::Arc;
use std::time::Duration;

use domain::{Delivery, Lease};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DeliverLoop;
use super::lanes::{Claim, Lanes, Whom};
use super::looking::{self, Found, Look, Looks};

/// Claims between two looks when it is time to look, for receivers that answer: what they are sent is waited for.
const CLAIMS_IN_A_ROW: usize = 16;
/// Such claims for others, of which there may be many to make, so that they do not hold up what a look would find.
const CLAIMS_OF_OTHERS: usize = 1;

/// What the store has answered.
pub(super) enum Answer {
    /// What is due, and by then it is to be looked again.
    Due(Found, Duration),
    /// These deliveries are ours; since then, or a little later.
    Claimed { claim: Claim, since: Instant, leases: Vec<Lease<Delivery>> },
    /// Nothing: it is out of reach, and asked again in a while.
    Silence,
}

/// At most one question that is under way.
pub(super) struct Asking {
    deliver: Arc<DeliverLoop>,
    question: JoinSet<Answer>,
    /// Claims that come before the next look, and of these those for receivers that may not answer.
    claims_left: usize,
    of_others_left: usize,
    /// The last question had no answer: nothing is claimed before a look has one.
    is_in_vain: bool,
    looks: Looks,
}

impl Asking {
    pub(super) fn new(deliver: Arc<DeliverLoop>) -> Self {
        let (question, looks) = (JoinSet::new(), Looks::new());
        Self { deliver, question, claims_left: 0, of_others_left: 0, is_in_vain: true, looks }
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
        if let Some(claim) = self.whom(is_time_to_look).and_then(|whom| lanes.next_claim(whom)) {
            self.claims_left = self.claims_left.saturating_sub(1);
            self.of_others_left = self.of_others_left.saturating_sub(usize::from(!claim.is_answering));
            let live_room = lanes.live_room(&claim.endpoint);
            self.question.spawn(make(Arc::clone(&self.deliver), claim, live_room));
            return false;
        }
        if is_time_to_look {
            (self.claims_left, self.of_others_left) = (CLAIMS_IN_A_ROW, CLAIMS_OF_OTHERS);
            let next = self.looks.next(|| lanes.is_page_wanted());
            self.question.spawn(look(Arc::clone(&self.deliver), next));
        }
        is_time_to_look
    }

    /// Whom a claim may be made for now.
    fn whom(&self, is_time_to_look: bool) -> Option<Whom> {
        match (is_time_to_look, self.claims_left, self.of_others_left) {
            _ if self.is_in_vain => None,
            (false, ..) => Some(Whom::Anybody),
            (true, 0, _) => None,
            (true, _, 0) => Some(Whom::Answering),
            (true, ..) => Some(Whom::Anybody),
        }
    }

    /// The answer to the question under way; `None` when there is none. No answer is lost if this is dropped.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let answer = self.question.join_next().await?.unwrap_or(Answer::Silence);
        self.is_in_vain = matches!(answer, Answer::Silence);
        if let Answer::Due(found, wait) = &answer {
            self.looks.heed(found, *wait);
        }
        Some(answer)
    }
}

async fn look(deliver: Arc<DeliverLoop>, look: Look) -> Answer {
    match looking::look(&deliver, look).await {
        Ok((found, wait)) => Answer::Due(found, wait),
        Err(cause) => {
            tracing::warn!(%cause, "what is due cannot be looked up; trying again");
            Answer::Silence
        }
    }
}

async fn make(deliver: Arc<DeliverLoop>, claim: Claim, live_room: usize) -> Answer {
    let Claim { endpoint, limit, .. } = &claim;
    let (parts, lease) = (&deliver.parts, deliver.config.lease);
    let now = parts.clock.now();
    // Before any lease begins: how long the store, or whoever takes up the answer, lets it wait comes off the time in
    // which its attempt may begin.
    let since = Instant::now();
    match parts.store.claim_deliveries(&parts.node, endpoint, *limit, lease, now).await {
        Ok(mut leases) => {
            if let Err(cause) = deliver.keep_files(&mut leases).await {
                tracing::warn!(%cause, "what deliveries name could not be kept; trying again");
                deliver.give_back(leases, None).await;
                return Answer::Silence;
            }
            deliver.add_live(endpoint, (*limit).min(leases.len() + live_room), &mut leases).await;
            Answer::Claimed { claim, since, leases }
        }
        Err(cause) => {
            tracing::warn!(%cause, "no delivery could be claimed; trying again");
            Answer::Silence
        }
    }
}
