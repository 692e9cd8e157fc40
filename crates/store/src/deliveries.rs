//! Claiming deliveries. Where they wait is `delivery_queue`, and recording what came of them `record`.
//!
//! A delivery's attempts are numbered, and the number is the fence: an attempt is recorded once, by whoever holds
//! the lease under that number, or as interrupted by whoever finds that the lease ran out.

use std::time::Duration;

use domain::{
    Delivery, DeliveryId, EndpointId, EndpointState, Event, EventId, EventKind, JobId, KeyId, Lease, NodeId,
    Timestamp, WebUrl,
};

use crate::database::Tx;
use crate::delivery_queue::{Held, Stage, Waiting, hand_back, take, waiting};
use crate::due::DueEndpoint;
use crate::endpoints::{end_probes, reckon, state_from_row};
use crate::error::StoreError;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, millis};

/// The columns that [`event_from_row`] and [`delivery_from_row`] read but for `failures` and `is_replay`, of `events e`
/// joined with `deliveries d`.
macro_rules! delivery_columns {
    () => {
        "d.id, d.url, d.attempts, e.id AS event_id, e.key_id, e.sequence, \
         e.job_id, e.kind, e.body, e.created_at, \
         (SELECT CASE o.swept WHEN 0 THEN o.expires_at ELSE 0 END FROM jobs o WHERE o.id = d.job_id) AS file_until "
    };
}
pub(crate) use delivery_columns;

impl Store {
    /// Claims up to `limit` deliveries of an endpoint that are due by `now`, the ones that wait longest first, and
    /// leases them for `lease` by the database's clock. First attempts and later ones each get a quarter of the
    /// limit at least, if as many wait. Of an endpoint whose circuit is open none, and when it is half open a
    /// single one until its attempt was recorded. None either if the endpoint is not as it was looked at: who does
    /// not know that an attempt is the probe would not say so, and the probe would never be over.
    pub async fn claim_deliveries(
        &self,
        node: &NodeId,
        endpoint: &DueEndpoint,
        limit: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        let mut tx = self.database.begin().await?;
        let id = &endpoint.id;
        let limit = allowed(&mut tx, endpoint, limit, now).await?;
        let picked = match limit {
            0 => Vec::new(),
            _ => {
                let mut due = waiting(&mut tx, id, Stage::First, limit, now).await?;
                due.extend(waiting(&mut tx, id, Stage::Later, limit, now).await?);
                shared_out(due, limit)
            }
        };
        let claimed = take(&mut tx, node, id, &picked, lease, now).await?;
        if endpoint.is_probe && !picked.is_empty() {
            let update = sql("UPDATE endpoints SET probe_id = $2 WHERE id = $1").bind(id.as_str());
            tx.execute(update.bind(picked.first().map(|one| one.delivery.id.as_str()))).await?;
        }
        // Where a claim was filled there may be more, so that the endpoint is due as it was.
        let is_filled = limit > 0 && i64::try_from(picked.len()).is_ok_and(|picked| picked == limit);
        if endpoint.is_probe || !is_filled {
            reckon(&mut tx, &[id.as_str()]).await?;
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Gives back what was claimed and not begun, as if it had not been, or put off until `not_before`; what is no longer
    /// this lease's stays.
    pub async fn release_deliveries(
        &self,
        leases: &[Lease<Delivery>],
        not_before: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        let held: Vec<_> = leases.iter().map(held).collect();
        let released = hand_back(&mut tx, &held, not_before).await?;
        let is_released =
            |lease: &&Lease<Delivery>| released.contains(&(lease.item.id.as_str().to_owned(), lease.attempt));
        let waiting = leases.iter().filter(is_released).map(|lease| (lease.item.endpoint(), &lease.item.id));
        let waiting: Vec<(EndpointId, &DeliveryId)> = waiting.collect();
        end_probes(&mut tx, waiting.iter().map(|(endpoint, id)| (endpoint.as_str(), id.as_str()))).await?;
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(())
    }

    /// When the next delivery wants to be claimed: one that waits for its time, or one whose lease may run out.
    /// It may be in the past. `now` is what the answer is reckoned from where it is the database's clock that
    /// decides.
    pub async fn next_delivery_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let select = sql("SELECT \
             (SELECT MIN(due_at) FROM endpoints WHERE due_at IS NOT NULL) AS due_at, \
             (SELECT MIN(until) FROM delivery_leases) - {clock} AS lease_left");
        let Some(row) = self.database.fetch_optional(select).await? else { return Ok(None) };
        let lease_left: Option<i64> = row.get("lease_left")?;
        let lease_end = lease_left.map(|left| Timestamp::from_millis(millis(now).saturating_add(left)));
        Ok([row.time("due_at")?, lease_end].into_iter().flatten().min())
    }

    /// A key's events after this number, in order.
    pub async fn events_after(
        &self,
        key: &KeyId,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let select =
            sql("SELECT id AS event_id, key_id, sequence, job_id, kind, body, created_at FROM events \
             WHERE key_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3");
        let select = select.bind(key.as_str()).bind(i64::try_from(sequence).unwrap_or(i64::MAX));
        let rows = self.database.fetch(select.bind(i64::try_from(limit).unwrap_or(i64::MAX))).await?;
        rows.iter().map(event_from_row).collect()
    }
}

/// Locks the endpoint; how many of its deliveries may be claimed.
async fn allowed(
    tx: &mut Tx,
    endpoint: &DueEndpoint,
    limit: usize,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let select = sql("SELECT state, retry_at, probe_id FROM endpoints WHERE id = $1 {for_update}");
    let Some(row) = tx.fetch_optional(select.bind(endpoint.id.as_str())).await? else { return Ok(0) };
    if row.time("retry_at")?.is_some_and(|at| at > now) {
        return Ok(0);
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let is_probing = row.get::<Option<String>>("probe_id")?.is_some();
    Ok(match (state_from_row(&row)?, endpoint.is_probe) {
        (EndpointState::Healthy, false) => limit,
        (EndpointState::Failing, true) if !is_probing => limit.min(1),
        _ => 0,
    })
}

/// What its holder knows of a lease.
pub(crate) fn held(lease: &Lease<Delivery>) -> Held<'_> {
    (lease.item.id.as_str(), lease.attempt, lease.holder.as_str())
}

/// Picks `limit`: a quarter of each kind, and the rest by how long they wait.
fn shared_out<T>(mut waiting: Vec<Waiting<T>>, limit: i64) -> Vec<Waiting<T>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // A single slot goes to who waits longest, which starves nobody either.
    let share = if limit > 1 { limit.div_ceil(4) } else { 0 };
    waiting.sort_by_key(|one| one.next_at);
    let mut sure = [0; 2];
    let rank = |one: Waiting<T>| {
        let count = &mut sure[usize::from(one.stage == Stage::First)];
        *count += 1;
        (*count > share, one)
    };
    let mut ranked: Vec<_> = waiting.into_iter().map(rank).collect();
    ranked.sort_by_key(|(is_extra, one)| (*is_extra, one.next_at));
    ranked.truncate(limit);
    ranked.into_iter().map(|(_, one)| one).collect()
}

