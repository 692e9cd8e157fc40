//! Endpoints: where a claim looks for work, and what attempts mean for the next.
//!
//! `due_at` of an endpoint is never later than the truth, on PostgreSQL too: whoever makes a delivery wait locks the
//! endpoint's row in the same transaction, and whoever reckons `due_at` anew locks it in a statement of its own
//! first, so that the reckoning sees what was committed before. Several endpoints are locked in the order of their
//! ids, and last of all that is locked (`delivery_queue`): nobody who holds one waits for a delivery.

use crate::database::Tx;
use crate::error::StoreError;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql, sql_over};
use crate::{Store, millis};
use domain::{Endpoint, EndpointId, EndpointState, KeyId, Receiver, Timestamp, WebUrl, WebhookUrl};

/// The columns that [`endpoint_from_row`] reads.
macro_rules! select_endpoint {
    ($rest:literal) => {
        concat!(
            "SELECT id, key_id, url, receiver, state, failures, first_failed_at, retry_at, reason, changed_at ",
            "FROM endpoints ",
            $rest
        )
    };
}
pub(crate) use select_endpoint;

impl Store {
    /// One endpoint of a key.
    pub async fn endpoint(&self, key: &KeyId, id: &EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let select = sql(select_endpoint!("WHERE id = $1 AND key_id = $2"));
        let row = self.database.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        row.as_ref().map(endpoint_from_row).transpose()
    }

    /// Forgets an endpoint's failures: what waits for it is sent at its time, which for most has passed. `false`:
    /// the key has no such endpoint.
    pub async fn enable_endpoint(
        &self,
        key: &KeyId,
        id: &EndpointId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let update =
            sql("UPDATE endpoints SET failures = 0, first_failed_at = NULL, retry_at = NULL, pauses = 0, \
             reason = NULL, probe_id = NULL, state = 'healthy', \
             changed_at = CASE WHEN state = 'healthy' THEN changed_at ELSE $3 END, \
             recovered_at = CASE WHEN state = 'healthy' THEN recovered_at ELSE $3 END \
             WHERE id = $1 AND key_id = $2");
        let update = update.bind(id.as_str()).bind(key.as_str()).bind(millis(now));
        if tx.execute(update).await? == 0 {
            return Ok(false);
        }
        reckon(&mut tx, &[id.as_str()]).await?;
        tx.commit().await?;
        self.wake.hint_deliveries();
        Ok(true)
    }
}

/// Makes sure that the endpoint is there, and is due by `now` unless it is disabled; its name. Its row is locked.
pub(crate) async fn expect_delivery(
    tx: &mut Tx,
    key: &KeyId,
    url: &WebhookUrl,
    now: Timestamp,
) -> Result<EndpointId, StoreError> {
    let id = EndpointId::of(key, url);
    let upsert = sql("INSERT INTO endpoints \
         (id, key_id, receiver, url, state, changed_at, failures, due_at) \
         VALUES ($1, $2, $3, $4, 'healthy', $5, 0, $5) \
         ON CONFLICT (id) DO UPDATE SET due_at = CASE \
             WHEN endpoints.due_at < excluded.due_at THEN endpoints.due_at \
             WHEN endpoints.retry_at > excluded.due_at THEN endpoints.retry_at \
             ELSE excluded.due_at END \
         WHERE endpoints.state <> 'disabled'")
    .bind(id.as_str())
    .bind(key.as_str())
    .bind(Receiver::of(url.url()).as_str())
    .bind(url.as_written())
    .bind(millis(now));
    tx.execute(upsert).await?;
    Ok(id)
}

/// Each of these once, in the order in which endpoints are locked.
pub(crate) fn in_order<'a>(endpoints: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut endpoints: Vec<&str> = endpoints.collect();
    endpoints.sort_unstable();
    endpoints.dedup();
    endpoints
}

/// Locks endpoints, always in the same order.
pub(crate) async fn lock(tx: &mut Tx, endpoints: &[&str]) -> Result<(), StoreError> {
    if let Tx::Postgres(_) = tx {
        let select = "SELECT id FROM endpoints WHERE id IN (SELECT r.id FROM {rows}) ORDER BY id FOR UPDATE";
        tx.fetch(sql_over(Rows::ids(endpoints.iter().copied()), select)).await?;
    }
    Ok(())
}

/// When the first of what waits for an endpoint in this stage is due.
macro_rules! first_of_stage {
    ($stage:literal) => {
        concat!(
            "(SELECT q.next_at FROM delivery_queue q WHERE q.endpoint_id = endpoints.id AND q.stage = '",
            $stage,
            "' ORDER BY q.next_at LIMIT 1)"
        )
    };
}

/// Reckons `due_at` of endpoints anew, which are locked.
pub(crate) async fn reckon(tx: &mut Tx, endpoints: &[&str]) -> Result<(), StoreError> {
    let update = concat!(
        "UPDATE endpoints SET due_at = CASE \
         WHEN state = 'disabled' OR (state = 'failing' AND probe_id IS NOT NULL) THEN NULL \
         ELSE (SELECT CASE WHEN MIN(w.next_at) < endpoints.retry_at THEN endpoints.retry_at \
                 ELSE MIN(w.next_at) END FROM (SELECT ",
        first_of_stage!("first"),
        " AS next_at UNION ALL SELECT ",
        first_of_stage!("later"),
        " UNION ALL SELECT CASE WHEN endpoints.has_live = 1 AND endpoints.state = 'healthy' THEN ",
        first_of_stage!("live"),
        " END) AS w) END, \
         has_live = CASE WHEN has_live = 1 AND ",
        first_of_stage!("live"),
        " IS NOT NULL THEN 1 ELSE 0 END \
         WHERE id IN (SELECT r.id FROM {rows})"
    );
    tx.execute(sql_over(Rows::ids(endpoints.iter().copied()), update)).await.map(drop)
}

/// Deliveries that were claimed wait again, each by its endpoint and its own name: what of it was a probe is over, and when
/// their endpoints are due is reckoned anew.
pub(crate) async fn end_probes<'a>(
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

pub(crate) fn state_from_row(row: &Row) -> Result<EndpointState, Unreadable> {
    row.parse("state", |text| EndpointState::parse(text).ok_or(()))
}

pub(crate) fn endpoint_from_row(row: &Row) -> Result<Endpoint, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(Endpoint {
            id: row.parse("id", EndpointId::parse)?,
            key: row.parse("key_id", KeyId::parse)?,
            url: row.parse("url", WebUrl::parse)?,
            receiver: Receiver::from_stored(row.get("receiver")?),
            state: state_from_row(row)?,
            failures: row.number("failures")?,
            first_failed_at: row.time("first_failed_at")?,
            retry_at: row.time("retry_at")?,
            reason: row.get("reason")?,
            changed_at: Timestamp::from_millis(row.get("changed_at")?),
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("endpoints", &id, reason))
}
