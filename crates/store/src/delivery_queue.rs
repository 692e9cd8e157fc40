//! Where pending deliveries are: in the queue while they wait, which a claim turns into a lease. Both are narrow rows, and
//! neither is left of a delivery that is at its end.
//!
//! Whoever needs a delivery and its place locks the delivery first, several in the order of their ids, then the place,
//! and endpoints last. A claim locks places in the queue alone, under their endpoint's lock, and passes over what others
//! have locked, so that it waits for nobody. So who has locked a delivery can still be forestalled by a claim, and has to
//! heed what became of its place.

use std::collections::HashSet;
use std::time::Duration;

use domain::{Delivery, EndpointId, Lease, NodeId, Timestamp};

use crate::database::Tx;
use crate::deliveries::{delivery_columns, delivery_from_row};
use crate::error::StoreError;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql, sql_over};
use crate::{duration_millis, millis};

/// Which of an endpoint's lines a delivery waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Of what was never tried.
    First,
    /// Of what was, and of replays, so that many of them do not hold up what is new.
    Later,
    /// Of events of running jobs.
    Live,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Later => "later",
            Self::Live => "live",
        }
    }
}

/// What waits and is due, whose place is locked.
pub(crate) struct Waiting<T> {
    pub(crate) delivery: T,
    pub(crate) stage: Stage,
    pub(crate) next_at: i64,
}

/// A delivery that waits.
pub(crate) struct Queued {
    pub(crate) id: String,
    number: i64,
    failures: i64,
    is_replay: i64,
    /// The whole of it, which is read once it is leased.
    row: Row,
}

/// Locks what waits for an endpoint in a stage and is due by `now`, up to `limit`, the longest first.
pub(crate) async fn waiting(
    tx: &mut Tx,
    endpoint: &EndpointId,
    stage: Stage,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Waiting<Queued>>, StoreError> {
    // Of the places what was committed until they were locked is seen, of all else what was until they were looked for:
    // so what a replay changes is in the place.
    let select = sql(concat!(
        "SELECT q.next_at, q.number, q.failures, q.is_replay, ",
        delivery_columns!(),
        "FROM (SELECT p.* FROM delivery_queue p \
             WHERE p.endpoint_id = $1 AND p.stage = $2 AND p.next_at <= $3 ORDER BY p.next_at LIMIT $4 {skip_locked}) AS q \
         JOIN deliveries d ON d.id = q.delivery_id JOIN events e ON e.id = d.event_id"
    ))
    .bind(endpoint.as_str())
    .bind(stage.as_str())
    .bind(millis(now))
    .bind(limit);
    let read = |row: Row| {
        Ok(Waiting {
            stage,
            next_at: row.get("next_at")?,
            delivery: Queued {
                id: row.get("id")?,
                number: row.get("number")?,
                failures: row.get("failures")?,
                is_replay: row.get("is_replay")?,
                row,
            },
        })
    };
    tx.fetch(select).await?.into_iter().map(read).collect()
}

/// Leases deliveries of an endpoint, whose places are locked, in the order in which they are given.
pub(crate) async fn take(
    tx: &mut Tx,
    node: &NodeId,
    endpoint: &EndpointId,
    picked: &[Waiting<Queued>],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Lease<Delivery>>, StoreError> {
    if picked.is_empty() {
        return Ok(Vec::new());
    }
    let deliveries = || picked.iter().map(|one| &one.delivery);
    let names = || deliveries().map(|one| one.id.as_str());
    let rows = Rows::ids(names())
        .text("endpoint", names().map(|_| endpoint.as_str()))
        .text("stage", picked.iter().map(|one| one.stage.as_str()))
        .int("next_at", picked.iter().map(|one| one.next_at))
        .int("number", deliveries().map(|one| one.number))
        .int("failures", deliveries().map(|one| one.failures))
        .int("is_replay", deliveries().map(|one| one.is_replay))
        .text("holder", names().map(|_| node.as_str()))
        .int("lease", names().map(|_| duration_millis(lease)))
        .int("now", names().map(|_| millis(now)));
    let insert = "INSERT INTO delivery_leases \
         (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay, holder, until, claimed_at) \
         SELECT r.id, r.endpoint, r.stage, r.next_at, r.number, r.failures, r.is_replay, r.holder, \
             {clock} + r.lease, r.now FROM {rows}";
    tx.execute(sql_over(rows, insert)).await?;
    let delete = "DELETE FROM delivery_queue WHERE delivery_id IN (SELECT r.id FROM {rows})";
    tx.execute(sql_over(Rows::ids(names()), delete)).await?;
    let leased = deliveries().filter_map(|one| match delivery_from_row(&one.row) {
        Ok(item) => Some(Lease { attempt: item.attempts + 1, item, holder: node.clone() }),
        // It stays leased by nobody until its lease runs out, so that it blocks no other.
        Err(error) => {
            tracing::error!(%error, "a delivery cannot be made");
            None
        }
    });
    Ok(leased.collect())
}

/// A lease as its holder knows it: of which delivery, under which number, and whose.
pub(crate) type Held<'a> = (&'a str, u32, &'a str);

fn rows_of<'a>(leases: &[Held<'a>]) -> Rows<'a> {
    Rows::ids(leases.iter().map(|(id, ..)| *id))
        .int("number", leases.iter().map(|(_, number, _)| i64::from(*number)))
        .text("holder", leases.iter().map(|(.., holder)| *holder))
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

