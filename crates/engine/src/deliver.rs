//! The deliver loop: claims deliveries that are due, sends each, and records every attempt.
//!
//! Attempts are recorded in groups: one transaction for all that ended while the last one was being written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{
    Clock, Delivery, DeliveryAttempt, KeyId, Lease, NodeId, Notice, Notifier, RetryPolicy, SendOutcome,
    SigningKeys, Timestamp,
};
use store::{Next, Store, StoreError, Wakes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chance::random_unit;

/// How many ended attempts one transaction records at most.
const MAX_RECORD_GROUP: usize = 256;
/// How long a key's signing keys are remembered: a new one takes effect within this time.
const KEYS_FRESH: Duration = Duration::from_secs(5);

/// The bounds of delivering.
#[derive(Debug, Clone)]
pub struct DeliverConfig {
    /// Attempts at once on this node.
    pub slots: usize,
    /// How long a claim lasts; must be longer than an attempt can take.
    pub lease: Duration,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// The longest wait that a receiver's `Retry-After` can ask for.
    pub max_retry_after: Duration,
    /// How often the deliveries are looked at when no hint came.
    pub poll: Duration,
    /// How long attempts under way may go on after a stop.
    pub grace: Duration,
}

/// What the loop works with.
pub struct DeliverParts {
    /// Where deliveries are.
    pub store: Store,
    /// Sends.
    pub notifier: Arc<dyn Notifier>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node: NodeId,
}

/// The loop.
pub struct DeliverLoop {
    parts: DeliverParts,
    config: DeliverConfig,
    keys: Mutex<HashMap<KeyId, Remembered>>,
}

/// A key's signing keys as they were a moment ago.
#[derive(Clone)]
struct Remembered {
    read_at: Instant,
    keys: Arc<SigningKeys>,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < KEYS_FRESH
    }
}

/// An attempt that has ended, and what follows from it.
type Ended = (Lease<Delivery>, DeliveryAttempt, Next);

impl DeliverLoop {
    /// A loop over these parts; nothing happens before [`Self::run`].
    pub fn new(parts: DeliverParts, config: DeliverConfig) -> Self {
        Self { parts, config, keys: Mutex::default() }
    }

