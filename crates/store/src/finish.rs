//! How a job ends: one transaction with the final state, the event's exact bytes under the key's next number, and
//! the errand of delivering it. Either all of it is there or none.

use std::time::Duration;

use domain::{
    Completed, DeliveryId, EndpointId, EventId, EventKind, Failed, Job, Lease, Receiver, Timestamp,
};

use crate::database::Tx;
use crate::delivery_queue::Stage;
use crate::endpoints::expect_delivery;
use crate::error::StoreError;
use crate::live::silence;
use crate::queue::take_lease;
use crate::result_row::result_to_text;
use crate::row::{failure_to_text, input_to_text};
use crate::sql::sql;
use crate::{Store, millis};

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With a result.
    Completed(Completed),
    /// Without.
    Failed(Failed),
}

/// An event that has no number yet: it gets one when it becomes true.
#[derive(Clone, PartialEq)]
pub struct EventDraft {
    /// What receivers see as `webhook-id`.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// What every receiver gets, byte for byte.
    pub body: Vec<u8>,
}

/// Whether a job ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It did, and its event has this number among the key's.
    Finished {
        /// From 1, without gaps.
        sequence: u64,
    },
    /// The lease is no longer the newest: somebody else ends the job, and nothing was changed.
    Fenced,
}

impl Store {
    /// Ends a job, with what the lease's holder has learned of its source. With `deliver`, the event is brought to
    /// the job's webhook under this name: at once, or when a live event that is under way is over.
    pub async fn finish_job(
        &self,
        lease: &Lease<Job>,
        ending: &Ending,
        event: EventDraft,
        deliver: Option<DeliveryId>,
        now: Timestamp,
    ) -> Result<Finish, StoreError> {
        let job = &lease.item;
        let mut tx = self.database.begin().await?;
        let Some(percent) = take_lease(&mut tx, lease).await? else { return Ok(Finish::Fenced) };
        if !end(&mut tx, lease, ending, percent).await? {
            return Ok(Finish::Fenced);
        }
        let live = job.spec.options.wants_live();
        let held = if live { silence(&mut tx, &job.id).await? } else { Duration::ZERO };
        // Last of the locks, because every job of the key that ends now waits for it.
        let sequence = next_sequence(&mut tx, job).await?;
        insert_event(&mut tx, job, &event, sequence, now).await?;
        if let Some(delivery) = &deliver {
            let waits = Waits { from: now.plus(held), stage: Stage::First };
            insert_delivery(&mut tx, delivery, job, &event.id, waits, now).await?;
        }
        tx.commit().await?;
        if deliver.is_some() {
            self.wake.hint_deliveries();
        }
        let sequence = u64::try_from(sequence)
            .map_err(|_| StoreError::Defect(format!("{} has a negative event number", job.key)))?;
        Ok(Finish::Finished { sequence })
    }
}

/// Writes the final state; whether the row was still processing under this fence.
async fn end(tx: &mut Tx, lease: &Lease<Job>, ending: &Ending, percent: i64) -> Result<bool, StoreError> {
    let (state, outcome, finished_at, expires_at, percent) = match ending {
        Ending::Completed(completed) => {
            let outcome = result_to_text(&completed.result)?;
            ("completed", outcome, completed.at, completed.expires_at, 100)
        }
        // What a failed job left behind is of no use to anybody: its files may go at once.
        Ending::Failed(failed) => {
            let outcome = failure_to_text(&failed.failure)?;
            ("failed", outcome, failed.at, failed.at, percent.max(i64::from(failed.percent.get())))
        }
    };
    let input = lease.item.input.as_ref().map(input_to_text).transpose()?;
    let update =
        sql("UPDATE jobs SET state = $1, outcome = $2, finished_at = $3, expires_at = $4, percent = $5, \
         input = COALESCE($8, input), fetched_bytes = $9, fetched_requests = $10 \
         WHERE id = $6 AND fence = $7 AND state = 'processing'")
        .bind(state)
        .bind(outcome)
        .bind(millis(finished_at))
        .bind(millis(expires_at))
        .bind(percent)
        .bind(lease.item.id.as_str())
        .bind(lease.attempt)
        .bind(input)
        .bind(lease.item.fetched.bytes)
        .bind(lease.item.fetched.requests);
    Ok(tx.execute(update).await? == 1)
}

async fn next_sequence(tx: &mut Tx, job: &Job) -> Result<i64, StoreError> {
    let update = sql("UPDATE event_counters SET last_sequence = last_sequence + 1 WHERE key_id = $1 \
         RETURNING last_sequence");
    let row = tx.fetch_optional(update.bind(job.key.as_str())).await?;
    let row = row.ok_or_else(|| StoreError::corrupt("keys", job.key.as_str(), "it has no event counter"))?;
    Ok(row.get("last_sequence")?)
}

/// Writes an event down.
pub(crate) async fn insert_event(
    tx: &mut Tx,
    job: &Job,
    event: &EventDraft,
    sequence: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let insert = sql("INSERT INTO events (id, key_id, sequence, job_id, kind, body, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)")
    .bind(event.id.as_str())
    .bind(job.key.as_str())
    .bind(sequence)
    .bind(job.id.as_str())
    .bind(event.kind.as_str())
    .bind(event.body.as_slice())
    .bind(millis(now));
    tx.execute(insert).await.map(drop)
}

/// How a delivery begins to wait.
pub(crate) struct Waits {
    /// Not sent before.
    pub(crate) from: Timestamp,
    /// In which line.
    pub(crate) stage: Stage,
}

/// Makes an event wait to be brought to the job's webhook; its endpoint, which is locked.
pub(crate) async fn insert_delivery(
    tx: &mut Tx,
    id: &DeliveryId,
    job: &Job,
    event: &EventId,
    waits: Waits,
    now: Timestamp,
) -> Result<EndpointId, StoreError> {
    let url =
        job.spec.options.webhook.as_ref().ok_or_else(|| {
            StoreError::Defect(format!("{} has no webhook to deliver its event to", job.id))
        })?;
    let endpoint = expect_delivery(tx, &job.key, url, now).await?;
    let insert = sql("INSERT INTO deliveries \
         (id, key_id, event_id, job_id, receiver, url, state, attempts, created_at, endpoint_id) \
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', 0, $7, $8)")
    .bind(id.as_str())
    .bind(job.key.as_str())
    .bind(event.as_str())
    .bind(job.id.as_str())
    .bind(Receiver::of(url.url()).as_str())
    .bind(url.as_written())
    .bind(millis(now))
    .bind(endpoint.as_str());
    tx.execute(insert).await?;
    let insert = sql(
        "INSERT INTO delivery_queue (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay) \
         VALUES ($1, $2, $3, $4, 1, 0, 0)",
    )
    .bind(id.as_str())
    .bind(endpoint.as_str())
    .bind(waits.stage.as_str())
    .bind(millis(waits.from));
    tx.execute(insert).await?;
    Ok(endpoint)
}
