//! One attempt: signed, sent if there is time for it, and what follows from it.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{
    Delivery, DeliveryAttempt, KeyId, Lease, Notice, RequestHead, SendError, SendOutcome, SigningKeys,
    Timestamp,
};
use store::{Next, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lanes::{Place, Turn};
use super::record::Ended;
use super::{DeliverLoop, Over, circuit};
use crate::chance::random_unit;

/// How long a key's signing keys are remembered: a new one takes effect within this time.
const KEYS_FRESH: Duration = Duration::from_secs(5);
/// How long a delivery is put off for which its key's signing keys could not be read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(5);

/// A key's signing keys as they were a moment ago.
#[derive(Clone)]
pub(super) struct Remembered {
    read_at: Instant,
    keys: Arc<SigningKeys>,
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < KEYS_FRESH
    }
}

impl DeliverLoop {
    /// Makes one attempt, if it can be made in time.
    pub(super) async fn send(self: Arc<Self>, turn: Turn, ended: mpsc::Sender<Ended>) -> Over {
        let Turn { lease, place, since } = turn;
        let began = Instant::now();
        let keys = match self.signing_keys(&lease.item.event.key).await {
            Ok(keys) => keys,
            Err(cause) => {
                tracing::error!(delivery = %lease.item.id, %cause, "the signing keys cannot be read");
                let later = self.parts.clock.now().plus(UNREADABLE_PAUSE);
                return self.not_made(lease, place, Some(later)).await;
            }
        };
        // After the keys, for which the store may have let it wait.
        if since.elapsed() > self.patience(&lease) {
            return self.not_made(lease, place, None).await;
        }
        let started_at = self.parts.clock.now();
        let outcome = self.parts.notifier.send(self.notice(&lease, started_at, &keys)).await;
        let now = self.parts.clock.now();
        let next = self.next(&lease, &outcome, now);
        let longest = self.config.max_retry_after;
        let verdict =
            circuit::verdict(place.endpoint.is_probe, lease.item.event.kind, &outcome, longest, now);
        let is_left_alone = circuit::is_left_alone(&verdict);
        log(&lease, &outcome, &next);
        // For the lanes, without what was said and what was answered.
        let learned = SendOutcome { answer: Vec::new(), request: RequestHead::default(), ..outcome };
        let attempt = DeliveryAttempt { number: lease.attempt, started_at, outcome };
        // The recorder is gone only when the process stops; then the lease runs out and it is sent again.
        let _ = ended.send((lease, attempt, next, verdict)).await;
        Over { place, began, outcome: learned, is_left_alone }
    }

    /// An attempt that is not made, and of which nothing is recorded: its delivery is handed back. One that is put off
    /// has its endpoint left alone for a moment, so that not all that waits there is claimed to be put off in turn.
    async fn not_made(&self, lease: Lease<Delivery>, place: Place, not_before: Option<Timestamp>) -> Over {
        self.give_back(vec![lease], not_before).await;
        let outcome = SendOutcome::failed(SendError::Interrupted);
        let is_left_alone = not_before.is_some();
        Over { place, began: Instant::now(), outcome, is_left_alone }
    }

    fn notice<'a>(&self, lease: &'a Lease<Delivery>, at: Timestamp, keys: &'a SigningKeys) -> Notice<'a> {
        let delivery = &lease.item;
        // If this attempt succeeds: it takes no longer than half of a lease.
        let promised = at.plus(self.config.lease / 2 + self.config.undelivered_margin);
        Notice {
            event: &delivery.event,
            url: &delivery.url,
            attempt: lease.attempt,
            at,
            signing: keys,
            is_replay: delivery.is_replay,
            is_file_gone: delivery.file_until.is_some_and(|until| until < promised),
            at_most: delivery.event.kind.is_live().then_some(self.config.live_timeout),
        }
    }

    /// What follows from an attempt. `Retry-After` can make a wait longer, never shorter.
    fn next(&self, lease: &Lease<Delivery>, outcome: &SendOutcome, now: Timestamp) -> Next {
        if outcome.is_delivered() {
            return Next::Delivered;
        }
        if outcome.is_gone() || lease.item.event.kind.is_live() {
            return Next::Exhausted;
        }
        match self.config.retry.wait_after(lease.item.failures + 1, random_unit()) {
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
        // In a box: it is seldom needed and large, and every attempt would have to carry room for it.
        let reading = Box::pin(self.parts.store.signing_keys(key, self.parts.clock.now()));
        let keys = Arc::new(reading.await?);
        let mut remembered = self.remembered();
        // What is stale goes, so that the map holds no more than the keys of the last seconds.
        remembered.retain(|_, known| known.is_fresh());
        remembered.insert(key.clone(), Remembered { read_at: Instant::now(), keys: Arc::clone(&keys) });
        Ok(keys)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<KeyId, Remembered>> {
        // Nothing panics while it holds the lock; if something did, the map is still whole.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(lease: &Lease<Delivery>, outcome: &SendOutcome, next: &Next) {
    let then = match next {
        Next::Delivered => "delivered",
        Next::RetryAt(_) => "retry",
        Next::Exhausted if lease.item.event.kind.is_live() => "dropped",
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
