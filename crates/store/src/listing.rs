//! Deliveries and endpoints as their owner sees them: in pages, and one delivery with all its attempts.

use domain::{
    Delivery, DeliveryAttempt, DeliveryId, DeliveryState, Endpoint, EndpointId, EndpointState, EventId,
    EventKind, JobId, KeyId, Receiver, SendError, Timestamp, WebUrl, WebhookUrl,
};

use crate::deliveries::{delivery_columns, delivery_from_row};
use crate::endpoints::{endpoint_from_row, select_endpoint};
use crate::error::StoreError;
use crate::page::{Cursor, Page};
use crate::record::attempt_from_row;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, millis};

/// A delivery as its owner sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedDelivery {
    /// What goes where.
    pub delivery: Delivery,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is sent next, if its endpoint lets it; none while an attempt is under way or it is at its end.
    pub next_at: Option<Timestamp>,
    /// How its endpoint is doing.
    pub endpoint: Endpoint,
    /// Every attempt that has ended, in order.
    pub attempts: Vec<DeliveryAttempt>,
}

/// Which deliveries; what is none does not narrow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Of this job.
    pub job: Option<JobId>,
    /// In this state.
    pub state: Option<DeliveryState>,
    /// To this host and port.
    pub receiver: Option<Receiver>,
    /// Made then or later.
    pub after: Option<Timestamp>,
    /// Made earlier.
    pub before: Option<Timestamp>,
}

/// A delivery in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliverySummary {
    /// Its name.
    pub id: DeliveryId,
    /// What is brought.
    pub event: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The event's number among the key's, where it has one.
    pub sequence: Option<u64>,
    /// The job that it is about.
    pub job: JobId,
    /// Where to.
    pub url: WebhookUrl,
    /// Its host and port.
    pub receiver: Receiver,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts that have ended.
    pub attempts: u32,
    /// Whether its owner asked for it again.
    pub is_replay: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is sent next, if its endpoint lets it; none while an attempt is under way or it is at its end.
    pub next_at: Option<Timestamp>,
    /// The last attempt's status.
    pub last_status: Option<u16>,
    /// Why the last attempt got no answer, or none that counts.
    pub last_error: Option<SendError>,
}

/// A page of [`Store::deliveries`], of the rows `d` of `$from`.
macro_rules! select_page {
    ($with:literal, $from:literal) => {
        concat!(
            $with,
            "SELECT d.id, d.event_id, e.kind, e.sequence, d.job_id, d.url, d.receiver, \
             d.endpoint_id, d.state, d.attempts, d.is_replay, d.created_at, q.next_at, \
             a.status AS last_status, a.error AS last_error FROM ",
            $from,
            " JOIN events e ON e.id = d.event_id \
             LEFT JOIN delivery_queue q ON q.delivery_id = d.id \
             LEFT JOIN delivery_attempts a ON a.delivery_id = d.id AND a.number = d.attempts \
             WHERE d.key_id = $1 AND ($2 IS NULL OR d.job_id = $2) AND ($3 IS NULL OR d.state = $3) \
             AND ($4 IS NULL OR d.receiver = $4) AND d.created_at >= $5 AND d.created_at < $6 \
             AND (d.created_at, d.id) < ($7, $8) ORDER BY d.created_at DESC, d.id DESC LIMIT $9"
        )
    };
}

/// What [`Store::recorded`] reads.
macro_rules! select_delivery {
    ($rest:literal) => {
        concat!(
            "SELECT d.state, q.next_at, COALESCE(q.failures, l.failures, 0) AS failures, d.is_replay, \
             d.created_at AS delivery_created_at, ",
            delivery_columns!(),
            "FROM deliveries d JOIN events e ON e.id = d.event_id \
             LEFT JOIN delivery_queue q ON q.delivery_id = d.id \
             LEFT JOIN delivery_leases l ON l.delivery_id = d.id ",
            $rest
        )
    };
}

