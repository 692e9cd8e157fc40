//! The extract loop: claims as many jobs as this node has free slots, works on them, and ends or hands back each.
//!
//! What a job does is in [`work`]; how far it is, in [`progress`]; how its lease is kept, in [`hold`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{
    Clock, Extractor, Failure, FailureCode, Job, JobState, Lease, NodeId, Processing, PublicFailure, Retry,
    SourceOpener, Timestamp,
};
use store::{Ending, FileStore, Finish, Store, Wakes};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ending;
use crate::links::Links;

mod announce;
mod hold;
mod progress;
mod work;

use hold::Held;
use progress::Tracker;

/// The bounds of extracting.
#[derive(Debug, Clone)]
pub struct ExtractConfig {
    /// Extractions at once on this node.
    pub slots: usize,
    /// How long a claim lasts without a heartbeat; one is sent three times as often.
    pub lease: Duration,
    /// How often a job is tried, counted at the claim.
    pub max_attempts: u32,
    /// The wait before the second, third, … attempt; the last is used for all further ones.
    pub retry_waits: Vec<Duration>,
    /// How often the queue is looked at when no hint came.
    pub poll: Duration,
    /// How often progress is written, at most.
    pub progress_every: Duration,
    /// How often a running job's webhook is told of it, at most; no oftener than `progress_every`.
    pub announce_every: Duration,
    /// How long a result is kept.
    pub retention: Duration,
    /// Where results are written before they are stored.
    pub scratch: PathBuf,
    /// Below so many free bytes there, no job is claimed.
    pub min_free_bytes: u64,
    /// How long running jobs may go on after a stop before they are handed back.
    pub grace: Duration,
}

/// What the loop works with.
pub struct ExtractParts {
    /// Where jobs are.
    pub store: Store,
    /// Where results go.
    pub files: FileStore,
    /// Opens sources.
    pub opener: Arc<dyn SourceOpener>,
    /// Makes audio.
    pub extractor: Arc<dyn Extractor>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Makes public links.
    pub links: Links,
    /// This node.
    pub node: NodeId,
}

/// How long after a claim that could not be made the next one comes.
const CLAIM_AGAIN: Duration = Duration::from_secs(1);

/// The loop.
pub struct ExtractLoop {
    parts: ExtractParts,
    config: ExtractConfig,
    held: Held,
}

/// How a run of a job ended, before anything is told to the store.
enum Run {
    /// With audio.
    Made(domain::ResultFile),
    /// Without.
    Failed(Failure),
    /// The lease is another's by now.
    Lost,
    /// This node stops.
    Stopped,
}

impl ExtractLoop {
    /// A loop over these parts; nothing happens before [`Self::run`].
    pub fn new(parts: ExtractParts, config: ExtractConfig) -> Self {
        Self { parts, config, held: Held::default() }
    }

