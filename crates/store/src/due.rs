//! What is due: the endpoints among which a node looks for work.
//!
//! Where few are due, a look finds all of them. Where many are, no look reads them all, nor may those that wait longest
//! hide the others: they may all be of one receiver that is dead. So the index is walked in lines, each the endpoints of
//! one key at one receiver, with a few of each line: the first lines of every key, so that no key's are hidden by
//! another's, and of all lines a page, from where the last look's ended, so that each has its turn.

use std::collections::HashSet;

use domain::{EndpointId, EndpointState, KeyId, Receiver, Timestamp};

use crate::endpoints::state_from_row;
use crate::error::StoreError;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, millis};

/// Endpoints of a line that a walk takes: those that wait longest.
const ENDPOINTS_OF_A_LINE: i64 = 8;
/// Lines of a key that every walk through all keys goes through.
const LINES_OF_A_KEY: i64 = 128;
/// Steps of a walk through all keys at most, each of which is an endpoint.
const STEPS_THROUGH_KEYS: i64 = 4096;
/// Steps of a page.
const STEPS_OF_A_PAGE: i64 = 512;

/// An endpoint that has deliveries to claim now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueEndpoint {
    /// Its name.
    pub id: EndpointId,
    /// Whose it is.
    pub key: KeyId,
    /// Where it is.
    pub receiver: Receiver,
    /// Its circuit is half open: one delivery can be claimed, and the next when that one's attempt was recorded.
    pub is_probe: bool,
    /// When it was last found back after its circuit was open, or was enabled.
    pub recovered_at: Option<Timestamp>,
    /// Live events may be waiting for it, which [`Store::claim_live`] claims.
    pub has_live: bool,
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Endpoints that are due; of each line those first that wait longest.
    pub endpoints: Vec<DueEndpoint>,
    /// Where the next look has to go on to see every line; none where this one was the last of a round.
    pub rest: Option<Line>,
}

/// The endpoints of one key at one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The key's id.
    pub key: String,
    /// Host and port.
    pub receiver: String,
}

impl Line {
    /// Before all others.
    const START: Self = Self { key: String::new(), receiver: String::new() };
}

impl Store {
    /// The endpoints that have a delivery to claim by `now`: all of them where they are at most `few`, and otherwise
    /// some of every line, in several looks: each goes on where the one before has left a rest.
    ///
    /// What this costs grows with the endpoints that are due and is bounded; their deliveries cost nothing. Attempts
    /// whose lease ran out are recorded as interrupted before, so that their deliveries are among what is due.
    pub async fn due_endpoints(
        &self,
        now: Timestamp,
        few: usize,
        from: Option<&Line>,
    ) -> Result<Due, StoreError> {
        let mut look = self.look(now, few).await?;
        if look.has_interrupted {
            self.settle_interrupted(now).await?;
            look = self.look(now, few).await?;
        }
        match look.is_crowded {
            false => Ok(Due { endpoints: look.due, rest: None }),
            true => self.due_in_lines(now, from.unwrap_or(&Line::START)).await,
        }
    }

