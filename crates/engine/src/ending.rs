//! The end of a job, told to the store in one piece: final state, event, and the errand of delivering it.

use std::time::Duration;

use domain::{DeliveryId, EventId, EventKind, Job, JobState, Lease, Timestamp};
use store::{Ending, EventDraft, Finish, Store, StoreError};

use crate::chance::random_id;
use crate::links::Links;

/// Ends a leased job. Tries again while the store is out of reach: the work is done, and only this record of it is
/// missing. `Fenced` means that somebody else ended it, or that an earlier try of ours did without our hearing of it.
pub(crate) async fn finish(
    store: &Store,
    links: &Links,
    lease: &Lease<Job>,
    ending: &Ending,
    now: Timestamp,
) -> Result<Finish, StoreError> {
    const PAUSES_SECS: [u64; 6] = [1, 2, 4, 8, 15, 30];
    let draft = event(&lease.item, ending, links);
    let deliver = lease.item.spec.options.wants(draft.kind).then(|| DeliveryId::from_random(random_id()));
    for pause in PAUSES_SECS {
        match store.finish_job(lease, ending, draft.clone(), deliver.clone(), now).await {
            Err(cause) if cause.is_unavailable() => {
                tracing::warn!(job = %lease.item.id, %cause, "the store is out of reach; the job's end is kept and tried again");
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            other => return other,
        }
    }
    store.finish_job(lease, ending, draft, deliver, now).await
}

fn event(job: &Job, ending: &Ending, links: &Links) -> EventDraft {
    let id = EventId::from_random(random_id());
    match ending {
        Ending::Completed(completed) => {
            let link = links.public_url(&job.id, &completed.result.filename);
            EventDraft { id, kind: EventKind::Completed, body: wire::event::completed(job, completed, &link) }
        }
        Ending::Failed(failed) => {
            EventDraft { id, kind: EventKind::Failed, body: wire::event::failed(job, failed) }
        }
    }
}

/// Whether the store has this very result as the job's, although it said that the lease is over: then an earlier try
/// to finish went through unheard.
pub(crate) async fn is_ours(store: &Store, lease: &Lease<Job>, location: &str) -> Result<bool, StoreError> {
    let job = store.any_job(&lease.item.id).await?;
    Ok(job.is_some_and(
        |job| matches!(job.state, JobState::Completed(done) if done.result.location == location),
    ))
}
