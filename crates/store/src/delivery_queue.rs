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

/// A delivery that waits and is due, whose place is locked.
pub(crate) struct Waiting {
    pub(crate) id: String,
    pub(crate) stage: Stage,
    pub(crate) next_at: i64,
    pub(crate) number: i64,
}

/// Locks what waits for an endpoint in a stage and is due by `now`, up to `limit`, the longest first.
pub(crate) async fn waiting(
    tx: &mut Tx,
    endpoint: &EndpointId,
    stage: Stage,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Waiting>, StoreError> {
    let select = sql("SELECT delivery_id, next_at, number FROM delivery_queue \
         WHERE endpoint_id = $1 AND stage = $2 AND next_at <= $3 ORDER BY next_at LIMIT $4 {skip_locked}")
    .bind(endpoint.as_str())
    .bind(stage.as_str())
    .bind(millis(now))
    .bind(limit);
    let rows = tx.fetch(select).await?;
    let read = |row: &Row| {
        let (id, next_at, number) = (row.get("delivery_id")?, row.get("next_at")?, row.get("number")?);
        Ok(Waiting { id, stage, next_at, number })
    };
    rows.iter().map(read).collect()
}

/// Leases deliveries of an endpoint, whose places are locked, in the order in which they are given.
pub(crate) async fn take(
    tx: &mut Tx,
    node: &NodeId,
    endpoint: &EndpointId,
    picked: &[Waiting],
    lease: Duration,
    now: Timestamp,
) -> Result<Vec<Lease<Delivery>>, StoreError> {
    if picked.is_empty() {
        return Ok(Vec::new());
    }
    let names = || picked.iter().map(|one| one.id.as_str());
    let rows = Rows::ids(names())
        .text("endpoint", names().map(|_| endpoint.as_str()))
        .text("stage", picked.iter().map(|one| one.stage.as_str()))
        .int("next_at", picked.iter().map(|one| one.next_at))
        .int("number", picked.iter().map(|one| one.number))
        .text("holder", names().map(|_| node.as_str()))
        .int("lease", names().map(|_| duration_millis(lease)))
        .int("now", names().map(|_| millis(now)));
    let insert = "INSERT INTO delivery_leases \
         (delivery_id, endpoint_id, stage, next_at, number, holder, until, claimed_at) \
         SELECT r.id, r.endpoint, r.stage, r.next_at, r.number, r.holder, {clock} + r.lease, r.now FROM {rows}";
    tx.execute(sql_over(rows, insert)).await?;
    let delete = "DELETE FROM delivery_queue WHERE delivery_id IN (SELECT r.id FROM {rows})";
    tx.execute(sql_over(Rows::ids(names()), delete)).await?;
    // Asked only now: what a replay has changed until the places were locked is seen.
    let rows = Rows::ids(names()).int("place", (0..).take(picked.len()));
    let select = concat!(
        "SELECT ",
        delivery_columns!(),
        "FROM {rows} JOIN deliveries d ON d.id = r.id JOIN events e ON e.id = d.event_id ORDER BY r.place"
    );
    let leased = tx.fetch(sql_over(rows, select)).await?;
    let leased = leased.iter().filter_map(|row| match delivery_from_row(row) {
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

/// Puts deliveries back in line for their next attempt, each from its time on, which are locked and whose leases are about
/// to end. Of a lease that is not the newest nothing comes.
pub(crate) async fn try_again(tx: &mut Tx, ended: &[(Held<'_>, Timestamp)]) -> Result<(), StoreError> {
    if ended.is_empty() {
        return Ok(());
    }
    let leases: Vec<_> = ended.iter().map(|(lease, _)| *lease).collect();
    let rows = rows_of(&leases).int("next_at", ended.iter().map(|(_, at)| millis(*at)));
    let insert = "INSERT INTO delivery_queue (delivery_id, endpoint_id, stage, next_at, number) \
         SELECT l.delivery_id, l.endpoint_id, 'later', r.next_at, l.number + 1 FROM {rows} \
         JOIN delivery_leases l ON l.delivery_id = r.id AND l.number = r.number AND l.holder = r.holder";
    tx.execute(sql_over(rows, insert)).await.map(drop)
}

/// Ends those of the leases that are the newest, as if they had not been made; of which deliveries they are, and under
/// which number. What is put back waits until `not_before`.
pub(crate) async fn hand_back(
    tx: &mut Tx,
    leases: &[Held<'_>],
    not_before: Option<Timestamp>,
) -> Result<HashSet<(String, u32)>, StoreError> {
    let delete = delete_leases!(" RETURNING delivery_id, endpoint_id, stage, next_at, number");
    let ended = tx.fetch(sql_over(rows_of(leases), delete)).await?;
    let read = |row: &Row| {
        let next_at: i64 = row.get("next_at")?;
        Ok(Place {
            id: row.get("delivery_id")?,
            endpoint: row.get("endpoint_id")?,
            stage: row.get("stage")?,
            next_at: next_at.max(not_before.map_or(i64::MIN, millis)),
            number: row.get("number")?,
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
}

/// Gives deliveries, which have none and are locked or were leased, their place in the queue.
pub(crate) async fn enqueue(tx: &mut Tx, places: &[Place]) -> Result<(), StoreError> {
    let rows = Rows::ids(places.iter().map(|place| place.id.as_str()))
        .text("endpoint", places.iter().map(|place| place.endpoint.as_str()))
        .text("stage", places.iter().map(|place| place.stage.as_str()))
        .int("next_at", places.iter().map(|place| place.next_at))
        .int("number", places.iter().map(|place| place.number));
    let insert = "INSERT INTO delivery_queue (delivery_id, endpoint_id, stage, next_at, number) \
         SELECT r.id, r.endpoint, r.stage, r.next_at, r.number FROM {rows}";
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

/// Makes deliveries that wait, which are locked, wait as what is tried again, from `now` on; which they are. What is under
/// way stays.
pub(crate) async fn move_up(
    tx: &mut Tx,
    deliveries: impl Iterator<Item = &str> + Clone,
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let rows = Rows::ids(deliveries.clone()).int("now", deliveries.map(|_| millis(now)));
    let update = "UPDATE delivery_queue SET stage = 'later', next_at = r.now FROM {rows} \
         WHERE delivery_queue.delivery_id = r.id RETURNING delivery_id";
    let rows = tx.fetch(sql_over(rows, update)).await?;
    Ok(rows.iter().map(|row| row.get("delivery_id")).collect::<Result<_, _>>()?)
}
