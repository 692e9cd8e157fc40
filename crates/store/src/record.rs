//! What came of deliveries: recording attempts.

use std::time::Duration;

use domain::{
    CircuitPolicy, Delivery, DeliveryAttempt, DeliveryState, EndpointVerdict, Lease, Phases, RequestHead,
    SendError, SendOutcome, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::database::Tx;
use crate::deliveries::held;
use crate::delivery_queue::{Retry, end, newest, try_again};
use crate::error::StoreError;
use crate::health::judge;
use crate::live::let_go;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql_over};
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

/// An attempt that has ended, and what follows from it for the delivery and for its endpoint.
type Ended = (Lease<Delivery>, DeliveryAttempt, Next, EndpointVerdict);

impl Store {
    /// Records attempts, what happens next, and what they mean for their endpoints, all in one transaction,
    /// because a commit costs a disk's flush however much is in it. For each, whether it was recorded: `false` if
    /// the lease is no longer the newest.
    pub async fn record_attempts(
        &self,
        attempts: &[Ended],
        circuit: &CircuitPolicy,
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        if attempts.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut is_recorded = vec![true; attempts.len()];
        let mut ended: Vec<&Ended> = attempts.iter().collect();
        if move_on(&mut tx, &ended).await? < attempts.len() as u64 {
            // Seldom: begun anew, to be told which.
            tx.undo().await?;
            tx = self.database.begin().await?;
            let leases: Vec<_> = attempts.iter().map(|(lease, ..)| held(lease)).collect();
            let newest = newest(&mut tx, &leases).await?;
            let is_newest =
                |(lease, ..): &Ended| newest.contains(&(lease.item.id.as_str().to_owned(), lease.attempt));
            is_recorded = attempts.iter().map(is_newest).collect();
            ended.retain(|ended| is_newest(ended));
            move_on(&mut tx, &ended).await?;
        }
        let rows: Vec<_> = ended
            .iter()
            .map(|(lease, attempt, ..)| (lease.item.id.as_str(), lease.attempt, attempt))
            .collect();
        insert_attempts(&mut tx, &rows).await?;
        let is_live = |lease: &Lease<Delivery>| lease.item.event.kind.is_live();
        let live = ended.iter().filter(|(lease, ..)| is_live(lease));
        let live: Vec<&str> = live.map(|(lease, ..)| lease.item.event.job.as_str()).collect();
        if !live.is_empty() {
            let_go(&mut tx, &live, now).await?;
        }
        let is_retried = ended.iter().any(|(_, _, next, _)| matches!(next, Next::RetryAt(_)));
        let verdicts: Vec<_> = ended
            .iter()
            .map(|(lease, .., verdict)| (lease.item.endpoint(), &lease.item.id, verdict))
            .collect();
        let is_changed = judge(&mut tx, &verdicts, circuit, is_retried || !live.is_empty(), now).await?;
        tx.commit().await?;
        if is_changed {
            self.wake.hint_deliveries();
        }
        Ok(is_recorded)
    }
}

/// Moves deliveries on to where their attempts have brought them; of how many the lease was the newest. Of the others too
/// the delivery was changed, which is to be undone.
async fn move_on(tx: &mut Tx, ended: &[&Ended]) -> Result<u64, StoreError> {
    let mut ended = ended.to_vec();
    // As all who lock several.
    ended.sort_unstable_by(|(one, ..), (other, ..)| one.item.id.as_str().cmp(other.item.id.as_str()));
    let state = |next: &Next| match next {
        Next::Delivered => DeliveryState::Delivered,
        Next::RetryAt(_) => DeliveryState::Pending,
        Next::Exhausted => DeliveryState::Exhausted,
    };
    let rows = Rows::ids(ended.iter().map(|(lease, ..)| lease.item.id.as_str()))
        .int("number", ended.iter().map(|(lease, ..)| i64::from(lease.attempt)))
        .text("state", ended.iter().map(|(_, _, next, _)| state(next).as_str()));
    let update =
        "UPDATE deliveries SET state = r.state, attempts = r.number FROM {rows} WHERE deliveries.id = r.id";
    tx.execute(sql_over(rows, update)).await?;
    let retries = ended.iter().filter_map(|(lease, _, next, _)| match next {
        Next::RetryAt(at) => Some(Retry { lease: held(lease), at: *at, is_failure: true }),
        Next::Delivered | Next::Exhausted => None,
    });
    try_again(tx, &retries.collect::<Vec<_>>()).await?;
    end(tx, &ended.iter().map(|(lease, ..)| held(lease)).collect::<Vec<_>>()).await
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
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

/// Writes attempts down, each under its delivery's name and the number of its lease.
pub(crate) async fn insert_attempts(
    tx: &mut Tx,
    attempts: &[(&str, u32, &DeliveryAttempt)],
) -> Result<(), StoreError> {
    let outcomes = || attempts.iter().map(|(.., attempt)| &attempt.outcome);
    let phases = outcomes().map(|outcome| text(&PhasesRow::from(outcome.phases)));
    let phases = phases.collect::<Result<Vec<_>, _>>()?;
    let rows = Rows::ids(attempts.iter().map(|(delivery, ..)| *delivery))
        .int("number", attempts.iter().map(|(_, number, _)| i64::from(*number)))
        .int("started_at", attempts.iter().map(|(.., attempt)| millis(attempt.started_at)))
        .int("took_micros", outcomes().map(|outcome| micros(outcome.took)))
        .int("status", outcomes().map(|outcome| outcome.status.map(i64::from)))
        .text("error", outcomes().map(|outcome| outcome.error.map(SendError::as_str)))
        .bytes("answer", outcomes().map(|outcome| outcome.answer.as_slice()))
        .int("retry_after", outcomes().map(|outcome| outcome.retry_after.map(duration_millis)))
        .int("was_sent", outcomes().map(|outcome| i64::from(outcome.was_sent)))
        .text("phases", phases.iter().map(String::as_str))
        .text("request", outcomes().map(|outcome| outcome.request.as_str()));
    let insert = "INSERT INTO delivery_attempts \
         (delivery_id, number, started_at, took_micros, status, error, answer, retry_after, was_sent, phases, \
         request) \
         SELECT r.id, r.number, r.started_at, r.took_micros, r.status, r.error, r.answer, r.retry_after, \
             r.was_sent, r.phases, r.request FROM {rows}";
    tx.execute(sql_over(rows, insert)).await.map(drop)
}

fn text(part: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(part)
        .map_err(|error| StoreError::Defect(format!("an attempt cannot be written: {error}")))
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
            request: request(row)?,
        },
    })
}

/// An attempt's request: a text, or a list of names and values from versions that kept it as JSON.
fn request(row: &Row) -> Result<RequestHead, Unreadable> {
    let text: Option<String> = row.get("request")?;
    match text {
        None => Ok(RequestHead::default()),
        // No field's name begins with a bracket.
        Some(text) if text.starts_with('[') => {
            let fields: Option<Vec<(String, String)>> = json(row, "request")?;
            Ok(fields.unwrap_or_default().into_iter().collect())
        }
        Some(text) => Ok(RequestHead::from_text(text)),
    }
}

fn json<T: for<'de> Deserialize<'de>>(row: &Row, column: &str) -> Result<Option<T>, Unreadable> {
    let text: Option<String> = row.get(column)?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|error| Unreadable(format!("column `{column}`: {error}")))
    };
    text.map(read).transpose()
}