    /// Runs until `stop`, then lets attempts under way end within the configured grace.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (ended, to_record) = mpsc::channel(MAX_RECORD_GROUP);
        let recorder = tokio::spawn(Arc::clone(&this).record(to_record));
        let mut sending = JoinSet::new();
        // Made before the first claim, so that no hint falls between a claim and the wait after it.
        let mut wakes = this.parts.store.wakes();
        while !stop.is_cancelled() {
            let is_more_likely = this.claim(&mut sending, &ended).await;
            this.wait(&mut sending, &mut wakes, &stop, is_more_likely).await;
        }
        let finished = async { while sending.join_next().await.is_some() {} };
        if tokio::time::timeout(this.config.grace, finished).await.is_err() {
            // Cut off in the middle; their leases run out and they are sent again, with the same id.
            sending.shutdown().await;
        }
        drop(ended);
        if tokio::time::timeout(this.config.grace, recorder).await.is_err() {
            tracing::warn!(
                "the store is out of reach: attempts that were made are not recorded and will be made again"
            );
        }
    }

    /// Fills the free slots. True: there was more due than slots.
    async fn claim(self: &Arc<Self>, sending: &mut JoinSet<()>, ended: &mpsc::Sender<Ended>) -> bool {
        let free = self.config.slots.saturating_sub(sending.len());
        if free == 0 {
            return true;
        }
        let now = self.parts.clock.now();
        match self.parts.store.claim_deliveries(&self.parts.node, free, self.config.lease, now).await {
            Ok(leases) => {
                let is_full = leases.len() == free;
                for lease in leases {
                    sending.spawn(Arc::clone(self).send(lease, ended.clone()));
                }
                is_full
            }
            Err(cause) => {
                tracing::warn!(%cause, "no delivery could be claimed; trying again");
                false
            }
        }
    }

    /// Waits for a reason to look again: a free slot if more is due, a hint, the poll, or the stop.
    async fn wait(
        &self,
        sending: &mut JoinSet<()>,
        wakes: &mut Wakes,
        stop: &CancellationToken,
        is_more_likely: bool,
    ) {
        let is_idle = sending.is_empty();
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = sending.join_next(), if !is_idle && is_more_likely => {}
            () = wakes.deliveries(), if !is_more_likely => {}
            () = tokio::time::sleep(self.config.poll) => {}
        }
        while sending.try_join_next().is_some() {}
    }

    async fn send(self: Arc<Self>, lease: Lease<Delivery>, ended: mpsc::Sender<Ended>) {
        let delivery = &lease.item;
        let signing = match self.signing_keys(&delivery.event.key).await {
            Ok(signing) => signing,
            Err(cause) => {
                // Nothing was sent. The lease runs out, and it is tried again.
                tracing::error!(delivery = %delivery.id, %cause, "the signing keys cannot be read");
                return;
            }
        };
        let started_at = self.parts.clock.now();
        let notice = Notice {
            event: &delivery.event,
            url: &delivery.url,
            attempt: lease.attempt,
            at: started_at,
            signing: &signing,
            is_replay: delivery.is_replay,
            is_file_gone: delivery.is_file_gone,
        };
        let outcome = self.parts.notifier.send(notice).await;
        let next = self.next(lease.attempt, &outcome, self.parts.clock.now());
        log(&lease, &outcome, &next);
        let attempt = DeliveryAttempt { number: lease.attempt, started_at, outcome };
        // The recorder is gone only when the process stops; then the lease runs out and it is sent again.
        let _ = ended.send((lease, attempt, next)).await;
    }

    /// What follows from an attempt. `Retry-After` can make a wait longer, never shorter.
    fn next(&self, attempt: u32, outcome: &SendOutcome, now: Timestamp) -> Next {
        if outcome.is_delivered() {
            return Next::Delivered;
        }
        if outcome.is_gone() {
            return Next::Exhausted;
        }
        match self.config.retry.wait_after(attempt, random_unit()) {
            None => Next::Exhausted,
            Some(wait) => {
                let asked = outcome.retry_after.unwrap_or_default().min(self.config.max_retry_after);
                Next::RetryAt(now.plus(wait.max(asked)))
            }
        }
    }

    async fn signing_keys(&self, key: &KeyId) -> Result<Arc<SigningKeys>, StoreError> {
        let known = self.remembered().get(key).cloned();
        if let Some(known) = known.filter(Remembered::is_fresh) {
            return Ok(known.keys);
        }
        let keys = Arc::new(self.parts.store.signing_keys(key).await?);
        let mut remembered = self.remembered();
        // What is stale goes, so that the map holds no more than the keys of the last seconds.
        remembered.retain(|_, known| known.is_fresh());
        let known = Remembered { read_at: Instant::now(), keys: Arc::clone(&keys) };
        remembered.insert(key.clone(), known);
        Ok(keys)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<KeyId, Remembered>> {
        // Nothing panics while it holds the lock; if something did, the map is still whole.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records ended attempts in groups until the last sender is gone.
    async fn record(self: Arc<Self>, mut to_record: mpsc::Receiver<Ended>) {
        let mut group = Vec::new();
        while to_record.recv_many(&mut group, MAX_RECORD_GROUP).await > 0 {
            self.record_group(&group).await;
            group.clear();
        }
    }

    /// Tries until the store takes it, or says that it cannot: an attempt that is not recorded is made again.
    async fn record_group(&self, group: &[Ended]) {
        loop {
            match self.parts.store.record_attempts(group, self.parts.clock.now()).await {
                Ok(recorded) => {
                    let fenced = recorded.iter().filter(|is_recorded| !**is_recorded).count();
                    if fenced > 0 {
                        tracing::warn!(fenced, "attempts ended after their lease; they will be made again");
                    }
                    return;
                }
                Err(cause) if cause.is_unavailable() => {
                    tracing::warn!(%cause, attempts = group.len(), "the store is out of reach; attempts wait to be recorded");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(cause) => {
                    tracing::error!(%cause, attempts = group.len(), "attempts could not be recorded; they will be made again");
                    return;
                }
            }
        }
    }
}

fn log(lease: &Lease<Delivery>, outcome: &SendOutcome, next: &Next) {
    let then = match next {
        Next::Delivered => "delivered",
        Next::RetryAt(_) => "retry",
        Next::Exhausted => "exhausted",
    };
    metrics::counter!("audio_extract_webhook_attempts_total", "then" => then).increment(1);
    metrics::histogram!("audio_extract_webhook_seconds").record(outcome.took.as_secs_f64());
    tracing::info!(
        delivery = %lease.item.id,
        event = %lease.item.event.id,
        job = %lease.item.event.job,
        url = %lease.item.url,
        attempt = lease.attempt,
        status = outcome.status,
        error = outcome.error.map(|error| error.as_str()),
        took_ms = outcome.took.as_millis(),
        then,
        "webhook attempt"
    );
}
