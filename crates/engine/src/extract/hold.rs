//! Keeping leases: one heartbeat for all jobs that this node works on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Job, JobId, Lease};
use tokio_util::sync::CancellationToken;

use super::ExtractLoop;

/// The jobs that this node works on, each with its fence and the token by which its run hears of a lost lease.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<JobId, (u32, CancellationToken)>>);

impl Held {
    /// Notes a job; the token is cancelled when its lease is lost.
    pub(super) fn add(&self, lease: &Lease<Job>) -> CancellationToken {
        let lost = CancellationToken::new();
        if let Some((_, older)) = self.lock().insert(lease.item.id.clone(), (lease.attempt, lost.clone())) {
            // This node has claimed the job again while its own earlier run still goes on: that one is over.
            older.cancel();
        }
        lost
    }

    /// Forgets a job, unless a later claim of this node has taken its place.
    pub(super) fn remove(&self, lease: &Lease<Job>) {
        let mut held = self.lock();
        if held.get(&lease.item.id).is_some_and(|(fence, _)| *fence == lease.attempt) {
            held.remove(&lease.item.id);
        }
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExtractLoop {
    /// Extends all held leases, three times a lease. While the store is out of reach the jobs go on: if it takes too
    /// long they will be fenced at their end, and nothing worse.
    pub(super) async fn keep_leases(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.config.lease / 3).await;
            let held = self.held.list();
            if held.is_empty() {
                continue;
            }
            match self.parts.store.extend_jobs(&self.parts.node, &held, self.config.lease).await {
                Ok(lost) => lost.iter().for_each(|job| self.held.lose(job)),
                Err(cause) => tracing::warn!(%cause, "leases could not be extended; trying again"),
            }
        }
    }
}
