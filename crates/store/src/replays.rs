//! Deliveries that their owner wants sent again: one, or all of a kind page by page.

use domain::{DeliveryId, DeliveryState, KeyId, ReplayId, Timestamp};

use crate::database::Tx;
use crate::delivery_leases::under_way;
use crate::endpoints::{in_order, lock, reckon};
use crate::error::StoreError;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql, sql_over};
use crate::{Store, millis};

/// Which deliveries are sent again; what is none does not narrow. Those made after the request are not, and those of
/// live events never are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayFilter {
    /// In this state when their page comes.
    pub state: Option<DeliveryState>,
    /// Made then or later.
    pub after: Option<Timestamp>,
    /// Made earlier.
    pub before: Option<Timestamp>,
}

/// How far the errand of sending many deliveries again is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayProgress {
    /// Its name.
    pub id: ReplayId,
    /// Whose it is.
    pub key: KeyId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// How many there were when it was asked for; once it is finished, how many it has found.
    pub total: u64,
    /// How many wait to be sent again, or were.
    pub replayed: u64,
    /// How many were under way or waited for their first attempt, and are not sent again beside that.
    pub skipped: u64,
    /// When the last page was done.
    pub finished_at: Option<Timestamp>,
}

/// What became of the wish to have one delivery sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// It waits to be sent: again, or, as it did before, for the first time.
    Waiting,
    /// An attempt is under way, which was begun before it was asked for.
    UnderWay,
    /// It is that of a live event, which tells of a moment that is over.
    Live,
    /// The key has no such delivery.
    Unknown,
}

/// The columns that [`progress_from_row`] reads, and where the errand stands.
macro_rules! select_replay {
    ($rest:literal) => {
        concat!(
            "SELECT id, key_id, created_at, total, replayed, skipped, finished_at, state, after_at, before_at, seen_at, ",
            "seen_id FROM replays ",
            $rest
        )
    };
}

impl Store {
    /// Has a delivery sent again now, with its attempts numbered on and its retries from the start.
    pub async fn replay(&self, key: &KeyId, id: &DeliveryId, now: Timestamp) -> Result<Replayed, StoreError> {
        let mut tx = self.database.begin().await?;
        let select = sql("SELECT id, endpoint_id, state, attempts, \
             (SELECT e.sequence FROM events e WHERE e.id = event_id) AS sequence \
             FROM deliveries WHERE id = $1 AND key_id = $2 {for_update}");
        let Some(row) = tx.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await? else {
            return Ok(Replayed::Unknown);
        };
        if row.get::<i64>("sequence")? < 0 {
            return Ok(Replayed::Live);
        }
        if !under_way(&mut tx, [id.as_str()]).await?.is_empty() {
            return Ok(Replayed::UnderWay);
        }
        send_again(&mut tx, std::slice::from_ref(&row), now).await?;
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(Replayed::Waiting)
    }

    /// Begins to have many deliveries sent again; [`Store::run_replays`] does it.
    pub async fn start_replay(
        &self,
        key: &KeyId,
        filter: &ReplayFilter,
        now: Timestamp,
    ) -> Result<ReplayId, StoreError> {
        let id = ReplayId::from_random(crate::vault::random()?);
        // Until a moment after now: what was made just now is meant too.
        let before = filter.before.map_or(i64::MAX, millis).min(millis(now).saturating_add(1));
        let insert = sql("INSERT INTO replays \
             (id, key_id, created_at, state, after_at, before_at, total, seen_at, seen_id, replayed) \
             SELECT $1, $2, $3, $4, $5, $6, COUNT(*), $5, '', 0 FROM deliveries \
             WHERE key_id = $2 AND created_at >= $5 AND created_at < $6 AND ($4 IS NULL OR state = $4) \
             AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = event_id AND e.sequence < 0)")
        .bind(id.as_str())
        .bind(key.as_str())
        .bind(millis(now))
        .bind(filter.state.map(DeliveryState::as_str))
        .bind(filter.after.map_or(i64::MIN, millis))
        .bind(before);
        self.database.execute(insert).await?;
        self.wake.hint_replays();
        Ok(id)
    }

