//! Claiming deliveries. Recording what came of them is in `record`.
//!
//! A delivery's attempts are numbered, and the number is the fence: an attempt is recorded once, by whoever holds
//! the lease under that number, or as interrupted by whoever finds that the lease ran out.

use std::time::Duration;

use domain::{
    Delivery, DeliveryAttempt, DeliveryId, Event, EventId, EventKind, JobId, KeyId, Lease, NodeId, SendError,
    SendOutcome, Timestamp, WebUrl,
};

use crate::database::Tx;
use crate::error::StoreError;
use crate::record::insert_attempt;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, duration_millis, millis};

/// The columns that [`event_from_row`] and [`delivery_from_row`] read, of `events e` joined with `deliveries d`.
macro_rules! select_delivery {
    ($rest:literal) => {
        concat!(
            "SELECT d.id, d.url, d.state, d.attempts, e.id AS event_id, e.key_id, e.sequence, e.job_id, e.kind, ",
            "e.body, e.created_at FROM deliveries d JOIN events e ON e.id = d.event_id ",
            $rest
        )
    };
}
pub(crate) use select_delivery;

impl Store {
    /// Claims up to `limit` deliveries that are due by `now` and leases them for `lease` by the database's clock.
    ///
    /// Those whose lease ran out come first. Nobody knows what became of their attempt, so it is recorded as
    /// [`SendError::Interrupted`] in the same transaction, and the next attempt is the one that is claimed.
    pub async fn claim_deliveries(
        &self,
        node: &NodeId,
        limit: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Lease<Delivery>>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut tx = self.database.begin().await?;
        let mut ids = interrupted(&mut tx, limit, now).await?;
        let left = limit.saturating_sub(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        let due =
            sql("SELECT id FROM deliveries WHERE state = 'pending' AND until IS NULL AND next_at <= $1 \
             ORDER BY next_at LIMIT $2 {skip_locked}");
        for row in tx.fetch(due.bind(millis(now)).bind(left)).await? {
            ids.push(row.get("id")?);
        }
        let mut claimed = Vec::with_capacity(ids.len());
        for id in ids {
            let update = sql("UPDATE deliveries SET holder = $1, until = {clock} + $2, claimed_at = $3 \
                 WHERE id = $4");
            let update = update.bind(node.as_str()).bind(duration_millis(lease)).bind(millis(now));
            tx.execute(update.bind(id.as_str())).await?;
            let row = tx.fetch_optional(sql(select_delivery!("WHERE d.id = $1")).bind(id.as_str())).await?;
            let row = row.ok_or_else(|| StoreError::corrupt("deliveries", &id, "it has no event"))?;
            match delivery_from_row(&row) {
                Ok(item) => {
                    let attempt = item.attempts + 1;
                    claimed.push(Lease { item, attempt, holder: node.clone() });
                }
                // It stays leased by nobody until its lease runs out, so that it blocks no other.
                Err(error) => tracing::error!(%error, "a delivery cannot be made"),
            }
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// When the next delivery wants to be claimed: one that waits for its time, or one whose lease may run out.
    /// It may be in the past. `now` is what the answer is reckoned from where it is the database's clock that
    /// decides.
    pub async fn next_delivery_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let select = sql("SELECT \
             (SELECT MIN(next_at) FROM deliveries WHERE state = 'pending' AND until IS NULL) AS next_at, \
             (SELECT MIN(until) FROM deliveries WHERE until IS NOT NULL) - {clock} AS lease_left");
        let Some(row) = self.database.fetch_optional(select).await? else { return Ok(None) };
        let next_at: Option<i64> = row.get("next_at")?;
        let lease_left: Option<i64> = row.get("lease_left")?;
        let lease_end = lease_left.map(|left| millis(now).saturating_add(left));
        Ok([next_at, lease_end].into_iter().flatten().min().map(Timestamp::from_millis))
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

/// Records the attempts whose lease ran out as interrupted; the deliveries, locked.
async fn interrupted(tx: &mut Tx, limit: i64, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let expired = sql("SELECT id, attempts, claimed_at FROM deliveries \
         WHERE until IS NOT NULL AND until <= {clock} ORDER BY until LIMIT $1 {skip_locked}");
    let mut ids = Vec::new();
    for row in tx.fetch(expired.bind(limit)).await? {
        let id: String = row.get("id")?;
        let number = row.number::<u32>("attempts")? + 1;
        let started_at = Timestamp::from_millis(row.get("claimed_at")?);
        let outcome = SendOutcome {
            took: now.since(started_at),
            // Nobody knows, so the worse is assumed.
            was_sent: true,
            ..SendOutcome::failed(SendError::Interrupted)
        };
        insert_attempt(tx, &id, &DeliveryAttempt { number, started_at, outcome }).await?;
        let update = sql("UPDATE deliveries SET attempts = $1 WHERE id = $2");
        tx.execute(update.bind(number).bind(id.as_str())).await?;
        ids.push(id);
    }
    Ok(ids)
}

pub(crate) fn delivery_from_row(row: &Row) -> Result<Delivery, StoreError> {
    let event = event_from_row(row)?;
    let id: String = row.get("id")?;
    let read = || {
        Ok(Delivery {
            id: row.parse("id", DeliveryId::parse)?,
            event,
            url: row.parse("url", WebUrl::parse)?,
            attempts: row.number("attempts")?,
            is_replay: false,
            is_file_gone: false,
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
            sequence: row.number("sequence")?,
            job: row.parse("job_id", JobId::parse)?,
            kind: row.parse("kind", |text| EventKind::parse(text).ok_or(()))?,
            body: row.get("body")?,
            created_at: Timestamp::from_millis(row.get("created_at")?),
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("events", &id, reason))
}
