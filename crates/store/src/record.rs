//! What came of deliveries: recording attempts.

use std::collections::HashSet;
use std::time::Duration;

use domain::{
    Delivery, DeliveryAttempt, DeliveryState, EndpointVerdict, Lease, Phases, SendError, SendOutcome,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::database::Tx;
use crate::endpoints::{Named, judge};
use crate::error::StoreError;
use crate::live::let_go;
use crate::sql::{Row, Unreadable, each, sql};
use crate::{Store, duration_millis, millis};

/// What happens to a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more: the receiver has it.
    Delivered,
    /// Another attempt at this time.
    RetryAt(Timestamp),
    /// Nothing more: it was the last attempt, or the receiver wants no other.
    Exhausted,
}

/// A delivery's new place, as an element of a statement.
#[derive(Serialize)]
struct Moved<'a> {
    id: &'a str,
    holder: &'a str,
    number: u32,
    state: &'static str,
    next_at: i64,
    failed: u8,
}

impl Store {
    /// Records attempts, what happens next, and what they mean for their endpoints, all in one transaction,
    /// because a commit costs a disk's flush however much is in it. For each, whether it was recorded: `false` if
    /// the lease is no longer the newest.
    pub async fn record_attempts(
        &self,
        attempts: &[(Lease<Delivery>, DeliveryAttempt, Next, EndpointVerdict)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let newest = end_leases(&mut tx, attempts, now).await?;
        let is_recorded: Vec<bool> = attempts
            .iter()
            .map(|(lease, ..)| newest.contains(&(lease.item.id.as_str().to_owned(), lease.attempt)))
            .collect();
        let (mut rows, mut verdicts, mut live, mut is_retried) = (Vec::new(), Vec::new(), Vec::new(), false);
        for (_, (lease, attempt, next, verdict)) in
            is_recorded.iter().zip(attempts).filter(|(recorded, _)| **recorded)
        {
            let mut row = AttemptRow::of(lease.item.id.as_str(), attempt)?;
            row.number = lease.attempt;
            rows.push(row);
            verdicts.push((lease.item.endpoint(), verdict));
            is_retried |= matches!(next, Next::RetryAt(_));
            if lease.item.event.kind.is_live() {
                live.push(Named { id: lease.item.event.job.as_str() });
            }
        }
        insert_attempts(&mut tx, &rows).await?;
        if !live.is_empty() {
            let_go(&mut tx, &live, now).await?;
            is_retried = true;
        }
        judge(&mut tx, &verdicts, is_retried, now).await?;
        tx.commit().await?;
        if !live.is_empty() {
            self.wake.hint_deliveries();
        }
        Ok(is_recorded)
    }
}

/// Ends the leases that are the newest; the deliveries and numbers of those.
async fn end_leases(
    tx: &mut Tx,
    attempts: &[(Lease<Delivery>, DeliveryAttempt, Next, EndpointVerdict)],
    now: Timestamp,
) -> Result<HashSet<(String, u32)>, StoreError> {
    let moved: Vec<Moved> = attempts
        .iter()
        .map(|(lease, _, next, _)| {
            let (state, next_at) = match next {
                Next::Delivered => (DeliveryState::Delivered, now),
                Next::RetryAt(at) => (DeliveryState::Pending, *at),
                Next::Exhausted => (DeliveryState::Exhausted, now),
            };
            Moved {
                id: lease.item.id.as_str(),
                holder: lease.holder.as_str(),
                number: lease.attempt,
                state: state.as_str(),
                next_at: millis(next_at),
                failed: u8::from(*next != Next::Delivered),
            }
        })
        .collect();
    let update = sql("UPDATE deliveries SET state = m.state, next_at = m.next_at, attempts = m.number, \
             failures = deliveries.failures + m.failed, is_first = 0, \
             holder = NULL, until = NULL, claimed_at = NULL \
         FROM (SELECT j.value ->> 'id' AS id, j.value ->> 'holder' AS holder, j.value ->> 'state' AS state, \
                 CAST(j.value ->> 'number' AS BIGINT) AS number, \
                 CAST(j.value ->> 'next_at' AS BIGINT) AS next_at, \
                 CAST(j.value ->> 'failed' AS BIGINT) AS failed FROM {each}) AS m \
         WHERE deliveries.id = m.id AND deliveries.attempts = m.number - 1 AND deliveries.holder = m.holder \
         RETURNING deliveries.id AS id, deliveries.attempts AS attempts");
    let rows = tx.fetch(update.bind(each(&moved)?)).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.number("attempts")?))).collect()
}

