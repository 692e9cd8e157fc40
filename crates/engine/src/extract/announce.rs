//! Telling a running job's webhook of it, where that was asked for: that it has begun, and how far it is.

use std::time::Duration;

use domain::{DeliveryId, EventId, EventKind, Job, Lease, Progress};
use store::{Announced, EventDraft, StoreError};
use tokio::time::Instant;

use super::ExtractLoop;
use crate::chance::random_id;

/// What is still to be told of one run of a job.
pub(super) struct Announcements {
    wants_progress: bool,
    /// The job's start is still to be told.
    start: bool,
    /// There is progress that was not told.
    progress: bool,
    told_at: Option<Instant>,
    every: Duration,
}

impl Announcements {
    /// At most one in `every`.
    pub(super) fn new(job: &Job, every: Duration) -> Self {
        let options = &job.spec.options;
        Self {
            wants_progress: options.wants(EventKind::Progress),
            start: options.wants(EventKind::Started),
            progress: false,
            told_at: None,
            every,
        }
    }

    /// The job has come further.
    pub(super) fn note_progress(&mut self) {
        self.progress = self.wants_progress;
    }

    /// What to tell now, if anything.
    fn next(&self) -> Option<EventKind> {
        if self.told_at.is_some_and(|told| told.elapsed() < self.every) {
            return None;
        }
        match (self.start, self.progress) {
            (true, _) => Some(EventKind::Started),
            (false, true) => Some(EventKind::Progress),
            (false, false) => None,
        }
    }

    /// It was told, or will not be.
    fn done(&mut self, kind: EventKind) {
        match kind {
            EventKind::Started => self.start = false,
            _ => self.progress = false,
        }
    }
}

impl ExtractLoop {
    /// Tells what there is to tell by now. `false`: the lease is over.
    pub(super) async fn announce(
        &self,
        lease: &Lease<Job>,
        announcements: &mut Announcements,
        progress: Progress,
    ) -> bool {
        let Some(kind) = announcements.next() else { return true };
        match self.tell(lease, kind, progress).await {
            Ok(Announced::Fenced) => return false,
            // The newest of the next time is told instead.
            Ok(Announced::Busy) => {}
            Ok(Announced::Dropped) => announcements.done(kind),
            Ok(Announced::Waiting) => {
                announcements.done(kind);
                announcements.told_at = Some(Instant::now());
            }
            Err(cause) => tracing::debug!(job = %lease.item.id, %cause, "a live event was not written"),
        }
        true
    }

    async fn tell(
        &self,
        lease: &Lease<Job>,
        kind: EventKind,
        progress: Progress,
    ) -> Result<Announced, StoreError> {
        let (job, now) = (&lease.item, self.parts.clock.now());
        let body = match kind {
            EventKind::Started => wire::event::started(job, now),
            _ => wire::event::progress(job, progress, now),
        };
        let event = EventDraft { id: EventId::from_random(random_id()), kind, body };
        self.parts.store.announce(lease, &event, &DeliveryId::from_random(random_id()), now).await
    }
}