    /// Up to `limit` of the endpoints that have a delivery to claim by `now` and had none before `since`, the last to
    /// become due first.
    pub async fn freshly_due_endpoints(
        &self,
        since: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DueEndpoint>, StoreError> {
        let select = sql("SELECT id, key_id, receiver, state, recovered_at, has_live FROM endpoints \
             WHERE due_at >= $1 AND due_at <= $2 ORDER BY due_at DESC LIMIT $3");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.database.fetch(select.bind(millis(since)).bind(millis(now)).bind(limit)).await?;
        rows.iter().map(due_endpoint_from_row).collect()
    }

    async fn look(&self, now: Timestamp, few: usize) -> Result<Look, StoreError> {
        // The minimum and not any one: PostgreSQL walks the index for it, whatever it believes of the table.
        let select = sql(
            "SELECT l.lease_left, l.due, e.id, e.key_id, e.receiver, e.state, e.recovered_at, e.has_live FROM \
             (SELECT (SELECT MIN(until) FROM delivery_leases) - {clock} AS lease_left, \
                 (SELECT COUNT(*) FROM (SELECT 1 FROM endpoints WHERE due_at <= $1 ORDER BY due_at LIMIT $2 + 1) \
                  AS c) AS due) AS l \
             LEFT JOIN (SELECT * FROM endpoints WHERE due_at <= $1 ORDER BY due_at LIMIT $2) AS e ON l.due <= $2 \
             ORDER BY e.due_at",
        );
        let few = i64::try_from(few).unwrap_or(i64::MAX >> 1);
        let rows = self.database.fetch(select.bind(millis(now)).bind(few)).await?;
        let mut look = Look { due: Vec::new(), is_crowded: false, has_interrupted: false };
        for row in &rows {
            look.has_interrupted = row.get::<Option<i64>>("lease_left")?.is_some_and(|left| left <= 0);
            look.is_crowded = row.get::<i64>("due")? > few;
            if row.get::<Option<String>>("id")?.is_some() {
                look.due.push(due_endpoint_from_row(row)?);
            }
        }
        Ok(look)
    }

    /// What is due of a page of lines, and unless all lines are on it, of the first lines of every key.
    async fn due_in_lines(&self, now: Timestamp, from: &Line) -> Result<Due, StoreError> {
        let mut page = self.walk(now, from, i64::MAX, STEPS_OF_A_PAGE).await?;
        if *from == Line::START && page.rest.is_none() {
            return Ok(page);
        }
        let first = self.walk(now, &Line::START, LINES_OF_A_KEY, STEPS_THROUGH_KEYS).await?;
        let seen: HashSet<EndpointId> = page.endpoints.iter().map(|one| one.id.clone()).collect();
        page.endpoints.extend(first.endpoints.into_iter().filter(|one| !seen.contains(&one.id)));
        Ok(page)
    }

    /// Walks through so many lines of each key, in their order, from the one after `from`; at most so many steps.
    async fn walk(&self, now: Timestamp, from: &Line, lines: i64, steps: i64) -> Result<Due, StoreError> {
        let select = sql(WALK)
            .bind(millis(now))
            .bind(from.key.as_str())
            .bind(from.receiver.as_str())
            .bind(lines)
            .bind(ENDPOINTS_OF_A_LINE)
            .bind(steps);
        let mut due = Due { endpoints: Vec::new(), rest: None };
        for row in &self.database.fetch(select).await? {
            if row.get::<i64>("step")? == steps {
                due.rest = Some(Line { key: row.get("key_id")?, receiver: row.get("receiver")? });
            }
            if row.get::<i64>("due_at")? <= millis(now) {
                due.endpoints.push(due_endpoint_from_row(row)?);
            }
        }
        Ok(due)
    }
}

struct Look {
    due: Vec<DueEndpoint>,
    /// There are more than were asked for, and none were read.
    is_crowded: bool,
    /// A lease ran out.
    has_interrupted: bool,
}

/// The first endpoint in the order of the index for which the condition holds.
macro_rules! first_that {
    ($condition:literal) => {
        concat!(
            "(SELECT n.id FROM endpoints n WHERE n.due_at IS NOT NULL AND ",
            $condition,
            " ORDER BY n.key_id, n.receiver, n.due_at, n.id LIMIT 1)"
        )
    };
}

/// A step is one endpoint: the next of the line that is due, or the first of the key's next line, which may not be due,
/// or that of the next key's first line. Each is one search in the index, for which the conditions are apart: SQLite
/// uses no more than the first column of a comparison of rows, and PostgreSQL none of an `OR`.
const WALK: &str = concat!(
    "WITH RECURSIVE walk (id, key_id, receiver, state, recovered_at, has_live, due_at, place, line, step) AS (\
     SELECT e.id, e.key_id, e.receiver, e.state, e.recovered_at, e.has_live, e.due_at, CAST(1 AS BIGINT), \
         CAST(1 AS BIGINT), CAST(1 AS BIGINT) \
     FROM endpoints e WHERE e.id = COALESCE(",
    first_that!("n.key_id = $2 AND n.receiver > $3"),
    ", ",
    first_that!("n.key_id > $2"),
    ") UNION ALL \
     SELECT e.id, e.key_id, e.receiver, e.state, e.recovered_at, e.has_live, e.due_at, \
         CASE WHEN e.key_id = w.key_id AND e.receiver = w.receiver THEN w.place + 1 ELSE 1 END, \
         CASE WHEN e.key_id <> w.key_id THEN 1 WHEN e.receiver <> w.receiver THEN w.line + 1 ELSE w.line END, \
         w.step + 1 \
     FROM walk w JOIN endpoints e ON e.id = COALESCE(CASE WHEN w.place < $5 THEN ",
    first_that!(
        "n.key_id = w.key_id AND n.receiver = w.receiver AND n.due_at >= w.due_at AND n.due_at <= $1 \
         AND (n.due_at > w.due_at OR n.id > w.id)"
    ),
    " END, CASE WHEN w.line < $4 THEN ",
    first_that!("n.key_id = w.key_id AND n.receiver > w.receiver"),
    " END, ",
    first_that!("n.key_id > w.key_id"),
    ") WHERE w.step < $6) \
     SELECT id, key_id, receiver, state, recovered_at, has_live, due_at, step \
     FROM walk WHERE due_at <= $1 OR step = $6 ORDER BY step"
);

fn due_endpoint_from_row(row: &Row) -> Result<DueEndpoint, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(DueEndpoint {
            id: row.parse("id", EndpointId::parse)?,
            key: row.parse("key_id", KeyId::parse)?,
            receiver: Receiver::from_stored(row.get("receiver")?),
            is_probe: state_from_row(row)? == EndpointState::Failing,
            recovered_at: row.time("recovered_at")?,
            has_live: row.get::<i64>("has_live")? == 1,
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("endpoints", &id, reason))
}