/// An attempt as an element of a statement.
#[derive(Serialize)]
pub(crate) struct AttemptRow {
    pub(crate) id: String,
    number: u32,
    started_at: i64,
    took_micros: i64,
    status: Option<u16>,
    error: Option<&'static str>,
    /// In hex.
    answer: String,
    retry_after: Option<i64>,
    was_sent: u8,
    phases: String,
    request: String,
}

impl AttemptRow {
    pub(crate) fn of(delivery: &str, attempt: &DeliveryAttempt) -> Result<Self, StoreError> {
        let outcome = &attempt.outcome;
        let text = |error| StoreError::Defect(format!("an attempt cannot be written: {error}"));
        Ok(Self {
            id: delivery.to_owned(),
            number: attempt.number,
            started_at: millis(attempt.started_at),
            took_micros: micros(outcome.took),
            status: outcome.status,
            error: outcome.error.map(SendError::as_str),
            answer: hex(&outcome.answer),
            retry_after: outcome.retry_after.map(duration_millis),
            was_sent: u8::from(outcome.was_sent),
            phases: serde_json::to_string(&PhasesRow::from(outcome.phases)).map_err(text)?,
            request: serde_json::to_string(&outcome.request).map_err(text)?,
        })
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Microseconds.
#[derive(Serialize, Deserialize)]
struct PhasesRow {
    dns: Option<u64>,
    connect: Option<u64>,
    tls: Option<u64>,
    answer: Option<u64>,
    body: Option<u64>,
}

impl From<Phases> for PhasesRow {
    fn from(phases: Phases) -> Self {
        let micros =
            |phase: Option<Duration>| phase.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        Self {
            dns: micros(phases.dns),
            connect: micros(phases.connect),
            tls: micros(phases.tls),
            answer: micros(phases.answer),
            body: micros(phases.body),
        }
    }
}

impl From<PhasesRow> for Phases {
    fn from(row: PhasesRow) -> Self {
        let duration = |phase: Option<u64>| phase.map(Duration::from_micros);
        Self {
            dns: duration(row.dns),
            connect: duration(row.connect),
            tls: duration(row.tls),
            answer: duration(row.answer),
            body: duration(row.body),
        }
    }
}

pub(crate) async fn insert_attempts(tx: &mut Tx, attempts: &[AttemptRow]) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let insert = sql("INSERT INTO delivery_attempts \
         (delivery_id, number, started_at, took_micros, status, error, answer, retry_after, was_sent, phases, \
         request) \
         SELECT j.value ->> 'id', CAST(j.value ->> 'number' AS BIGINT), \
             CAST(j.value ->> 'started_at' AS BIGINT), CAST(j.value ->> 'took_micros' AS BIGINT), \
             CAST(j.value ->> 'status' AS BIGINT), j.value ->> 'error', {answer}, \
             CAST(j.value ->> 'retry_after' AS BIGINT), CAST(j.value ->> 'was_sent' AS BIGINT), \
             j.value ->> 'phases', j.value ->> 'request' FROM {each}");
    tx.execute(insert.bind(each(attempts)?)).await.map(drop)
}

pub(crate) fn attempt_from_row(row: &Row) -> Result<DeliveryAttempt, Unreadable> {
    let status = match row.get::<Option<i64>>("status")? {
        Some(_) => Some(row.number("status")?),
        None => None,
    };
    let error = match row.get::<Option<String>>("error")? {
        Some(_) => Some(row.parse("error", |text| SendError::parse(text).ok_or(()))?),
        None => None,
    };
    let retry_after = match row.get::<Option<i64>>("retry_after")? {
        Some(_) => Some(Duration::from_millis(row.number("retry_after")?)),
        None => None,
    };
    Ok(DeliveryAttempt {
        number: row.number("number")?,
        started_at: Timestamp::from_millis(row.get("started_at")?),
        outcome: SendOutcome {
            status,
            error,
            answer: row.get("answer")?,
            retry_after,
            took: Duration::from_micros(row.number("took_micros")?),
            // Before it was kept: what was answered or interrupted may have been sent.
            was_sent: match row.get::<Option<i64>>("was_sent")? {
                Some(was_sent) => was_sent == 1,
                None => status.is_some() || error == Some(SendError::Interrupted),
            },
            phases: json::<PhasesRow>(row, "phases")?.map(Phases::from).unwrap_or_default(),
            request: json(row, "request")?.unwrap_or_default(),
        },
    })
}

fn json<T: for<'de> Deserialize<'de>>(row: &Row, column: &str) -> Result<Option<T>, Unreadable> {
    let text: Option<String> = row.get(column)?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|error| Unreadable(format!("column `{column}`: {error}")))
    };
    text.map(read).transpose()
}
