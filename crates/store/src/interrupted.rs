//! Attempts whose lease ran out: nobody knows what became of them.

use domain::{DeliveryAttempt, SendError, SendOutcome, Timestamp};

use crate::Store;
use crate::database::Tx;
use crate::delivery_queue::{Held, Retry, Stage, end, try_again};
use crate::endpoints::end_probes;
use crate::error::StoreError;
use crate::live::let_go;
use crate::record::insert_attempts;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql, sql_over};

/// How many interrupted attempts one transaction records.
const SETTLED_AT_ONCE: i64 = 256;

/// An attempt whose lease ran out, and where its delivery belongs.
struct Interrupted {
    delivery: String,
    endpoint: String,
    holder: String,
    /// When the next was to be, had this one not been.
    next_at: Timestamp,
    /// If it was that of a live event.
    live_of: Option<String>,
    attempt: DeliveryAttempt,
}

impl Store {
    /// Records the attempts whose lease ran out. Nobody knows what became of them; their deliveries wait again and
    /// are due as before, and it counts as no failure of the receiver. A live one is at its end.
    pub(crate) async fn settle_interrupted(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            let mut tx = self.database.begin().await?;
            let settled = settle(&mut tx, now).await?;
            tx.commit().await?;
            if settled < SETTLED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

/// Records some of the attempts whose lease ran out; how many.
async fn settle(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    let interrupted = expired(tx, now).await?;
    if interrupted.is_empty() {
        return Ok(0);
    }
    let rows = Rows::ids(interrupted.iter().map(|one| one.delivery.as_str())).text(
        "state",
        interrupted.iter().map(|one| if one.live_of.is_some() { "exhausted" } else { "pending" }),
    );
    let update = "UPDATE deliveries SET attempts = attempts + 1, state = r.state FROM {rows} WHERE deliveries.id = r.id";
    tx.execute(sql_over(rows, update)).await?;
    let retries = interrupted.iter().filter(|one| one.live_of.is_none());
    let retries = retries.map(|one| Retry { lease: one.lease(), at: one.next_at, is_failure: false });
    try_again(tx, &retries.collect::<Vec<_>>()).await?;
    end(tx, &interrupted.iter().map(Interrupted::lease).collect::<Vec<_>>()).await?;
    let attempts: Vec<_> =
        interrupted.iter().map(|one| (one.delivery.as_str(), one.attempt.number, &one.attempt)).collect();
    insert_attempts(tx, &attempts).await?;
    let live: Vec<&str> = interrupted.iter().filter_map(|one| one.live_of.as_deref()).collect();
    if !live.is_empty() {
        let_go(tx, &live, now).await?;
    }
    end_probes(tx, interrupted.iter().map(|one| (one.endpoint.as_str(), one.delivery.as_str()))).await?;
    Ok(i64::try_from(interrupted.len()).unwrap_or(i64::MAX))
}

/// Some of the attempts whose lease ran out, with their deliveries locked. What somebody else has locked is left: it is
/// just being recorded. What is no delivery's any more goes.
async fn expired(tx: &mut Tx, now: Timestamp) -> Result<Vec<Interrupted>, StoreError> {
    let select =
        sql("SELECT delivery_id FROM delivery_leases WHERE until <= {clock} ORDER BY until LIMIT $1");
    let found = ids(&tx.fetch(select.bind(SETTLED_AT_ONCE)).await?, "delivery_id")?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let orphans = "DELETE FROM delivery_leases WHERE delivery_id IN (SELECT r.id FROM {rows}) \
         AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = delivery_id)";
    tx.execute(sql_over(Rows::ids(found.iter().map(String::as_str)), orphans)).await?;
    let lock = "SELECT id FROM deliveries WHERE id IN (SELECT r.id FROM {rows}) ORDER BY id {skip_locked}";
    let locked = ids(&tx.fetch(sql_over(Rows::ids(found.iter().map(String::as_str)), lock)).await?, "id")?;
    // Asked again: until it was locked, another may have recorded it. Who gives a lease back locks that alone.
    let select = "SELECT l.delivery_id, l.endpoint_id, l.stage, l.next_at, l.number, l.holder, l.claimed_at, d.job_id \
         FROM {rows} JOIN delivery_leases l ON l.delivery_id = r.id JOIN deliveries d ON d.id = r.id \
         WHERE l.until <= {clock} {skip_locked}";
    let rows = tx.fetch(sql_over(Rows::ids(locked.iter().map(String::as_str)), select)).await?;
    Ok(rows.iter().map(|row| interrupted(row, now)).collect::<Result<_, _>>()?)
}

fn ids(rows: &[Row], column: &str) -> Result<Vec<String>, StoreError> {
    Ok(rows.iter().map(|row| row.get(column)).collect::<Result<_, _>>()?)
}

impl Interrupted {
    fn lease(&self) -> Held<'_> {
        (&self.delivery, self.attempt.number, &self.holder)
    }
}

fn interrupted(row: &Row, now: Timestamp) -> Result<Interrupted, Unreadable> {
    let started_at = Timestamp::from_millis(row.get("claimed_at")?);
    let outcome = SendOutcome {
        took: now.since(started_at),
        // Nobody knows, so the worse is assumed.
        was_sent: true,
        ..SendOutcome::failed(SendError::Interrupted)
    };
    let is_live = row.get::<String>("stage")? == Stage::Live.as_str();
    Ok(Interrupted {
        delivery: row.get("delivery_id")?,
        endpoint: row.get("endpoint_id")?,
        holder: row.get("holder")?,
        next_at: Timestamp::from_millis(row.get("next_at")?),
        live_of: if is_live { Some(row.get("job_id")?) } else { None },
        attempt: DeliveryAttempt { number: row.number("number")?, started_at, outcome },
    })
}
