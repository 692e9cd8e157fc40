//! The deliver loop: claims deliveries that are due, sends each, and records every attempt.
//!
//! What is due is found by [`looking`] and claimed by [`asking`]. Whose turn it is, is decided in [`lanes`]: each receiver
//! has a window of its own ([`window`]), so that one that does not answer delays nobody else. [`attempt`] makes one
//! attempt, and [`circuit`] says what it means for the URL it went to. Attempts are recorded in groups ([`record`]): one
//! transaction for all that ended while the last ones were being written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{
    CircuitPolicy, Clock, Delivery, KeyId, Lease, NodeId, Notifier, RetryPolicy, SendOutcome, Timestamp,
};
use store::{Store, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod asking;
mod attempt;
mod circuit;
mod lanes;
mod live;
mod looking;
mod record;
mod sending;
mod window;

use asking::{Answer, Asking};
use attempt::Remembered;
use lanes::{Caps, Lanes, Place};
use looking::{Found, LOOK_AGAIN};
use record::Ended;
use sending::Sending;
use window::Bounds;

/// The shortest time between two looks at what is due, so that a stream of hints does not become a stream of queries.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The bounds of delivering.
#[derive(Debug, Clone)]
pub struct DeliverConfig {
    /// Attempts at once on this node.
    pub slots: usize,
    /// Of these, for one API key.
    pub slots_per_key: usize,
    /// Attempts at once to a receiver that nothing is known of yet.
    pub window_start: usize,
    /// The most attempts at once to one receiver.
    pub window_most: usize,
    /// When a URL is left alone.
    pub circuit: CircuitPolicy,
    /// How long a claim lasts; must be more than twice what an attempt can take.
    pub lease: Duration,
    /// How long one attempt at a live event (`job.started`, `job.progress`) may take, and how long it may wait for
    /// its turn when it was claimed. A job's end is held behind one for at most twice this and 2 s.
    pub live_timeout: Duration,
    /// How long the file that a delivered event names can be fetched from then on, or it is said that it is gone.
    pub undelivered_margin: Duration,
    /// What is claimed later than so long after the job's completion keeps no file any longer.
    pub undelivered_at_most: Duration,
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

/// An attempt that is over, for the lanes to learn from.
struct Over {
    place: Place,
    began: Instant,
    outcome: SendOutcome,
    /// Nothing is to be sent to its endpoint for now.
    is_left_alone: bool,
}

impl DeliverLoop {
    /// A loop over these parts; nothing happens before [`Self::run`].
    pub fn new(parts: DeliverParts, config: DeliverConfig) -> Self {
        Self { parts, config, keys: Mutex::default() }
    }

    /// Runs until `stop`, then lets attempts under way end within the configured grace.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (ended, to_record) = mpsc::channel(record::MAX_GROUP);
        let recorder = record::Recorder {
            store: this.parts.store.clone(),
            clock: Arc::clone(&this.parts.clock),
            circuit: this.config.circuit.clone(),
        };
        let recorder = tokio::spawn(recorder.run(to_record));
        let mut lanes = Lanes::new(this.caps());
        let mut sending = Sending::default();
        this.turn_after_turn(&mut lanes, &mut sending, &ended, &stop).await;
        this.give_back(lanes.take_ready(), None).await;
        let finished = async { while sending.next().await.is_some() {} };
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

    fn caps(&self) -> Caps {
        let window = Bounds { start: self.config.window_start, most: self.config.window_most };
        let open_after = self.config.circuit.open_after;
        Caps { total: self.config.slots, per_key: self.config.slots_per_key, window, open_after }
    }

    async fn turn_after_turn(
        self: &Arc<Self>,
        lanes: &mut Lanes,
        sending: &mut Sending,
        ended: &mpsc::Sender<Ended>,
        stop: &CancellationToken,
    ) {
        // Made before the first look, so that no hint falls between a look and the wait after it.
        let mut wakes = self.parts.store.wakes();
        let (mut looked_at, mut look_at) = (Instant::now(), Instant::now());
        // Where the look under way has no answer; what a hint brings forward is earlier.
        let mut unanswered = look_at;
        let mut asking = Asking::new(Arc::clone(self));
        while !stop.is_cancelled() {
            let now = Instant::now();
            if asking.next(lanes, now >= look_at) {
                unanswered = now + self.config.poll.min(LOOK_AGAIN);
                (looked_at, look_at) = (now, unanswered);
            }
            self.begin(lanes, sending, ended).await;
            let stranded = lanes.take_stranded();
            if !stranded.is_empty() {
                self.give_back(stranded, None).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(answer) = asking.answer() => {
                    if let Answer::Due(_, wait) = &answer
                        && look_at == unanswered
                    {
                        look_at = Instant::now() + *wait;
                    }
                    self.heed(lanes, answer).await;
                }
                Some(over) = sending.next() => {
                    self.learn(lanes, over).await;
                    while let Some(over) = sending.try_next() {
                        self.learn(lanes, over).await;
                    }
                    if lanes.has_passed_over() {
                        look_at = look_at.min(looked_at + LOOK_PAUSE);
                    }
                }
                () = wakes.deliveries() => look_at = look_at.min(looked_at + LOOK_PAUSE),
                () = tokio::time::sleep_until(look_at), if asking.is_idle() => {}
            }
        }
        // What is claimed by now is to be given back.
        while let Some(answer) = asking.answer().await {
            self.heed(lanes, answer).await;
        }
    }

    /// Takes over what the store has answered. What was claimed for a URL that was given up meanwhile goes back.
    async fn heed(&self, lanes: &mut Lanes, answer: Answer) {
        match answer {
            Answer::Due(Found::All(due), _) => lanes.refresh(due.endpoints),
            Answer::Due(Found::Page(due), _) => lanes.turn_page(due.endpoints),
            Answer::Due(Found::Fresh(due), _) => lanes.add(due),
            Answer::Claimed { claim, since, leases } => {
                self.give_back(lanes.claimed(claim, since, leases), None).await;
            }
            Answer::Silence => {}
        }
    }

    /// Begins the attempts whose turn it is.
    async fn begin(self: &Arc<Self>, lanes: &mut Lanes, sending: &mut Sending, ended: &mpsc::Sender<Ended>) {
        while let Some(turn) = lanes.next_turn() {
            sending.begin(Arc::clone(self), turn, ended.clone());
        }
    }

    /// Lets the lanes learn. What was claimed ahead for a URL that has just been given up for now goes back.
    async fn learn(&self, lanes: &mut Lanes, over: Over) {
        let has_failed = lanes.ended(&over.place, &over.outcome, over.began);
        if has_failed || over.is_left_alone {
            self.give_back(lanes.give_up(&over.place.endpoint), None).await;
        }
    }

    /// Has the files that these deliveries name kept for as long as promised from when their leases end: no attempt
    /// succeeds later.
    async fn keep_files(&self, leases: &mut [Lease<Delivery>]) -> Result<(), StoreError> {
        let keep = self.config.lease + self.config.undelivered_margin;
        let (now, at_most) = (self.parts.clock.now(), self.config.undelivered_at_most);
        self.parts.store.keep_claimed(leases, now, keep, at_most).await
    }

    /// Hands back what was claimed and is not sent, to be sent no earlier than `not_before`.
    async fn give_back(&self, leases: Vec<Lease<Delivery>>, not_before: Option<Timestamp>) {
        let now = self.parts.clock.now();
        let (live, leases): (Vec<_>, Vec<_>) =
            leases.into_iter().partition(|lease| lease.item.event.kind.is_live());
        let live: Vec<Ended> = live.into_iter().map(|lease| live::dropped(lease, now)).collect();
        // Nothing is lost if one of these fails: the leases run out.
        if let Err(cause) = self.parts.store.release_deliveries(&leases, not_before).await {
            tracing::warn!(%cause, deliveries = leases.len(), "deliveries could not be handed back");
        }
        if let Err(cause) = self.parts.store.record_attempts(&live, &self.config.circuit, now).await {
            tracing::warn!(%cause, deliveries = live.len(), "live events could not be dropped");
        }
    }
}
