//! What attempts mean for their endpoints: read under a lock, reckoned by domain, written again.

use domain::{CircuitPolicy, DeliveryId, EndpointHealth, EndpointId, EndpointVerdict, Timestamp};

use crate::database::Tx;
use crate::endpoints::{in_order, lock, reckon, state_from_row};
use crate::error::StoreError;
use crate::millis;
use crate::rows::Rows;
use crate::sql::{Row, Unreadable, sql_over};
use crate::vault::random;

/// Applies what attempts, each at a delivery, say of their endpoints, in the order in which they are given. `is_retried`: some of the
/// attempts' deliveries wait again. Whether something may be due at another time than before.
///
/// Costs one read where all is well: a success of a healthy endpoint changes nothing.
pub(crate) async fn judge(
    tx: &mut Tx,
    verdicts: &[(EndpointId, &DeliveryId, &EndpointVerdict)],
    policy: &CircuitPolicy,
    is_retried: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let endpoints = in_order(verdicts.iter().map(|(id, ..)| id.as_str()));
    let is_well = |verdict| matches!(verdict, &EndpointVerdict::Succeeded | &EndpointVerdict::Unchanged);
    let is_all_well = verdicts.iter().all(|(.., verdict)| is_well(*verdict));
    if is_all_well && !is_retried && !any_unwell(tx, &endpoints).await? {
        return Ok(false);
    }
    lock(tx, &endpoints).await?;
    let mut changed = Vec::new();
    // One for each: those that fail together are to be probed apart.
    for (id, probe, before) in healths(tx, &endpoints).await? {
        let (mut health, random) = (before.clone(), random_unit()?);
        for (_, delivery, verdict) in verdicts.iter().filter(|(other, ..)| other.as_str() == id) {
            let is_probe = probe.as_deref() == Some(delivery.as_str());
            health.learn(&of_attempt(verdict, is_probe), policy, now, random);
        }
        if health != before {
            changed.push((id, health));
        }
    }
    if !changed.is_empty() {
        write(tx, &changed, now).await?;
    }
    reckon(tx, &endpoints).await?;
    Ok(true)
}

/// What an attempt says, which was the probe when it was claimed, and may no longer be the one that is waited for.
fn of_attempt(verdict: &EndpointVerdict, is_awaited: bool) -> EndpointVerdict {
    match verdict {
        EndpointVerdict::Failed { is_probe, rest_until } => {
            EndpointVerdict::Failed { is_probe: *is_probe && is_awaited, rest_until: *rest_until }
        }
        other => other.clone(),
    }
}

/// Uniform in 0 to 1.
fn random_unit() -> Result<f64, StoreError> {
    Ok(f64::from(u32::from_be_bytes(random()?)) / f64::from(u32::MAX))
}

async fn any_unwell(tx: &mut Tx, endpoints: &[&str]) -> Result<bool, StoreError> {
    let select = "SELECT id FROM endpoints WHERE id IN (SELECT r.id FROM {rows}) \
         AND (state <> 'healthy' OR failures > 0) LIMIT 1";
    Ok(tx.fetch_optional(sql_over(Rows::ids(endpoints.iter().copied()), select)).await?.is_some())
}

/// How endpoints have been doing, each under its name and with the delivery that is its probe.
async fn healths(
    tx: &mut Tx,
    endpoints: &[&str],
) -> Result<Vec<(String, Option<String>, EndpointHealth)>, StoreError> {
    let select = "SELECT id, state, failures, first_failed_at, retry_at, pauses, probe_id, reason \
         FROM endpoints WHERE id IN (SELECT r.id FROM {rows})";
    let rows = tx.fetch(sql_over(Rows::ids(endpoints.iter().copied()), select)).await?;
    let read = |row: &Row| {
        let id: String = row.get("id")?;
        let read = || -> Result<_, Unreadable> { Ok((row.get("probe_id")?, health_from_row(row)?)) };
        let read = read().map_err(|Unreadable(reason)| StoreError::corrupt("endpoints", &id, reason));
        read.map(|(probe, health)| (id, probe, health))
    };
    rows.iter().map(read).collect()
}

fn health_from_row(row: &Row) -> Result<EndpointHealth, Unreadable> {
    Ok(EndpointHealth {
        state: state_from_row(row)?,
        failures: row.number("failures")?,
        first_failed_at: row.time("first_failed_at")?,
        retry_at: row.time("retry_at")?,
        pauses: row.number("pauses")?,
        is_probing: row.get::<Option<String>>("probe_id")?.is_some(),
        reason: row.get("reason")?,
    })
}

async fn write(tx: &mut Tx, changed: &[(String, EndpointHealth)], now: Timestamp) -> Result<(), StoreError> {
    let healths = || changed.iter().map(|(_, health)| health);
    let rows = Rows::ids(changed.iter().map(|(id, _)| id.as_str()))
        .text("state", healths().map(|health| health.state.as_str()))
        .int("failures", healths().map(|health| i64::from(health.failures)))
        .int("first_failed_at", healths().map(|health| health.first_failed_at.map(millis)))
        .int("retry_at", healths().map(|health| health.retry_at.map(millis)))
        .int("pauses", healths().map(|health| i64::from(health.pauses)))
        .int("is_probing", healths().map(|health| i64::from(health.is_probing)))
        .text("reason", healths().map(|health| health.reason.as_deref()))
        .int("now", healths().map(|_| millis(now)));
    let update = "UPDATE endpoints SET state = r.state, failures = r.failures, \
             first_failed_at = r.first_failed_at, retry_at = r.retry_at, pauses = r.pauses, \
             probe_id = CASE WHEN r.is_probing = 1 THEN endpoints.probe_id END, reason = r.reason, \
             changed_at = CASE WHEN r.state <> endpoints.state THEN r.now ELSE endpoints.changed_at END, \
             recovered_at = CASE WHEN r.state = 'healthy' AND endpoints.state <> 'healthy' THEN r.now \
                 ELSE endpoints.recovered_at END \
         FROM {rows} WHERE endpoints.id = r.id";
    tx.execute(sql_over(rows, update)).await.map(drop)
}
