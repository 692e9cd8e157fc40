//! Writing down what came of attempts, in groups: a commit costs a disk's flush however much is in it.

use std::sync::Arc;
use std::time::Duration;

use domain::{CircuitPolicy, Clock, Delivery, DeliveryAttempt, EndpointVerdict, Lease};
use store::{Next, Store};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many attempts one transaction records at most.
pub(super) const MAX_GROUP: usize = 256;
/// How many such transactions are under way at once where the database has more than one writer: the next is begun
/// while the former one's commit is flushed.
const GROUPS_AT_ONCE: usize = 2;
/// How long to wait before a store that was out of reach is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// An attempt that has ended, and what follows from it for the delivery and for its endpoint.
pub(super) type Ended = (Lease<Delivery>, DeliveryAttempt, Next, EndpointVerdict);

/// Writes them down.
pub(super) struct Recorder {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    /// When an endpoint is left alone.
    pub(super) circuit: CircuitPolicy,
}

impl Recorder {
    /// Records until the last sender is gone.
    pub(super) async fn run(self, mut to_record: mpsc::Receiver<Ended>) {
        let this = Arc::new(self);
        let mut under_way = JoinSet::new();
        let mut group = Vec::new();
        while to_record.recv_many(&mut group, MAX_GROUP).await > 0 {
            let group = std::mem::take(&mut group);
            let is_alone = this.store.is_embedded() || group.iter().any(is_failure);
            let most = if is_alone { 1 } else { GROUPS_AT_ONCE };
            wait_for_fewer_than(most, &mut under_way).await;
            under_way.spawn(Arc::clone(&this).record(group));
            wait_for_fewer_than(most, &mut under_way).await;
        }
        wait_for_fewer_than(1, &mut under_way).await;
    }

    /// Tries until the store takes it, or says that it cannot: an attempt that is not recorded is made again.
    async fn record(self: Arc<Self>, group: Vec<Ended>) {
        loop {
            match self.store.record_attempts(&group, &self.circuit, self.clock.now()).await {
                Ok(recorded) => {
                    let fenced = recorded.iter().filter(|is_recorded| !**is_recorded).count();
                    if fenced > 0 {
                        tracing::warn!(fenced, "attempts ended after their lease; they will be made again");
                    }
                    return;
                }
                Err(cause) if cause.is_unavailable() => {
                    tracing::warn!(%cause, attempts = group.len(), "the store is out of reach; attempts wait to be recorded");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(cause) => {
                    tracing::error!(%cause, attempts = group.len(), "attempts could not be recorded; they will be made again");
                    return;
                }
            }
        }
    }
}

/// Whether it counts against its endpoint: then no other group is written beside it, or a success that came later
/// could find nothing to forgive yet, and the failure would stay.
fn is_failure((.., verdict): &Ended) -> bool {
    matches!(verdict, EndpointVerdict::Failed { .. } | EndpointVerdict::Gone)
}

async fn wait_for_fewer_than(most: usize, under_way: &mut JoinSet<()>) {
    while under_way.len() >= most {
        // If one panicked, its attempts are not recorded and will be made again.
        let _ = under_way.join_next().await;
    }
}
