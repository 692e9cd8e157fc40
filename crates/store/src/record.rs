//! What came of deliveries: recording attempts, and showing them.

use std::time::Duration;

use domain::{
    Delivery, DeliveryAttempt, DeliveryState, JobId, KeyId, Lease, SendError, SendOutcome, Timestamp,
};

use crate::database::Tx;
use crate::deliveries::{delivery_from_row, select_delivery};
use crate::error::StoreError;
use crate::sql::{Row, Unreadable, sql};
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

/// A delivery as its owner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedDelivery {
    /// What goes where.
    pub delivery: Delivery,
    /// Where it stands.
    pub state: DeliveryState,
    /// Every attempt that has ended, in order.
    pub attempts: Vec<DeliveryAttempt>,
}

impl Store {
    /// Records attempts and what happens next, all in one transaction, because a commit costs a disk's flush
    /// however much is in it. For each, whether it was recorded: `false` if the lease is no longer the newest.
    pub async fn record_attempts(
        &self,
        attempts: &[(Lease<Delivery>, DeliveryAttempt, Next)],
        now: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut recorded = Vec::with_capacity(attempts.len());
        let mut tx = self.database.begin().await?;
        for (lease, attempt, next) in attempts {
            let (state, next_at) = match next {
                Next::Delivered => (DeliveryState::Delivered, now),
                Next::RetryAt(at) => (DeliveryState::Pending, *at),
                Next::Exhausted => (DeliveryState::Exhausted, now),
            };
            let id = lease.item.id.as_str();
            let update = sql("UPDATE deliveries SET state = $1, next_at = $2, attempts = $3, \
                 holder = NULL, until = NULL, claimed_at = NULL \
                 WHERE id = $4 AND attempts = $3 - 1 AND holder = $5")
            .bind(state.as_str())
            .bind(millis(next_at))
            .bind(lease.attempt)
            .bind(id)
            .bind(lease.holder.as_str());
            let is_newest = tx.execute(update).await? == 1;
            if is_newest {
                insert_attempt(&mut tx, id, &DeliveryAttempt { number: lease.attempt, ..attempt.clone() })
                    .await?;
            }
            recorded.push(is_newest);
        }
        tx.commit().await?;
        Ok(recorded)
    }

    /// The deliveries of a job of this key, the oldest first, with every attempt.
    pub async fn deliveries_of(&self, key: &KeyId, job: &JobId) -> Result<Vec<RecordedDelivery>, StoreError> {
        let select =
            sql(select_delivery!("WHERE d.job_id = $1 AND d.key_id = $2 ORDER BY d.created_at, e.sequence"));
        let rows = self.database.fetch(select.bind(job.as_str()).bind(key.as_str())).await?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in &rows {
            let delivery = delivery_from_row(row)?;
            let state = row.parse("state", |text| DeliveryState::parse(text).ok_or(()));
            let state = state.map_err(|Unreadable(reason)| {
                StoreError::corrupt("deliveries", delivery.id.as_str(), reason)
            })?;
            let attempts = self.attempts_of(delivery.id.as_str()).await?;
            deliveries.push(RecordedDelivery { delivery, state, attempts });
        }
        Ok(deliveries)
    }

    async fn attempts_of(&self, delivery: &str) -> Result<Vec<DeliveryAttempt>, StoreError> {
        let select = sql("SELECT number, started_at, took_micros, status, error, answer, retry_after \
             FROM delivery_attempts WHERE delivery_id = $1 ORDER BY number");
        let rows = self.database.fetch(select.bind(delivery)).await?;
        let read = |row: &Row| {
            attempt_from_row(row)
                .map_err(|Unreadable(reason)| StoreError::corrupt("delivery_attempts", delivery, reason))
        };
        rows.iter().map(read).collect()
    }
}

pub(crate) async fn insert_attempt(
    tx: &mut Tx,
    delivery: &str,
    attempt: &DeliveryAttempt,
) -> Result<(), StoreError> {
    let outcome = &attempt.outcome;
    let insert = sql("INSERT INTO delivery_attempts \
         (delivery_id, number, started_at, took_micros, status, error, answer, retry_after) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
    .bind(delivery)
    .bind(attempt.number)
    .bind(millis(attempt.started_at))
    .bind(i64::try_from(outcome.took.as_micros()).unwrap_or(i64::MAX))
    .bind(outcome.status.map(i64::from))
    .bind(outcome.error.map(SendError::as_str))
    .bind(outcome.answer.as_slice())
    .bind(outcome.retry_after.map(duration_millis));
    tx.execute(insert).await.map(drop)
}

fn attempt_from_row(row: &Row) -> Result<DeliveryAttempt, Unreadable> {
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
            was_sent: row.get::<Option<i64>>("status")?.is_some(),
            phases: domain::Phases::default(),
            request: Vec::new(),
        },
    })
}
