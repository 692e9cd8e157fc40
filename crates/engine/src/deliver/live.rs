//! Live events, those of running jobs: they take what room final ones leave, are given less time, and are tried once.

use std::time::Duration;

use domain::{Delivery, DeliveryAttempt, EndpointVerdict, Lease, SendError, SendOutcome, Timestamp};
use store::{DueEndpoint, Next};

use super::DeliverLoop;
use super::record::Ended;

/// Time to write down what came of an attempt, and by which the clocks of two nodes may differ.
const SLACK: Duration = Duration::from_secs(2);

impl DeliverLoop {
    /// Claims live events of an endpoint, of which `leases` were claimed just now, up to `limit` in all.
    pub(super) async fn add_live(
        &self,
        endpoint: &DueEndpoint,
        limit: usize,
        leases: &mut Vec<Lease<Delivery>>,
    ) {
        let room = limit.saturating_sub(leases.len());
        if room == 0 {
            return;
        }
        let (store, node, now) = (&self.parts.store, &self.parts.node, self.parts.clock.now());
        // Begun in the first part of it, and over in the second.
        let lease = self.config.live_timeout * 2 + SLACK;
        match store.claim_live(node, &endpoint.id, room, lease, now).await {
            Ok(live) => leases.extend(live),
            Err(cause) => tracing::warn!(%cause, "no live event could be claimed; trying again"),
        }
    }

    /// How long after a claim was begun what it brought may be begun to be sent. What is sent later might still be under
    /// way when the lease has run out, and then another node begins, or the job's end is sent.
    pub(super) fn patience(&self, lease: &Lease<Delivery>) -> Duration {
        match lease.item.event.kind.is_live() {
            true => self.config.live_timeout,
            false => self.config.lease / 2,
        }
    }
}

/// A live event that was claimed and is not sent. It is not given back: a later one will say more.
pub(super) fn dropped(lease: Lease<Delivery>, now: Timestamp) -> Ended {
    let outcome = SendOutcome::failed(SendError::Interrupted);
    let attempt = DeliveryAttempt { number: lease.attempt, started_at: now, outcome };
    (lease, attempt, Next::Exhausted, EndpointVerdict::Unchanged)
}
