//! Leases of deliveries: made by a claim, ended by who records the attempt, or by who finds that they ran out.
//!
//! A lease is a row of its own. Whoever makes one holds a lock of the delivery's row, so that a transaction that has
//! locked a delivery, and asks only then whether it is under way, is told the truth ([`under_way`]). Who needs both
//! rows locked takes the lease first.

use std::collections::HashSet;
use std::time::Duration;

use domain::{Delivery, DeliveryAttempt, Lease, NodeId, SendError, SendOutcome, Timestamp};

use crate::database::Tx;
use crate::deliveries::delivery_from_row;
use crate::endpoints::{in_order, lock, reckon};
use crate::error::StoreError;
use crate::live::let_go;
use crate::record::insert_attempts;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql, sql_over};
use crate::{Store, duration_millis, millis};

/// How many interrupted attempts one transaction records.
const SETTLED_AT_ONCE: i64 = 256;

/// A delivery that is to be leased, and the number of the attempt that begins.
pub(crate) struct Picked {
    id: String,
    number: i64,
    /// The whole of it, which is read once it is leased.
    row: Row,
}

impl Picked {
    /// Takes a row of `select_due`.
    pub(crate) fn from_row(row: Row) -> Result<Self, Unreadable> {
        Ok(Self { id: row.get("id")?, number: row.get::<i64>("attempts")? + 1, row })
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
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

/// Leases deliveries, which are locked.
pub(crate) async fn take(
    tx: &mut Tx,
    node: &NodeId,
    picked: &[Picked],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Lease<Delivery>>, StoreError> {
    if picked.is_empty() {
        return Ok(Vec::new());
    }
    let names = || picked.iter().map(|one| one.id.as_str());
    let rows = Rows::ids(names())
        .int("number", picked.iter().map(|one| one.number))
        .text("holder", names().map(|_| node.as_str()))
        .int("lease", names().map(|_| duration_millis(lease)))
        .int("now", names().map(|_| millis(now)));
    let insert = "INSERT INTO delivery_leases (delivery_id, number, holder, until, claimed_at) \
         SELECT r.id, r.number, r.holder, {clock} + r.lease, r.now FROM {rows}";
    tx.execute(sql_over(rows, insert)).await?;
    let leased = picked.iter().filter_map(|one| match delivery_from_row(&one.row) {
        Ok(item) => Some(Lease { attempt: item.attempts + 1, item, holder: node.clone() }),
        // It stays leased by nobody until its lease runs out, so that it blocks no other.
        Err(error) => {
            tracing::error!(%error, "a delivery cannot be made");
            None
        }
    });
    Ok(leased.collect())
}

/// The rows `r` of leases as their holders know them.
fn rows_of<'a>(leases: impl Iterator<Item = &'a Lease<Delivery>> + Clone) -> Rows<'a> {
    Rows::ids(leases.clone().map(|lease| lease.item.id.as_str()))
        .int("number", leases.clone().map(|lease| i64::from(lease.attempt)))
        .text("holder", leases.map(|lease| lease.holder.as_str()))
}

macro_rules! delete_leases {
    ($returning:literal) => {
        concat!(
            "DELETE FROM delivery_leases WHERE (delivery_id, number, holder) IN \
             (SELECT r.id, r.number, r.holder FROM {rows})",
            $returning
        )
    };
}

/// Ends those of the leases that are the newest; how many they are.
pub(crate) async fn end_leases<'a>(
    tx: &mut Tx,
    leases: impl Iterator<Item = &'a Lease<Delivery>> + Clone,
) -> Result<u64, StoreError> {
    tx.execute(sql_over(rows_of(leases), delete_leases!(""))).await
}

/// The same; of which deliveries they are, and under which number. Costs more: each row of an answer goes from thread
/// to thread.
pub(crate) async fn end_newest<'a>(
    tx: &mut Tx,
    leases: impl Iterator<Item = &'a Lease<Delivery>> + Clone,
) -> Result<HashSet<(String, u32)>, StoreError> {
    let delete = delete_leases!(" RETURNING delivery_id, number");
    let ended = tx.fetch(sql_over(rows_of(leases), delete)).await?;
    ended.iter().map(|row| Ok((row.get("delivery_id")?, row.number("number")?))).collect()
}