pub(crate) fn delivery_from_row(row: &Row) -> Result<Delivery, StoreError> {
    let event = event_from_row(row)?;
    let id: String = row.get("id")?;
    let read = || {
        Ok(Delivery {
            id: row.parse("id", DeliveryId::parse)?,
            url: row.parse("url", WebUrl::parse)?,
            attempts: row.number("attempts")?,
            failures: row.number("failures")?,
            is_replay: row.get::<i64>("is_replay")? == 1,
            // An event of a failure names none.
            file_until: row.time("file_until")?.filter(|_| event.kind == EventKind::Completed),
            event,
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("deliveries", &id, reason))
}

fn event_from_row(row: &Row) -> Result<Event, StoreError> {
    let id: String = row.get("event_id")?;
    let read = || {
        Ok(Event {
            id: row.parse("event_id", EventId::parse)?,
            key: row.parse("key_id", KeyId::parse)?,
            // Below 0 where it has none.
            sequence: u64::try_from(row.get::<i64>("sequence")?).ok(),
            job: row.parse("job_id", JobId::parse)?,
            kind: row.parse("kind", |text| EventKind::parse(text).ok_or(()))?,
            body: row.get("body")?,
            created_at: Timestamp::from_millis(row.get("created_at")?),
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("events", &id, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_attempts_and_later_ones_each_get_a_quarter_and_the_rest_is_for_who_waits_longest() {
        let some = |count: i64, stage, from: i64| {
            (0..count).map(move |n| Waiting { delivery: n, stage, next_at: from + n })
        };
        for (firsts, later, limit, expected) in [
            (100, 100, 8, 6),
            (100, 1, 8, 7),
            (0, 100, 8, 0),
            (100, 0, 8, 8),
            (9, 9, 2, 1),
            (9, 9, 1, 1),
            (2, 1, 9, 2),
        ] {
            let waiting: Vec<_> =
                some(firsts, Stage::First, 0).chain(some(later, Stage::Later, 1000)).collect();
            let all = waiting.len();
            let picked = shared_out(waiting, limit);
            assert_eq!(picked.len(), all.min(limit as usize));
            let found = picked.iter().filter(|one| one.stage == Stage::First).count();
            assert_eq!(found, expected, "{firsts} first and {later} later for {limit}");
        }
    }
}
