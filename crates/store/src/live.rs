//! Live events: those of running jobs. One at a time of each job waits or is under way, so that they come in their
//! order; each is tried once; and from the moment that a job ends, none of it is begun any more.
//!
//! The end waits in turn: where a live event is under way, the final one is held until that attempt was recorded, or
//! its lease is over. So a live lease must be short, and none may be under way after it. Who ends the job and who records
//! the attempt both lock the live delivery's row, so that neither misses the other.

use std::time::Duration;

use domain::{Delivery, DeliveryId, EndpointId, EventKind, Job, JobId, Lease, NodeId, Timestamp};

use crate::database::Tx;
use crate::delivery_queue::{Stage, take, waiting};
use crate::endpoints::reckon;
use crate::error::StoreError;
use crate::finish::{EventDraft, Waits, insert_delivery, insert_event};
use crate::rows::Rows;
use crate::sql::{sql, sql_over};
use crate::{Store, millis, vault};

/// What became of a live event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// It waits to be sent. If the job's progress was still waiting, this has taken its place.
    Waiting,
    /// Not now: an earlier one of the job is under way, or its start still waits.
    Busy,
    /// Not at all: the job's start was announced before, or its URL is being left alone.
    Dropped,
    /// The lease is no longer the newest, and nothing was changed.
    Fenced,
}

impl Store {
    /// Makes a live event of a running job wait to be sent to its webhook.
    pub async fn announce(
        &self,
        lease: &Lease<Job>,
        event: &EventDraft,
        delivery: &DeliveryId,
        now: Timestamp,
    ) -> Result<Announced, StoreError> {
        let job = &lease.item;
        let mut tx = self.database.begin().await?;
        if !is_held(&mut tx, lease).await? {
            return Ok(Announced::Fenced);
        }
        if event.kind == EventKind::Started && was_started(&mut tx, &job.id).await? {
            return Ok(Announced::Dropped);
        }
        remove_waiting(&mut tx, &job.id, Some(EventKind::Progress)).await?;
        let other = sql("SELECT 1 AS one FROM deliveries WHERE job_id = $1 AND state = 'pending' LIMIT 1");
        if tx.fetch_optional(other.bind(job.id.as_str())).await?.is_some() {
            return Ok(Announced::Busy);
        }
        insert_event(&mut tx, job, event, unnumbered()?, now).await?;
        let waits = Waits { from: now, stage: Stage::Live };
        let endpoint = insert_delivery(&mut tx, delivery, job, &event.id, waits, now).await?;
        let update = sql("UPDATE endpoints SET has_live = 1 WHERE id = $1 AND state = 'healthy'");
        if tx.execute(update.bind(endpoint.as_str())).await? == 0 {
            return Ok(Announced::Dropped);
        }
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(Announced::Waiting)
    }

    /// Claims up to `limit` live deliveries of an endpoint, if it is well and wants no rest. No attempt may be under way
    /// any more when `lease` is over: so long a job's end may be held.
    pub async fn claim_live(
        &self,
        node: &NodeId,
        endpoint: &EndpointId,
        limit: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        let mut tx = self.database.begin().await?;
        let well = sql("SELECT 1 AS one FROM endpoints WHERE id = $1 AND state = 'healthy' \
             AND (retry_at IS NULL OR retry_at <= $2) {for_update}");
        if tx.fetch_optional(well.bind(endpoint.as_str()).bind(millis(now))).await?.is_none() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let picked = waiting(&mut tx, endpoint, Stage::Live, limit, now).await?;
        let claimed = take(&mut tx, node, endpoint, &picked, lease, now).await?;
        reckon(&mut tx, &[endpoint.as_str()]).await?;
        tx.commit().await?;
        Ok(claimed)
    }
}

/// A job ends here: what of it was live and waits is gone. How long its end is to be held at most, because a live
/// event is under way.
pub(crate) async fn silence(tx: &mut Tx, job: &JobId) -> Result<Duration, StoreError> {
    remove_waiting(tx, job, None).await?;
    // Its delivery is locked by now, so that who records its attempt finds the final delivery to let go.
    let under_way = sql("SELECT l.until - {clock} AS lease_left FROM deliveries d \
         JOIN delivery_leases l ON l.delivery_id = d.id \
         WHERE d.job_id = $1 AND l.stage = 'live'");
    let mut held = 0;
    for row in tx.fetch(under_way.bind(job.as_str())).await? {
        held = held.max(row.get::<i64>("lease_left")?);
    }
    Ok(Duration::from_millis(u64::try_from(held).unwrap_or(0)))
}

/// Live attempts of these jobs are over: their final deliveries, if they were held, are due now. Their endpoints'
/// `due_at` is to be reckoned anew.
pub(crate) async fn let_go(tx: &mut Tx, jobs: &[&str], now: Timestamp) -> Result<(), StoreError> {
    let rows = Rows::ids(jobs.iter().copied()).int("now", jobs.iter().map(|_| millis(now)));
    let update = "UPDATE delivery_queue SET next_at = r.now FROM {rows} JOIN deliveries d ON d.job_id = r.id \
         WHERE delivery_queue.delivery_id = d.id AND delivery_queue.stage = 'first' \
             AND delivery_queue.next_at > r.now";
    tx.execute(sql_over(rows, update)).await.map(drop)
}

/// Whether the lease is the newest; if so, it stays that until this transaction ends.
async fn is_held(tx: &mut Tx, lease: &Lease<Job>) -> Result<bool, StoreError> {
    let select = sql("SELECT 1 AS one FROM job_leases WHERE job_id = $1 AND fence = $2 {for_update}");
    Ok(tx.fetch_optional(select.bind(lease.item.id.as_str()).bind(lease.attempt)).await?.is_some())
}

async fn was_started(tx: &mut Tx, job: &JobId) -> Result<bool, StoreError> {
    let select = sql("SELECT 1 AS one FROM events WHERE job_id = $1 AND kind = $2 LIMIT 1");
    let select = select.bind(job.as_str()).bind(EventKind::Started.as_str());
    Ok(tx.fetch_optional(select).await?.is_some())
}

/// Removes a job's live event, if it is of this kind and nobody has begun to send it. The job's live delivery stays
/// locked: of a job that runs, none else is pending. Its place goes first, and if that cannot, because somebody has
/// just claimed it, nothing does.
async fn remove_waiting(tx: &mut Tx, job: &JobId, kind: Option<EventKind>) -> Result<(), StoreError> {
    let select = sql("SELECT id, event_id FROM deliveries WHERE job_id = $1 AND state = 'pending' \
         AND ($2 IS NULL OR event_id IN (SELECT e.id FROM events e WHERE e.job_id = $1 AND e.kind = $2)) \
         {for_update}")
    .bind(job.as_str())
    .bind(kind.map(EventKind::as_str));
    for row in tx.fetch(select).await? {
        let (delivery, event): (String, String) = (row.get("id")?, row.get("event_id")?);
        let remove = sql("DELETE FROM delivery_queue WHERE delivery_id = $1 AND stage = 'live'");
        if tx.execute(remove.bind(delivery.as_str())).await? == 1 {
            tx.execute(sql("DELETE FROM deliveries WHERE id = $1").bind(delivery)).await?;
            tx.execute(sql("DELETE FROM events WHERE id = $1").bind(event)).await?;
        }
    }
    Ok(())
}

/// What stands in the place of a number: below 0, and no other event's.
fn unnumbered() -> Result<i64, StoreError> {
    Ok(-1 - (i64::from_be_bytes(vault::random()?) & i64::MAX))
}
