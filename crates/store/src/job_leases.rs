//! Leases of jobs that ran out: their holder died, was cut off, or stopped without a word.

use std::time::Duration;

use domain::{Job, Lease, NodeId, Timestamp};

use crate::error::StoreError;
use crate::queue::{put_back, raise_fence};
use crate::row::fetched_from_row;
use crate::sql::sql;
use crate::{Store, duration_millis, millis};

/// How many leases that ran out are dealt with in one transaction.
const RELEASED_AT_ONCE: i64 = 100;

impl Store {
    /// How long until the first lease of a job runs out, if there is one; nothing, if it has.
    pub async fn next_job_lease_end(&self) -> Result<Option<Duration>, StoreError> {
        let select = sql("SELECT MIN(until) - {clock} AS lease_left FROM job_leases");
        let Some(row) = self.database.fetch_optional(select).await? else { return Ok(None) };
        let left: Option<i64> = row.get("lease_left")?;
        Ok(left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0))))
    }

    /// Puts the jobs whose lease ran out back into the queue, those that have attempts left; how many there were.
    pub async fn release_expired_jobs(&self, max_attempts: u32) -> Result<u64, StoreError> {
        let mut released = 0;
        loop {
            let mut tx = self.database.begin().await?;
            let select =
                sql("SELECT l.job_id, l.percent, l.fetched_bytes, l.fetched_requests FROM job_leases l \
                 JOIN jobs j ON j.id = l.job_id \
                 WHERE l.until <= {clock} AND j.attempts < $1 LIMIT $2 {skip_locked}");
            let expired = tx.fetch(select.bind(max_attempts).bind(RELEASED_AT_ONCE)).await?;
            for row in &expired {
                let job: String = row.get("job_id")?;
                tx.execute(sql("DELETE FROM job_leases WHERE job_id = $1").bind(job.as_str())).await?;
                let (percent, fetched) = (row.get("percent")?, fetched_from_row(row)?);
                put_back(&mut tx, &job, percent, fetched, Timestamp::LONG_AGO, 0).await?;
            }
            tx.commit().await?;
            released += expired.len() as u64;
            if expired.is_empty() {
                break;
            }
        }
        if released > 0 {
            self.wake.hint_jobs();
        }
        Ok(released)
    }

    /// Claims jobs whose lease ran out on their last attempt, for the caller to fail them with an event. This
    /// raises the fence, so that whoever lost the lease cannot finish them any more, and counts no attempt.
    pub async fn claim_spent_jobs(
        &self,
        node: &NodeId,
        max_attempts: u32,
        lease: Duration,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Lease<Job>>, StoreError> {
        let mut tx = self.database.begin().await?;
        let select = sql("SELECT l.job_id FROM job_leases l JOIN jobs j ON j.id = l.job_id \
             WHERE l.until <= {clock} AND j.attempts >= $1 LIMIT $2 {skip_locked}");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut claimed = Vec::new();
        for row in tx.fetch(select.bind(max_attempts).bind(limit)).await? {
            let job: String = row.get("job_id")?;
            let fence = raise_fence(&mut tx, &job, 0).await?;
            let update = sql("UPDATE job_leases SET fence = $1, holder = $2, until = {clock} + $3, \
                 started_at = $4 WHERE job_id = $5")
            .bind(fence)
            .bind(node.as_str())
            .bind(duration_millis(lease))
            .bind(millis(now))
            .bind(job.as_str());
            tx.execute(update).await?;
            if let Some(item) = self.leased_job(&mut tx, &job).await? {
                claimed.push(Lease { item, attempt: fence, holder: node.clone() });
            }
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Ends every lease at once, of jobs and of deliveries: what an embedded database does at its start, when no
    /// other process can hold one. What then happens to each is what happens when a lease runs out.
    pub async fn release_everything(&self) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        tx.execute(sql("UPDATE job_leases SET until = 0")).await?;
        tx.execute(sql("UPDATE delivery_leases SET until = 0")).await?;
        tx.commit().await?;
        self.wake.hint_jobs();
        self.wake.hint_deliveries();
        Ok(())
    }
}