/// Ends those of the leases that are the newest, of deliveries that are locked; how many they are.
pub(crate) async fn end(tx: &mut Tx, leases: &[Held<'_>]) -> Result<u64, StoreError> {
    tx.execute(sql_over(rows_of(leases), delete_leases!(""))).await
}

/// What comes after an attempt that is not the last.
pub(crate) struct Retry<'a> {
    pub(crate) lease: Held<'a>,
    pub(crate) at: Timestamp,
    /// Whether the attempt counts as a failure.
    pub(crate) is_failure: bool,
}

/// Puts deliveries back in line for their next attempt, which are locked and whose leases are about to end. Of a lease that
/// is not the newest nothing comes.
pub(crate) async fn try_again(tx: &mut Tx, retries: &[Retry<'_>]) -> Result<(), StoreError> {
    if retries.is_empty() {
        return Ok(());
    }
    let leases: Vec<_> = retries.iter().map(|retry| retry.lease).collect();
    let rows = rows_of(&leases)
        .int("next_at", retries.iter().map(|retry| millis(retry.at)))
        .int("failed", retries.iter().map(|retry| i64::from(retry.is_failure)));
    let insert = "INSERT INTO delivery_queue \
         (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay) \
         SELECT l.delivery_id, l.endpoint_id, 'later', r.next_at, l.number + 1, l.failures + r.failed, l.is_replay \
         FROM {rows} JOIN delivery_leases l ON l.delivery_id = r.id AND l.number = r.number AND l.holder = r.holder";
    tx.execute(sql_over(rows, insert)).await.map(drop)
}

/// Ends those of the leases that are the newest, as if they had not been made; of which deliveries they are, and under
/// which number. What is put back waits until `not_before`.
pub(crate) async fn hand_back(
    tx: &mut Tx,
    leases: &[Held<'_>],
    not_before: Option<Timestamp>,
) -> Result<HashSet<(String, u32)>, StoreError> {
    let delete =
        delete_leases!(" RETURNING delivery_id, endpoint_id, stage, next_at, number, failures, is_replay");
    let ended = tx.fetch(sql_over(rows_of(leases), delete)).await?;
    let read = |row: &Row| {
        let next_at: i64 = row.get("next_at")?;
        Ok(Place {
            id: row.get("delivery_id")?,
            endpoint: row.get("endpoint_id")?,
            stage: row.get("stage")?,
            next_at: next_at.max(not_before.map_or(i64::MIN, millis)),
            number: row.get("number")?,
            failures: row.get("failures")?,
            is_replay: row.get("is_replay")?,
        })
    };
    let places = ended.iter().map(read).collect::<Result<Vec<_>, Unreadable>>()?;
    enqueue(tx, &places).await?;
    ended.iter().map(|row| Ok((row.get("delivery_id")?, row.number("number")?))).collect()
}

/// A place in the queue.
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) stage: String,
    pub(crate) next_at: i64,
    pub(crate) number: i64,
    pub(crate) failures: i64,
    pub(crate) is_replay: i64,
}

