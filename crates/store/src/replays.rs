//! Deliveries that their owner wants sent again: one, or all of a kind page by page.

use domain::{DeliveryId, DeliveryState, KeyId, ReplayId, Timestamp};

use crate::database::Tx;
use crate::delivery_queue::{Place, Stage, begin_anew, enqueue, is_under_way};
use crate::endpoints::{in_order, lock, reckon};
use crate::error::StoreError;
use crate::rows::Rows;
use crate::sql::{Row, Statement, Unreadable, sql, sql_over};
use crate::{Store, millis};

/// How many replays of one key may be unfinished.
pub const MAX_REPLAYS: u32 = 10;

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
    /// How many there were when it began, none before that; once it is finished, how many it has found.
    pub total: Option<u64>,
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
            "SELECT id, key_id, created_at, total, replayed, skipped, finished_at, state, before_at, seen_at, seen_id ",
            "FROM replays r ",
            $rest
        )
    };
}

/// Reads, of the deliveries that [`left`] binds: those that a replay has still to look at.
macro_rules! select_left {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM deliveries WHERE key_id = $1 AND created_at < $2 AND ($3 IS NULL OR state = $3) \
             AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = event_id AND e.sequence < 0) \
             AND (created_at, id) > ($4, $5) ",
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
        let is_again = send_again(&mut tx, std::slice::from_ref(&row), now).await? == 1;
        // What was tried before was under way then, even if it is given back just now.
        let was_tried = row.get::<i64>("attempts")? > 0;
        if !is_again && (was_tried || is_under_way(&mut tx, id.as_str()).await?) {
            return Ok(Replayed::UnderWay);
        }
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(Replayed::Waiting)
    }

    /// Asks to have many deliveries sent again; [`Store::run_replays`] does it. None: [`MAX_REPLAYS`] of the key are
    /// unfinished (or a few more, where several were asked for at once).
    pub async fn start_replay(
        &self,
        key: &KeyId,
        filter: &ReplayFilter,
        now: Timestamp,
    ) -> Result<Option<ReplayId>, StoreError> {
        let id = ReplayId::from_random(crate::vault::random()?);
        // Until a moment after now: what was made just now is meant too.
        let before = filter.before.map_or(i64::MAX, millis).min(millis(now).saturating_add(1));
        let insert = sql("INSERT INTO replays \
             (id, key_id, created_at, state, after_at, before_at, total, seen_at, seen_id, replayed, turn) \
             SELECT $1, $2, $3, $4, $5, $6, -1, $5, '', 0, \
                 (SELECT COALESCE(MAX(t.turn), 0) FROM replay_turns t WHERE t.key_id = $2) \
             WHERE (SELECT COUNT(*) FROM replays r WHERE r.key_id = $2 AND r.finished_at IS NULL) < $7")
        .bind(id.as_str())
        .bind(key.as_str())
        .bind(millis(now))
        .bind(filter.state.map(DeliveryState::as_str))
        .bind(filter.after.map_or(i64::MIN, millis))
        .bind(before)
        .bind(MAX_REPLAYS);
        if self.database.execute(insert).await? == 0 {
            return Ok(None);
        }
        self.wake.hint_replays();
        Ok(Some(id))
    }

    /// Does one page, of up to `limit` deliveries, of the replay whose turn it is: round the keys, and round the replays
    /// of each. None: there is nothing to do. How fast replays go is how often this is called.
    ///
    /// What takes long where there are many deliveries, to count them and to find those of a page, is only read: nobody
    /// who writes waits for it.
    pub async fn run_replays(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<ReplayProgress>, StoreError> {
        loop {
            let next = sql(select_replay!(
                "WHERE r.finished_at IS NULL ORDER BY \
                 COALESCE((SELECT t.turn FROM replay_turns t WHERE t.key_id = r.key_id), 0), \
                 r.turn, r.created_at, r.id LIMIT 1"
            ));
            let Some(replay) = self.database.fetch_optional(next).await? else { return Ok(None) };
            let mut progress = progress_from_row(&replay)?;
            if progress.total.is_none() {
                let count = left(select_left!("COUNT(*) AS total", ""), &replay)?;
                let counted = self.database.fetch_by_index(count).await?;
                progress.total = counted.first().map(|row| row.number("total")).transpose()?;
            }
            let rest = left(select_left!("id, created_at", "ORDER BY created_at, id LIMIT $6"), &replay)?;
            let rest = rest.bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let page = self.database.fetch_by_index(rest).await?;
            if page.len() < limit {
                progress.finished_at = Some(now);
            }
            if let Some(progress) = self.replay_page(progress, &replay, &page, now).await? {
                self.wake.hint_deliveries();
                return Ok(Some(progress));
            }
        }
    }

    /// Has a page of a replay sent again, as it was read; how far the replay is then. None: another node was quicker.
    async fn replay_page(
        &self,
        mut progress: ReplayProgress,
        replay: &Row,
        page: &[Row],
        now: Timestamp,
    ) -> Result<Option<ReplayProgress>, StoreError> {
        let mut tx = self.database.begin().await?;
        let (mut seen_at, mut seen_id): (i64, String) = (replay.get("seen_at")?, replay.get("seen_id")?);
        let unchanged = sql("SELECT 1 AS one FROM replays WHERE id = $1 AND seen_at = $2 AND seen_id = $3 \
             AND finished_at IS NULL {for_update}")
        .bind(progress.id.as_str())
        .bind(seen_at)
        .bind(seen_id.as_str());
        if tx.fetch_optional(unchanged).await?.is_none() {
            return Ok(None);
        }
        let found = locked(&mut tx, replay, page).await?;
        let replayed = send_again(&mut tx, &found, now).await?;
        progress.replayed += replayed;
        progress.skipped += (found.len() as u64).saturating_sub(replayed);
        if progress.finished_at.is_some() {
            // Deliveries come into the state and leave it while it runs.
            progress.total = Some(progress.replayed + progress.skipped);
        }
        if let Some(last) = page.last() {
            (seen_at, seen_id) = (last.get("created_at")?, last.get("id")?);
        }
        let turn = next_turn(&mut tx, &progress.key).await?;
        let update = sql("UPDATE replays SET seen_at = $1, seen_id = $2, replayed = $3, finished_at = $4, \
             total = $5, skipped = $6, turn = $7 WHERE id = $8")
        .bind(seen_at)
        .bind(seen_id)
        .bind(progress.replayed)
        .bind(progress.finished_at.map(millis))
        .bind(progress.total.map_or(-1, |total| i64::try_from(total).unwrap_or(i64::MAX)))
        .bind(progress.skipped)
        .bind(turn)
        .bind(progress.id.as_str());
        tx.execute(update).await?;
        tx.commit().await?;
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

/// What `select_left` reads, of this replay.
fn left(select: &'static str, replay: &Row) -> Result<Statement<'static>, StoreError> {
    Ok(sql(select)
        .bind(replay.get::<String>("key_id")?)
        .bind(replay.get::<i64>("before_at")?)
        .bind(replay.get::<Option<String>>("state")?)
        .bind(replay.get::<i64>("seen_at")?)
        .bind(replay.get::<String>("seen_id")?))
}

/// Locks the deliveries of a page, without those that are gone or left the state since it was read.
async fn locked(tx: &mut Tx, replay: &Row, page: &[Row]) -> Result<Vec<Row>, StoreError> {
    let ids = page.iter().map(|row| row.get("id")).collect::<Result<Vec<String>, _>>()?;
    let select = "SELECT id, endpoint_id, state, attempts FROM deliveries \
         WHERE id IN (SELECT r.id FROM {rows}) ORDER BY id {for_update}";
    let mut found = tx.fetch(sql_over(Rows::ids(ids.iter().map(String::as_str)), select)).await?;
    if let Some(wanted) = replay.get::<Option<String>>("state")? {
        found.retain(|row| row.get::<String>("state").is_ok_and(|state| state == wanted));
    }
    Ok(found)
}

/// Ends a key's turn; its number.
async fn next_turn(tx: &mut Tx, key: &KeyId) -> Result<i64, StoreError> {
    let turn = sql("INSERT INTO replay_turns (key_id, turn) \
         VALUES ($1, (SELECT COALESCE(MAX(turn), 0) + 1 FROM replay_turns)) \
         ON CONFLICT (key_id) DO UPDATE SET turn = excluded.turn RETURNING turn");
    let row = tx.fetch_optional(turn.bind(key.as_str())).await?;
    let row = row.ok_or_else(|| StoreError::Defect(format!("a turn of {key} was not written")))?;
    Ok(row.get("turn")?)
}

/// Makes deliveries wait again, which are locked; how many. What is under way is being sent as it is. So is what waits
/// for its first attempt: that is no replay, has its place in line, and may be held behind a live event.
async fn send_again(tx: &mut Tx, deliveries: &[Row], now: Timestamp) -> Result<u64, StoreError> {
    let (mut ended, mut tried) = (Vec::new(), Vec::new());
    for row in deliveries {
        let attempts: i64 = row.get("attempts")?;
        let place = Place {
            id: row.get("id")?,
            endpoint: row.get("endpoint_id")?,
            stage: Stage::Later.as_str().to_owned(),
            next_at: millis(now),
            number: attempts + 1,
            failures: 0,
            is_replay: 1,
        };
        match row.get::<String>("state")? == DeliveryState::Pending.as_str() {
            false => ended.push(place),
            true if attempts > 0 => tried.push(place),
            true => {}
        }
    }
    let waiting = begin_anew(tx, tried.iter().map(|one| one.id.as_str()), now).await?;
    tried.retain(|one| waiting.contains(&one.id));
    enqueue(tx, &ended).await?;
    ended.append(&mut tried);
    let update = "UPDATE deliveries SET state = 'pending', is_replay = 1 \
         WHERE id IN (SELECT r.id FROM {rows})";
    tx.execute(sql_over(Rows::ids(ended.iter().map(|one| one.id.as_str())), update)).await?;
    let endpoints = in_order(ended.iter().map(|one| one.endpoint.as_str()));
    lock(tx, &endpoints).await?;
    reckon(tx, &endpoints).await?;
    Ok(ended.len() as u64)
}

fn progress_from_row(row: &Row) -> Result<ReplayProgress, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(ReplayProgress {
            id: row.parse("id", ReplayId::parse)?,
            key: row.parse("key_id", KeyId::parse)?,
            created_at: Timestamp::from_millis(row.get("created_at")?),
            total: u64::try_from(row.get::<i64>("total")?).ok(),
            replayed: row.number("replayed")?,
            skipped: row.number("skipped")?,
            finished_at: row.time("finished_at")?,
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("replays", &id, reason))
}