    /// Runs until `stop`, then lets what runs go on for the configured grace and hands the rest back.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let hand_back = CancellationToken::new();
        let heartbeat = tokio::spawn(Arc::clone(&this).keep_leases());
        let mut running = JoinSet::new();
        // Made before the first claim, so that no hint falls between a claim and the wait after it.
        let mut wakes = this.parts.store.wakes();
        while !stop.is_cancelled() {
            let look_after = this.claim(&mut running, &hand_back).await;
            this.wait(&mut running, &mut wakes, look_after, &stop).await;
        }
        let finished = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(this.config.grace, finished).await.is_err() {
            hand_back.cancel();
            while running.join_next().await.is_some() {}
        }
        heartbeat.abort();
    }

    /// Fills the free slots; how long until there may be something for those that are left.
    async fn claim(self: &Arc<Self>, running: &mut JoinSet<()>, hand_back: &CancellationToken) -> Duration {
        let free = self.config.slots.saturating_sub(running.len());
        let (poll, soon) = (self.config.poll, self.config.poll.min(CLAIM_AGAIN));
        if free == 0 {
            return poll;
        }
        if !self.has_disk() {
            return soon;
        }
        // A claim is a transaction that writes: not where nothing happens.
        let due_in = self.next_due().await;
        if !due_in.is_zero() {
            return due_in.min(poll);
        }
        let claimed = self
            .parts
            .store
            .claim_jobs(&self.parts.node, free, self.config.lease, self.parts.clock.now())
            .await;
        match claimed {
            Ok(leases) => {
                let left = free - leases.len().min(free);
                for lease in leases {
                    running.spawn(Arc::clone(self).run_job(lease, hand_back.clone()));
                }
                // What is left in the queue may be locked by other nodes, or be due any moment.
                if left > 0 { soon } else { poll }
            }
            Err(cause) => {
                tracing::warn!(%cause, "no job could be claimed; trying again");
                soon
            }
        }
    }

    /// How long until a job can be claimed.
    async fn next_due(&self) -> Duration {
        let now = self.parts.clock.now();
        match self.parts.store.next_job_due(now).await {
            Ok(next) => next.map_or(Duration::MAX, |next| next.since(now)),
            Err(cause) => {
                tracing::warn!(%cause, "when the next job is due cannot be looked up; trying again");
                CLAIM_AGAIN
            }
        }
    }

    /// Waits for a reason to look again: a free slot, a hint, the time, or the stop.
    async fn wait(
        &self,
        running: &mut JoinSet<()>,
        wakes: &mut Wakes,
        look_after: Duration,
        stop: &CancellationToken,
    ) {
        let is_full = running.len() >= self.config.slots;
        let is_idle = running.is_empty();
        tokio::select! {
            () = stop.cancelled() => {}
            Some(_) = running.join_next(), if !is_idle => {}
            () = wakes.jobs(), if !is_full => {}
            () = tokio::time::sleep(look_after) => {}
        }
    }

    /// Whether there is room to work in; new work waits for it rather than failing half-way.
    fn has_disk(&self) -> bool {
        match store::free_bytes(&self.config.scratch) {
            Ok(free) if free >= self.config.min_free_bytes => true,
            Ok(free) => {
                tracing::warn!(free, floor = self.config.min_free_bytes, "too little free disk; jobs wait");
                false
            }
            Err(cause) => {
                tracing::error!(%cause, "the scratch folder cannot be looked at; jobs wait");
                false
            }
        }
    }

    async fn run_job(self: Arc<Self>, mut lease: Lease<Job>, hand_back: CancellationToken) {
        let JobState::Processing(processing) = lease.item.state.clone() else {
            tracing::error!(job = %lease.item.id, "a claimed job is not processing");
            return;
        };
        let started = tokio::time::Instant::now();
        let measures = lease.item.spec.output.normalize.is_some();
        let tracker = Tracker::new(processing.progress.percent, lease.item.fetched, measures);
        let holding = self.held.add(&lease);
        let run = tokio::select! {
            made = self.work(&lease, &tracker) => made.map_or_else(Run::Failed, Run::Made),
            () = self.persist(&lease, &tracker) => Run::Lost,
            () = holding.lost() => Run::Lost,
            () = hand_back.cancelled() => Run::Stopped,
        };
        let processing = Processing { progress: tracker.current(), ..processing };
        lease.item.input = tracker.input().or(lease.item.input);
        // Read once: what status says and what the metrics sum agree, whatever still arrives.
        let fetched = tracker.tally().fetched();
        metrics::counter!("audio_extract_source_bytes_total").increment(fetched.bytes);
        metrics::counter!("audio_extract_source_requests_total").increment(fetched.requests);
        lease.item.fetched = lease.item.fetched.plus(fetched);
        self.end(&lease, processing, run).await;
        drop(holding);
        metrics::histogram!("audio_extract_job_seconds").record(started.elapsed().as_secs_f64());
    }

    /// Tells the store how it went.
    async fn end(&self, lease: &Lease<Job>, processing: Processing, run: Run) {
        let job = &lease.item.id;
        let now = self.parts.clock.now();
        match run {
            Run::Made(result) => {
                let ending = Ending::Completed(processing.complete(result, now, self.config.retention));
                self.finish(lease, &ending).await;
            }
            Run::Failed(failure) => {
                tracing::info!(%job, attempt = lease.attempt, %failure, private = failure.private, "extraction failed");
                if failure.retry == Retry::Worthwhile && lease.item.attempts < self.config.max_attempts {
                    let not_before = now.plus(self.retry_wait(lease.item.attempts));
                    self.release(lease, processing, not_before, false).await;
                } else {
                    let failure = spent(failure, lease.item.attempts);
                    self.finish(lease, &Ending::Failed(processing.fail(failure, now))).await;
                }
            }
            Run::Lost => {
                tracing::warn!(%job, attempt = lease.attempt, "the lease was lost; another attempt has taken over");
                self.discard_files(lease).await;
            }
            Run::Stopped => self.release(lease, processing, Timestamp::LONG_AGO, true).await,
        }
    }

    fn retry_wait(&self, attempts: u32) -> Duration {
        let waits = &self.config.retry_waits;
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        waits.get(index).or(waits.last()).copied().unwrap_or_default()
    }

    async fn release(&self, lease: &Lease<Job>, processing: Processing, not_before: Timestamp, refund: bool) {
        match self.parts.store.release_job(lease, processing.hand_back(), not_before, refund).await {
            Ok(_) => {}
            // Nothing is lost: the lease runs out and the sweep puts the job back.
            Err(cause) => tracing::warn!(job = %lease.item.id, %cause, "the job could not be handed back"),
        }
        self.discard_files(lease).await;
    }

    async fn finish(&self, lease: &Lease<Job>, ending: &Ending) {
        let job = &lease.item.id;
        let outcome =
            ending::finish(&self.parts.store, &self.parts.links, lease, ending, self.parts.clock.now()).await;
        let status = match ending {
            Ending::Completed(_) => "completed",
            Ending::Failed(_) => "failed",
        };
        match outcome {
            Ok(Finish::Finished { sequence }) => {
                tracing::info!(%job, attempt = lease.attempt, status, sequence, "job finished");
                metrics::counter!("audio_extract_jobs_finished_total", "status" => status).increment(1);
                if let Ending::Failed(_) = ending {
                    self.discard_files(lease).await;
                }
            }
            Ok(Finish::Fenced) => self.discard_unless_ours(lease, ending).await,
            // The files stay: whether the store has heard of them cannot be known now. The sweep decides later.
            Err(cause) => {
                tracing::error!(%job, %cause, "the job's end could not be recorded; its lease will run out")
            }
        }
    }

    async fn discard_unless_ours(&self, lease: &Lease<Job>, ending: &Ending) {
        if let Ending::Completed(completed) = ending {
            match ending::is_ours(&self.parts.store, lease, &completed.result.location).await {
                Ok(false) => {}
                Ok(true) => return,
                Err(cause) => {
                    tracing::warn!(job = %lease.item.id, %cause, "whose result stands cannot be known; files stay");
                    return;
                }
            }
        }
        self.discard_files(lease).await;
    }

    /// Deletes what this attempt stored. What is missed here goes with the job's whole folder when it expires.
    async fn discard_files(&self, lease: &Lease<Job>) {
        if let Err(cause) = self.parts.files.delete_prefix(&work::folder(lease)).await {
            tracing::warn!(job = %lease.item.id, %cause, "an attempt's files could not be deleted yet");
        }
    }
}

/// What the customer is told when the last attempt failed too.
fn spent(failure: Failure, attempts: u32) -> PublicFailure {
    let mut public = failure.public;
    if failure.retry == Retry::Worthwhile && attempts > 1 {
        let known = public.details.take().map(|details| format!("{details}; ")).unwrap_or_default();
        public.details = Some(format!("{known}tried {attempts} times"));
    }
    public
}

/// What the customer is told when the process was lost at every attempt.
pub(crate) fn crashed(attempts: u32) -> PublicFailure {
    let message =
        "The extraction was cut off every time; check that the source is sound, then submit it again.";
    Failure::permanent(FailureCode::ExtractionFailed, message)
        .with_details(format!("the worker was lost {attempts} times while working on this job"))
        .public
}