/// Gives deliveries, which have none and are locked or were leased, their place in the queue.
pub(crate) async fn enqueue(tx: &mut Tx, places: &[Place]) -> Result<(), StoreError> {
    let rows = Rows::ids(places.iter().map(|place| place.id.as_str()))
        .text("endpoint", places.iter().map(|place| place.endpoint.as_str()))
        .text("stage", places.iter().map(|place| place.stage.as_str()))
        .int("next_at", places.iter().map(|place| place.next_at))
        .int("number", places.iter().map(|place| place.number))
        .int("failures", places.iter().map(|place| place.failures))
        .int("is_replay", places.iter().map(|place| place.is_replay));
    let insert = "INSERT INTO delivery_queue \
         (delivery_id, endpoint_id, stage, next_at, number, failures, is_replay) \
         SELECT r.id, r.endpoint, r.stage, r.next_at, r.number, r.failures, r.is_replay FROM {rows}";
    tx.execute(sql_over(rows, insert)).await.map(drop)
}

/// Locks deliveries; which of the leases are the newest: they stay that until the transaction ends.
pub(crate) async fn newest(tx: &mut Tx, leases: &[Held<'_>]) -> Result<HashSet<(String, u32)>, StoreError> {
    lock_deliveries(tx, leases.iter().map(|(id, ..)| *id)).await?;
    let select = "SELECT delivery_id, number FROM delivery_leases WHERE (delivery_id, number, holder) IN \
         (SELECT r.id, r.number, r.holder FROM {rows})";
    let rows = tx.fetch(sql_over(rows_of(leases), select)).await?;
    rows.iter().map(|row| Ok((row.get("delivery_id")?, row.number("number")?))).collect()
}

/// Locks deliveries in the order of their ids.
pub(crate) async fn lock_deliveries(
    tx: &mut Tx,
    deliveries: impl IntoIterator<Item = &str>,
) -> Result<(), StoreError> {
    if let Tx::Postgres(_) = tx {
        let select = "SELECT id FROM deliveries WHERE id IN (SELECT r.id FROM {rows}) ORDER BY id FOR UPDATE";
        tx.fetch(sql_over(Rows::ids(deliveries), select)).await?;
    }
    Ok(())
}

/// Whether an attempt at a delivery is under way.
pub(crate) async fn is_under_way(tx: &mut Tx, delivery: &str) -> Result<bool, StoreError> {
    let select = sql("SELECT 1 AS one FROM delivery_leases WHERE delivery_id = $1");
    Ok(tx.fetch_optional(select.bind(delivery)).await?.is_some())
}

/// Makes deliveries that wait, which are locked, wait as replays, from `now` on; which they are. What is under way stays.
pub(crate) async fn begin_anew(
    tx: &mut Tx,
    deliveries: impl Iterator<Item = &str> + Clone,
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let rows = Rows::ids(deliveries.clone()).int("now", deliveries.map(|_| millis(now)));
    let update = "UPDATE delivery_queue SET stage = 'later', next_at = r.now, failures = 0, is_replay = 1 FROM {rows} \
         WHERE delivery_queue.delivery_id = r.id RETURNING delivery_id";
    let rows = tx.fetch(sql_over(rows, update)).await?;
    Ok(rows.iter().map(|row| row.get("delivery_id")).collect::<Result<_, _>>()?)
}
