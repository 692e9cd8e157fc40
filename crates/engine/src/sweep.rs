//! The sweep loop: what time and crashes leave behind.
//!
//! Often: leases that ran out. Seldom: results past their retention, uploads that are used up or were never used, rows
//! past their time.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Job, JobState, Lease, NodeId};
use store::{Ending, FileStore, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::ending;
use crate::extract::crashed;
use crate::links::Links;

/// How many jobs one statement looks at.
const PAGE: usize = 100;
/// How long after leases that ran out are looked at, the next look comes.
const SWEEP_AGAIN: Duration = Duration::from_secs(1);

/// The bounds of sweeping.
#[derive(Debug, Clone)]
pub struct SweepConfig {
    /// How often leases are looked at, where none runs out before.
    pub leases_every: Duration,
    /// How often results and rows are looked at.
    pub retention_every: Duration,
    /// How often a job is tried; the same as the extract loop's.
    pub max_attempts: u32,
    /// How long a claim of this loop lasts.
    pub lease: Duration,
    /// When a result's event is delivered, at whatever time, the result is kept at least this much longer.
    pub undelivered_margin: Duration,
    /// And at most so long after the job's completion.
    pub undelivered_at_most: Duration,
    /// How long it is remembered that an upload was there.
    pub remember_uploads: Duration,
    /// How long rows of ended jobs are kept.
    pub keep_rows: Duration,
}

/// What the loop works with.
pub struct SweepParts {
    /// Rows.
    pub store: Store,
    /// Files.
    pub files: FileStore,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Makes public links.
    pub links: Links,
    /// This node.
    pub node: NodeId,
}

/// The loop.
pub struct SweepLoop {
    parts: SweepParts,
    config: SweepConfig,
}

impl SweepLoop {
    /// A loop over these parts; nothing happens before [`Self::run`].
    pub fn new(parts: SweepParts, config: SweepConfig) -> Self {
        Self { parts, config }
    }

    /// Runs until `stop`. Leases and retention go their own ways, so that deleting many files holds up no lost job.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.leases_until(&stop), self.retention_until(&stop));
    }

    async fn leases_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let wait = self.due_leases().await.unwrap_or_else(|cause| {
                tracing::warn!(%cause, "leases could not be swept; trying again");
                SWEEP_AGAIN
            });
            pause(wait.min(self.config.leases_every), stop).await;
        }
    }

    async fn retention_until(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(cause) = self.retention().await {
                tracing::warn!(%cause, "retention could not be swept; trying again");
            }
            pause(self.config.retention_every, stop).await;
        }
    }

    /// Sweeps leases if one has run out; how long until the next one may.
    async fn due_leases(&self) -> Result<Duration, StoreError> {
        match self.parts.store.next_job_lease_end().await? {
            Some(left) if left.is_zero() => self.leases().await.map(|()| SWEEP_AGAIN),
            left => Ok(left.unwrap_or(Duration::MAX)),
        }
    }

    /// Puts back what a lost worker held, and fails what was lost too often.
    pub async fn leases(&self) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let released = store.release_expired_jobs(self.config.max_attempts).await?;
        if released > 0 {
            tracing::warn!(released, "jobs whose worker was lost are queued again");
        }
        let spent = store
            .claim_spent_jobs(
                &self.parts.node,
                self.config.max_attempts,
                self.config.lease,
                PAGE,
                self.parts.clock.now(),
            )
            .await?;
        for lease in spent {
            match self.fail(&lease).await {
                Ok(()) => {}
                Err(cause) if cause.is_unavailable() => return Err(cause),
                // One that cannot be ended must not keep the others from their end.
                Err(cause) => tracing::error!(job = %lease.item.id, %cause, "a lost job could not be failed"),
            }
        }
        Ok(())
    }

    async fn fail(&self, lease: &Lease<Job>) -> Result<(), StoreError> {
        let JobState::Processing(processing) = lease.item.state.clone() else {
            tracing::error!(job = %lease.item.id, "a claimed job is not processing");
            return Ok(());
        };
        let now = self.parts.clock.now();
        let failed = processing.fail(crashed(lease.item.attempts), now);
        tracing::warn!(job = %lease.item.id, attempts = lease.item.attempts, "a job was lost at every attempt; it has failed");
        ending::finish(&self.parts.store, &self.parts.links, lease, &Ending::Failed(failed), now).await?;
        Ok(())
    }

    /// How much longer than now what is undelivered is kept: as long as promised if it is delivered just before the
    /// next sweep, which may be late by the time that this one takes.
    fn margin(&self) -> Duration {
        self.config.undelivered_margin + self.config.retention_every * 2
    }

    /// Keeps what is still needed, deletes what is past its time.
    pub async fn retention(&self) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let now = self.parts.clock.now();
        // First, so that nothing that an undelivered event names is deleted below.
        store.keep_undelivered(now, self.margin(), self.config.undelivered_at_most).await?;
        loop {
            let expired = store.take_expired(now, self.config.undelivered_at_most, PAGE).await?;
            let mut swept = Vec::with_capacity(expired.len());
            for job in &expired {
                match self.parts.files.delete_prefix(job.as_str()).await {
                    Ok(()) => swept.push(job.clone()),
                    Err(cause) => {
                        tracing::warn!(%job, %cause, "expired files could not be deleted; trying again later")
                    }
                }
            }
            store.mark_swept(&swept).await?;
            if expired.len() < PAGE || swept.is_empty() {
                break;
            }
        }
        self.uploads().await?;
        let trimmed = store.trim(now, self.config.keep_rows).await?;
        if trimmed > 0 {
            tracing::info!(trimmed, "rows of old jobs were deleted");
        }
        Ok(())
    }

    /// Deletes uploads that nobody used in time, and those that were used up.
    async fn uploads(&self) -> Result<(), StoreError> {
        loop {
            let now = self.parts.clock.now();
            let taken = self.parts.store.take_uploads(now, PAGE).await?;
            let mut swept = Vec::with_capacity(taken.len());
            for id in &taken {
                match self.parts.files.delete_prefix(&crate::upload::folder(id)).await {
                    Ok(()) => swept.push(id.clone()),
                    Err(cause) => {
                        tracing::warn!(file = %id, %cause, "an upload could not be deleted; trying again later");
                    }
                }
            }
            self.parts.store.mark_uploads_swept(&swept, now, self.config.remember_uploads).await?;
            if taken.len() < PAGE || swept.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Waits, or less if it stops meanwhile.
async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
