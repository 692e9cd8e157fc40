//! Writing down what came of attempts, in groups: a commit costs a disk's flush however much is in it.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Delivery, DeliveryAttempt, EndpointVerdict, Lease};
use store::{Next, Store};
use tokio::sync::mpsc;

/// How many attempts one transaction records at most.
pub(super) const MAX_GROUP: usize = 256;
/// How long to wait before a store that was out of reach is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// An attempt that has ended, and what follows from it for the delivery and for its endpoint.
pub(super) type Ended = (Lease<Delivery>, DeliveryAttempt, Next, EndpointVerdict);

/// Records until the last sender is gone.
pub(super) async fn run(store: Store, clock: Arc<dyn Clock>, mut to_record: mpsc::Receiver<Ended>) {
    let mut group = Vec::new();
    while to_record.recv_many(&mut group, MAX_GROUP).await > 0 {
        record(&store, clock.as_ref(), &group).await;
        group.clear();
    }
}

/// Tries until the store takes it, or says that it cannot: an attempt that is not recorded is made again.
async fn record(store: &Store, clock: &dyn Clock, group: &[Ended]) {
    loop {
        match store.record_attempts(group, clock.now()).await {
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
