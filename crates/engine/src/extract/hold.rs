//! Keeping leases: one heartbeat for all jobs that this node works on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Job, JobId, Lease};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::ExtractLoop;

/// The jobs that this node works on, each with its fence and the token by which its run hears of a lost lease.
#[derive(Default)]
pub(super) struct Held {
    jobs: Mutex<HashMap<JobId, (u32, CancellationToken)>>,
    added: Notify,
}

/// A run that holds a job's lease: when this is gone, however the run ended, no heartbeat keeps the lease alive, so
/// that a job whose run panicked is tried again.
pub(super) struct Holding<'a> {
    held: &'a Held,
    job: JobId,
    fence: u32,
    lost: CancellationToken,
}

impl Holding<'_> {
    /// Waits until the lease is lost.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        // A later claim of this node may have taken its place.
        if held.get(&self.job).is_some_and(|(fence, _)| *fence == self.fence) {
            held.remove(&self.job);
        }
    }
}

impl Held {
    /// Notes a job for as long as its run lives.
    pub(super) fn add(&self, lease: &Lease<Job>) -> Holding<'_> {
        let lost = CancellationToken::new();
        if let Some((_, older)) = self.lock().insert(lease.item.id.clone(), (lease.attempt, lost.clone())) {
            // This node has claimed the job again while its own earlier run still goes on: that one is over.
            older.cancel();
        }
        self.added.notify_one();
        Holding { held: self, job: lease.item.id.clone(), fence: lease.attempt, lost }
    }

    fn list(&self) -> Vec<(JobId, u32)> {
        self.lock().iter().map(|(job, (fence, _))| (job.clone(), *fence)).collect()
    }

    fn lose(&self, job: &JobId) {
        if let Some((_, lost)) = self.lock().get(job) {
            lost.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, (u32, CancellationToken)>> {
        // Nothing panics while it holds the lock; if something did, the map is still whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExtractLoop {
    /// Extends all held leases, three times a lease; sleeps while there is none. While the store is out of reach the
    /// jobs go on: if it takes too long they will be fenced at their end, and nothing worse.
    pub(super) async fn keep_leases(self: Arc<Self>) {
        loop {
            let held = self.held.list();
            if held.is_empty() {
                self.held.added.notified().await;
                tokio::time::sleep(self.config.lease / 3).await;
                continue;
            }
            match self.parts.store.extend_jobs(&self.parts.node, &held, self.config.lease).await {
                Ok(lost) => lost.iter().for_each(|job| self.held.lose(job)),
                Err(cause) => tracing::warn!(%cause, "leases could not be extended; trying again"),
            }
            tokio::time::sleep(self.config.lease / 3).await;
        }
    }
}