    /// Does one page, of up to `limit` deliveries, of the replay that has come least far; none: there is nothing to
    /// do. How fast a replay goes is how often this is called.
    pub async fn run_replays(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<ReplayProgress>, StoreError> {
        let any = sql("SELECT 1 AS one FROM replays WHERE finished_at IS NULL LIMIT 1");
        if self.database.fetch_optional(any).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.database.begin().await?;
        let next = sql(select_replay!(
            "WHERE finished_at IS NULL ORDER BY replayed, created_at, id LIMIT 1 {skip_locked}"
        ));
        let Some(replay) = tx.fetch_optional(next).await? else { return Ok(None) };
        let mut progress = progress_from_row(&replay)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = page(&mut tx, &replay, limit).await?;
        let replayed = send_again(&mut tx, &page, now).await?;
        progress.replayed += replayed;
        progress.skipped += (page.len() as u64).saturating_sub(replayed);
        if i64::try_from(page.len()).unwrap_or(i64::MAX) < limit {
            progress.finished_at = Some(now);
            // Deliveries come into the state and leave it while it runs.
            progress.total = progress.replayed + progress.skipped;
        }
        let (seen_at, seen_id) = match page.last() {
            Some(last) => (last.get("created_at")?, last.get("id")?),
            None => (replay.get::<i64>("seen_at")?, replay.get::<String>("seen_id")?),
        };
        let update = sql("UPDATE replays SET seen_at = $1, seen_id = $2, replayed = $3, finished_at = $4, \
             total = $5, skipped = $6 WHERE id = $7")
        .bind(seen_at)
        .bind(seen_id)
        .bind(i64::try_from(progress.replayed).unwrap_or(i64::MAX))
        .bind(progress.finished_at.map(millis))
        .bind(i64::try_from(progress.total).unwrap_or(i64::MAX))
        .bind(i64::try_from(progress.skipped).unwrap_or(i64::MAX))
        .bind(progress.id.as_str());
        tx.execute(update).await?;
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(Some(progress))
    }

    /// How far a key's replay is.
    pub async fn replay_progress(
        &self,
        key: &KeyId,
        id: &ReplayId,
    ) -> Result<Option<ReplayProgress>, StoreError> {
        let select = sql(select_replay!("WHERE id = $1 AND key_id = $2"));
        let row = self.database.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        row.as_ref().map(progress_from_row).transpose()
    }
}

/// The replay's next deliveries, locked.
async fn page(tx: &mut Tx, replay: &Row, limit: i64) -> Result<Vec<Row>, StoreError> {
    let select = sql("SELECT id, endpoint_id, state, attempts, created_at FROM deliveries \
         WHERE key_id = $1 AND created_at < $2 AND ($3 IS NULL OR state = $3) \
         AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = event_id AND e.sequence < 0) \
         AND (created_at, id) > ($4, $5) ORDER BY created_at, id LIMIT $6 {for_update}")
    .bind(replay.get::<String>("key_id")?)
    .bind(replay.get::<i64>("before_at")?)
    .bind(replay.get::<Option<String>>("state")?)
    .bind(replay.get::<i64>("seen_at")?)
    .bind(replay.get::<String>("seen_id")?)
    .bind(limit);
    tx.fetch(select).await
}

/// Makes deliveries wait again, which are locked; how many. What is under way is being sent as it is. So is what waits
/// for its first attempt: that is no replay, has its place in line, and may be held behind a live event.
async fn send_again(tx: &mut Tx, deliveries: &[Row], now: Timestamp) -> Result<u64, StoreError> {
    let mut tried = Vec::with_capacity(deliveries.len());
    for row in deliveries {
        if row.get::<String>("state")? != DeliveryState::Pending.as_str() || row.get::<i64>("attempts")? > 0 {
            tried.push((row.get::<String>("id")?, row.get::<String>("endpoint_id")?));
        }
    }
    let mut deliveries = tried;
    let under_way = under_way(tx, deliveries.iter().map(|(id, _)| id.as_str())).await?;
    deliveries.retain(|(id, _)| !under_way.contains(id));
    let rows = Rows::ids(deliveries.iter().map(|(id, _)| id.as_str()))
        .int("now", deliveries.iter().map(|_| millis(now)));
    let update = "UPDATE deliveries SET state = 'pending', next_at = r.now, is_first = 0, is_replay = 1, \
         failures = 0 FROM {rows} WHERE deliveries.id = r.id";
    tx.execute(sql_over(rows, update)).await?;
    let endpoints = in_order(deliveries.iter().map(|(_, endpoint)| endpoint.as_str()));
    lock(tx, &endpoints).await?;
    reckon(tx, &endpoints).await?;
    Ok(deliveries.len() as u64)
}

fn progress_from_row(row: &Row) -> Result<ReplayProgress, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(ReplayProgress {
            id: row.parse("id", ReplayId::parse)?,
            key: row.parse("key_id", KeyId::parse)?,
            created_at: Timestamp::from_millis(row.get("created_at")?),
            total: row.number("total")?,
            replayed: row.number("replayed")?,
            skipped: row.number("skipped")?,
            finished_at: row.time("finished_at")?,
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("replays", &id, reason))
}