impl Store {
    /// A key's deliveries, the newest first.
    pub async fn deliveries(
        &self,
        key: &KeyId,
        filter: &DeliveryFilter,
        cursor: Option<&Cursor<DeliveryId>>,
        limit: usize,
    ) -> Result<Page<DeliverySummary, DeliveryId>, StoreError> {
        let select = match filter.job {
            // Read for themselves first: asked for key and job, SQLite would look through all that the key has.
            Some(_) => {
                sql(select_page!("WITH d AS MATERIALIZED (SELECT * FROM deliveries WHERE job_id = $2) ", "d"))
            }
            None => sql(select_page!("", "deliveries d")),
        }
        .bind(key.as_str())
        .bind(filter.job.as_ref().map(JobId::as_str))
        .bind(filter.state.map(DeliveryState::as_str))
        .bind(filter.receiver.as_ref().map(Receiver::as_str))
        .bind(filter.after.map_or(i64::MIN, millis))
        .bind(filter.before.map_or(i64::MAX, millis))
        .bind(cursor.map_or(i64::MAX, |cursor| millis(cursor.at)))
        .bind(cursor.map_or("", |cursor| cursor.id.as_str()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
        let rows = self.database.fetch(select).await?;
        let items = rows.iter().map(summary_from_row).collect::<Result<_, _>>()?;
        Ok(Page::of(items, limit, |item| Cursor { at: item.created_at, id: item.id.clone() }))
    }

    /// A key's endpoints, in this state or in any, the most recently changed first: one that changes while pages are
    /// asked for moves to the front.
    pub async fn endpoints(
        &self,
        key: &KeyId,
        state: Option<EndpointState>,
        cursor: Option<&Cursor<EndpointId>>,
        limit: usize,
    ) -> Result<Page<Endpoint, EndpointId>, StoreError> {
        let select = sql(select_endpoint!(
            "WHERE key_id = $1 AND ($2 IS NULL OR state = $2) AND (changed_at, id) < ($3, $4) \
             ORDER BY changed_at DESC, id DESC LIMIT $5"
        ))
        .bind(key.as_str())
        .bind(state.map(EndpointState::as_str))
        .bind(cursor.map_or(i64::MAX, |cursor| millis(cursor.at)))
        .bind(cursor.map_or("", |cursor| cursor.id.as_str()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
        let rows = self.database.fetch(select).await?;
        let items = rows.iter().map(endpoint_from_row).collect::<Result<_, _>>()?;
        Ok(Page::of(items, limit, |item| Cursor { at: item.changed_at, id: item.id.clone() }))
    }

    /// One delivery of a key, with every attempt.
    pub async fn delivery(
        &self,
        key: &KeyId,
        id: &DeliveryId,
    ) -> Result<Option<RecordedDelivery>, StoreError> {
        let select = sql(select_delivery!("WHERE d.id = $1 AND d.key_id = $2"));
        let row = self.database.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        match row {
            Some(row) => self.recorded(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The deliveries of a job of this key, the oldest first, with every attempt.
    pub async fn deliveries_of(&self, key: &KeyId, job: &JobId) -> Result<Vec<RecordedDelivery>, StoreError> {
        // The key is compared here: asked for both, SQLite would read all deliveries of the key.
        let select = sql(select_delivery!("WHERE d.job_id = $1 ORDER BY d.created_at, e.sequence"));
        let rows = self.database.fetch(select.bind(job.as_str())).await?;
        let mut deliveries = Vec::with_capacity(rows.len());
        for row in &rows {
            let delivery = self.recorded(row).await?;
            if delivery.delivery.event.key == *key {
                deliveries.push(delivery);
            }
        }
        Ok(deliveries)
    }

    async fn recorded(&self, row: &Row) -> Result<RecordedDelivery, StoreError> {
        let delivery = delivery_from_row(row)?;
        let id = delivery.id.as_str();
        let corrupt = |Unreadable(reason)| StoreError::corrupt("deliveries", id, reason);
        let endpoint = self.endpoint(&delivery.event.key, &delivery.endpoint()).await?;
        let endpoint = endpoint.ok_or_else(|| StoreError::corrupt("deliveries", id, "it has no endpoint"))?;
        Ok(RecordedDelivery {
            state: state_from_row(row).map_err(corrupt)?,
            created_at: Timestamp::from_millis(row.get("delivery_created_at")?),
            next_at: row.time("next_at")?,
            attempts: self.attempts_of(id).await?,
            endpoint,
            delivery,
        })
    }

    async fn attempts_of(&self, delivery: &str) -> Result<Vec<DeliveryAttempt>, StoreError> {
        let select =
            sql("SELECT number, started_at, took_micros, status, error, answer, retry_after, was_sent, \
             phases, request FROM delivery_attempts WHERE delivery_id = $1 ORDER BY number");
        let rows = self.database.fetch(select.bind(delivery)).await?;
        let read = |row: &Row| {
            attempt_from_row(row)
                .map_err(|Unreadable(reason)| StoreError::corrupt("delivery_attempts", delivery, reason))
        };
        rows.iter().map(read).collect()
    }
}

fn state_from_row(row: &Row) -> Result<DeliveryState, Unreadable> {
    row.parse("state", |text| DeliveryState::parse(text).ok_or(()))
}

fn summary_from_row(row: &Row) -> Result<DeliverySummary, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(DeliverySummary {
            id: row.parse("id", DeliveryId::parse)?,
            event: row.parse("event_id", EventId::parse)?,
            kind: row.parse("kind", |text| EventKind::parse(text).ok_or(()))?,
            sequence: u64::try_from(row.get::<i64>("sequence")?).ok(),
            job: row.parse("job_id", JobId::parse)?,
            url: row.parse("url", WebUrl::parse)?,
            receiver: Receiver::from_stored(row.get("receiver")?),
            endpoint: row.parse("endpoint_id", EndpointId::parse)?,
            state: state_from_row(row)?,
            attempts: row.number("attempts")?,
            is_replay: row.get::<i64>("is_replay")? == 1,
            created_at: Timestamp::from_millis(row.get("created_at")?),
            next_at: row.time("next_at")?,
            last_status: match row.get::<Option<i64>>("last_status")? {
                Some(_) => Some(row.number("last_status")?),
                None => None,
            },
            last_error: match row.get::<Option<String>>("last_error")? {
                Some(_) => Some(row.parse("last_error", |text| SendError::parse(text).ok_or(()))?),
                None => None,
            },
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("deliveries", &id, reason))
}