/// Which of these deliveries, which are locked, are under way.
pub(crate) async fn under_way(
    tx: &mut Tx,
    deliveries: impl IntoIterator<Item = &str>,
) -> Result<HashSet<String>, StoreError> {
    let select = "SELECT delivery_id FROM delivery_leases WHERE delivery_id IN (SELECT r.id FROM {rows})";
    let rows = tx.fetch(sql_over(Rows::ids(deliveries), select)).await?;
    Ok(rows.iter().map(|row| row.get("delivery_id")).collect::<Result<_, _>>()?)
}

/// An attempt whose lease ran out, and where its delivery belongs.
struct Interrupted {
    delivery: String,
    endpoint: String,
    /// If it was that of a live event.
    live_of: Option<String>,
    attempt: DeliveryAttempt,
}

/// Records some of the attempts whose lease ran out; how many leases there were.
async fn settle(tx: &mut Tx, now: Timestamp) -> Result<i64, StoreError> {
    let expired = sql("SELECT delivery_id FROM delivery_leases WHERE until <= {clock} \
         ORDER BY until LIMIT $1 {skip_locked}");
    let expired = tx.fetch(expired.bind(SETTLED_AT_ONCE)).await?;
    let ids = expired.iter().map(|row| row.get("delivery_id")).collect::<Result<Vec<String>, _>>()?;
    if ids.is_empty() {
        return Ok(0);
    }
    let names = || ids.iter().map(String::as_str);
    let select = "SELECT l.delivery_id, l.number, l.claimed_at, d.endpoint_id, d.job_id, d.is_first \
         FROM delivery_leases l JOIN deliveries d ON d.id = l.delivery_id \
         WHERE l.delivery_id IN (SELECT r.id FROM {rows})";
    let rows = tx.fetch(sql_over(Rows::ids(names()), select)).await?;
    let interrupted = rows.iter().map(|row| interrupted(row, now)).collect::<Result<Vec<_>, _>>()?;
    tx.execute(sql_over(
        Rows::ids(names()),
        "DELETE FROM delivery_leases WHERE delivery_id IN (SELECT r.id FROM {rows})",
    ))
    .await?;
    let update = "UPDATE deliveries SET attempts = attempts + 1, is_first = 0, \
         state = CASE WHEN is_first = 2 THEN 'exhausted' ELSE state END \
         WHERE id IN (SELECT r.id FROM {rows})";
    tx.execute(sql_over(Rows::ids(interrupted.iter().map(|one| one.delivery.as_str())), update)).await?;
    let attempts: Vec<_> =
        interrupted.iter().map(|one| (one.delivery.as_str(), one.attempt.number, &one.attempt)).collect();
    insert_attempts(tx, &attempts).await?;
    let live: Vec<&str> = interrupted.iter().filter_map(|one| one.live_of.as_deref()).collect();
    if !live.is_empty() {
        let_go(tx, &live, now).await?;
    }
    waits_again(tx, interrupted.iter().map(|one| (one.endpoint.as_str(), one.delivery.as_str()))).await?;
    Ok(i64::try_from(ids.len()).unwrap_or(i64::MAX))
}

fn interrupted(row: &Row, now: Timestamp) -> Result<Interrupted, Unreadable> {
    let started_at = Timestamp::from_millis(row.get("claimed_at")?);
    let outcome = SendOutcome {
        took: now.since(started_at),
        // Nobody knows, so the worse is assumed.
        was_sent: true,
        ..SendOutcome::failed(SendError::Interrupted)
    };
    let is_live = row.get::<i64>("is_first")? == 2;
    Ok(Interrupted {
        delivery: row.get("delivery_id")?,
        endpoint: row.get("endpoint_id")?,
        live_of: if is_live { Some(row.get("job_id")?) } else { None },
        attempt: DeliveryAttempt { number: row.number("number")?, started_at, outcome },
    })
}

/// Deliveries that were claimed wait again, each by its endpoint and its own name: what of it was a probe is over, and when
/// their endpoints are due is reckoned anew.
pub(crate) async fn waits_again<'a>(
    tx: &mut Tx,
    deliveries: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Result<(), StoreError> {
    let endpoints = in_order(deliveries.clone().map(|(endpoint, _)| endpoint));
    lock(tx, &endpoints).await?;
    let rows = Rows::ids(deliveries.clone().map(|(endpoint, _)| endpoint));
    let rows = rows.text("delivery", deliveries.map(|(_, delivery)| delivery));
    let update = "UPDATE endpoints SET probe_id = NULL FROM {rows} \
         WHERE endpoints.id = r.id AND endpoints.probe_id = r.delivery";
    tx.execute(sql_over(rows, update)).await?;
    reckon(tx, &endpoints).await
}
