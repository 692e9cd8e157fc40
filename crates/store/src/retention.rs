//! How long things are kept: results, rows, tokens.

use std::collections::HashMap;
use std::time::Duration;

use domain::{Delivery, JobId, Lease, Timestamp};

use crate::error::StoreError;
use crate::rows::Rows;
use crate::sql::{Row, Statement, sql, sql_over};
use crate::{Store, duration_millis, millis};

/// Rows that one transaction deletes: few enough that others wait no longer than for any other write.
const TRIMMED_AT_ONCE: i64 = 500;

/// Of a job `j` nothing is sent any more: no delivery waits, unless for its owner to enable the endpoint, and none is under
/// way.
macro_rules! nothing_comes {
    () => {
        "NOT EXISTS (SELECT 1 FROM deliveries d JOIN endpoints p ON p.id = d.endpoint_id \
             WHERE d.job_id = j.id AND d.state = 'pending' AND p.state <> 'disabled') \
         AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN delivery_leases l ON l.delivery_id = d.id \
             WHERE d.job_id = j.id)"
    };
}

/// Until when a delivery's file is there that was swept: as `delivery_columns` has it.
const GONE: Timestamp = Timestamp::from_millis(0);

impl Store {
    /// Keeps results longer whose event nobody has yet: those that expire before `now + margin` expire then, but
    /// no later than `at_most` after they were made. How many there were. An expiry never moves earlier.
    ///
    /// Call it before [`Store::take_expired`], so that what could still be kept is not swept.
    pub async fn keep_undelivered(
        &self,
        now: Timestamp,
        margin: Duration,
        at_most: Duration,
    ) -> Result<u64, StoreError> {
        // Locked in the order of their ids, as by `keep_claimed`.
        let update = sql("UPDATE jobs SET expires_at = \
                 CASE WHEN finished_at + $2 < $1 THEN finished_at + $2 ELSE $1 END \
             WHERE id IN (SELECT j.id FROM jobs j \
                 WHERE j.expires_at IS NOT NULL AND j.swept = 0 AND j.expires_at < $1 \
                 AND j.state = 'completed' AND j.expires_at < j.finished_at + $2 \
                 AND EXISTS (SELECT 1 FROM deliveries d WHERE d.job_id = j.id AND d.state = 'pending') \
                 ORDER BY j.id {for_update})");
        let until = millis(now.plus(margin));
        self.database.execute(update.bind(until).bind(duration_millis(at_most))).await
    }

    /// The same for what is about to be sent: the files that these deliveries name are kept for `keep` from now, whatever
    /// the last [`Store::keep_undelivered`] foresaw, and the deliveries are told until when that is. Past `at_most` after
    /// a result was made nothing keeps it longer, and until then all of `keep` is added: so one that is delivered at the
    /// last moment is there as long as any other. What is swept stays gone.
    pub async fn keep_claimed(
        &self,
        leases: &mut [Lease<Delivery>],
        now: Timestamp,
        keep: Duration,
        at_most: Duration,
    ) -> Result<(), StoreError> {
        let until = now.plus(keep);
        let is_short =
            |lease: &Lease<Delivery>| lease.item.file_until.is_some_and(|at| at > GONE && at < until);
        let mut short: Vec<_> = leases.iter_mut().filter(|lease| is_short(lease)).collect();
        if short.is_empty() {
            return Ok(());
        }
        let jobs = Rows::ids(short.iter().map(|lease| lease.item.event.job.as_str()));
        let select = "SELECT o.id, o.finished_at, o.expires_at FROM jobs o \
             WHERE o.swept = 0 AND o.id IN (SELECT r.id FROM {rows}) ORDER BY o.id {for_update}";
        let mut tx = self.database.begin().await?;
        let mut kept = HashMap::new();
        for row in tx.fetch(sql_over(jobs, select)).await? {
            let is_late =
                row.get::<i64>("finished_at")?.saturating_add(duration_millis(at_most)) <= millis(now);
            let expires_at: i64 = row.get("expires_at")?;
            kept.insert(
                row.get::<String>("id")?,
                if is_late { expires_at } else { expires_at.max(millis(until)) },
            );
        }
        let rows = Rows::ids(kept.keys().map(String::as_str)).int("until", kept.values().copied());
        let update = "UPDATE jobs SET expires_at = r.until FROM {rows} WHERE jobs.id = r.id";
        tx.execute(sql_over(rows, update)).await?;
        tx.commit().await?;
        for lease in &mut short {
            let until = kept.get(lease.item.event.job.as_str());
            lease.item.file_until = Some(until.map_or(GONE, |until| Timestamp::from_millis(*until)));
        }
        Ok(())
    }

    /// Ended jobs whose files may go now: results past their expiry, and whatever failed jobs left behind. From here
    /// on their files count as gone, so that no delivery promises one that is being deleted; what a crash leaves in
    /// between is taken again. A result that [`Store::keep_undelivered`] would keep is left to that.
    pub async fn take_expired(
        &self,
        now: Timestamp,
        at_most: Duration,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let update = sql("UPDATE jobs SET swept = 2 WHERE id IN (SELECT j.id FROM jobs j \
                 WHERE j.expires_at IS NOT NULL AND j.swept <> 1 AND j.expires_at <= $1 \
                 AND (j.swept = 2 OR j.state <> 'completed' OR j.finished_at + $2 <= $1 OR NOT EXISTS \
                     (SELECT 1 FROM deliveries d WHERE d.job_id = j.id AND d.state = 'pending')) \
                 ORDER BY j.expires_at LIMIT $3 {skip_locked}) RETURNING id");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let update = update.bind(millis(now)).bind(duration_millis(at_most)).bind(limit);
        let mut tx = self.database.begin().await?;
        let rows = tx.fetch(update).await?;
        tx.commit().await?;
        rows.iter().map(|row| Ok(row.parse("id", JobId::parse)?)).collect()
    }

    /// Notes that the files of these jobs are gone.
    pub async fn mark_swept(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for job in jobs {
            tx.execute(sql("UPDATE jobs SET swept = 1 WHERE id = $1").bind(job.as_str())).await?;
        }
        tx.commit().await
    }

    /// Deletes jobs that ended more than `rows` ago, with their events, deliveries and attempts, once their files
    /// are gone and nothing is left to deliver that could be; and idempotency tokens past their time. How many of
    /// both. Endpoints that nothing is left of and replays that are done go with them.
    pub async fn trim(&self, now: Timestamp, rows: Duration) -> Result<u64, StoreError> {
        let tokens = self.trim_batches(|| {
            sql("DELETE FROM idempotency WHERE (key_id, token) IN (SELECT i.key_id, i.token \
                 FROM idempotency i WHERE i.keep_until <= $1 LIMIT $2 {skip_locked})")
            .bind(millis(now))
            .bind(TRIMMED_AT_ONCE)
        });
        // A disabled endpoint is remembered: forgetting it would enable it.
        let endpoints = self.trim_batches(|| {
            sql("DELETE FROM endpoints WHERE id IN (SELECT p.id FROM endpoints p \
                 WHERE p.due_at IS NULL AND p.state <> 'disabled' AND p.changed_at <= $1 AND NOT EXISTS \
                     (SELECT 1 FROM deliveries d WHERE d.endpoint_id = p.id) \
                 LIMIT $2 {skip_locked})")
            .bind(millis(now.minus(rows)))
            .bind(TRIMMED_AT_ONCE)
        });
        let replays = self.trim_batches(|| {
            sql("DELETE FROM replays WHERE id IN (SELECT r.id FROM replays r WHERE r.finished_at <= $1 \
                 LIMIT $2 {skip_locked})")
            .bind(millis(now.minus(rows)))
            .bind(TRIMMED_AT_ONCE)
        });
        let trimmed = self.trim_jobs(now.minus(rows)).await? + tokens.await?;
        endpoints.await?;
        replays.await?;
        Ok(trimmed)
    }

    /// Deletes jobs that ended by then, some at a time. What is under way, though nothing more is sent there, is
    /// recorded first: an attempt must not outlive its delivery.
    async fn trim_jobs(&self, by: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let mut tx = self.database.begin().await?;
            let select = sql(concat!(
                "SELECT j.id FROM jobs j WHERE j.swept = 1 AND j.finished_at <= $1 AND ",
                nothing_comes!(),
                " LIMIT $2 {skip_locked}"
            ));
            let found = ids(&tx.fetch(select.bind(millis(by)).bind(TRIMMED_AT_ONCE)).await?)?;
            if found.is_empty() {
                return Ok(deleted);
            }
            // Asked again once nobody can replay or claim their deliveries any more.
            let found_jobs = || Rows::ids(found.iter().map(String::as_str));
            let deliveries = "SELECT d.id FROM deliveries d WHERE d.job_id IN (SELECT r.id FROM {rows}) \
                 ORDER BY d.id {for_update}";
            tx.fetch(sql_over(found_jobs(), deliveries)).await?;
            let places = "SELECT q.delivery_id FROM delivery_queue q WHERE q.delivery_id IN (SELECT d.id \
                 FROM deliveries d WHERE d.job_id IN (SELECT r.id FROM {rows})) {for_update}";
            tx.fetch(sql_over(found_jobs(), places)).await?;
            let select = concat!(
                "SELECT j.id FROM jobs j WHERE j.id IN (SELECT r.id FROM {rows}) AND ",
                nothing_comes!()
            );
            let jobs = ids(&tx.fetch(sql_over(found_jobs(), select)).await?)?;
            if jobs.is_empty() {
                return Ok(deleted);
            }
            let jobs = || Rows::ids(jobs.iter().map(String::as_str));
            let attempts = "DELETE FROM delivery_attempts WHERE delivery_id IN \
                 (SELECT d.id FROM deliveries d WHERE d.job_id IN (SELECT r.id FROM {rows}))";
            tx.execute(sql_over(jobs(), attempts)).await?;
            let places = "DELETE FROM delivery_queue WHERE delivery_id IN \
                 (SELECT d.id FROM deliveries d WHERE d.job_id IN (SELECT r.id FROM {rows}))";
            tx.execute(sql_over(jobs(), places)).await?;
            deleted += tx
                .execute(sql_over(jobs(), "DELETE FROM jobs WHERE id IN (SELECT r.id FROM {rows})"))
                .await?;
            tx.commit().await?;
        }
    }

    /// Runs a bounded deletion until it finds nothing more.
    async fn trim_batches<'a>(&self, delete: impl Fn() -> Statement<'a>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            match self.database.execute(delete()).await? {
                0 => return Ok(deleted),
                rows => deleted += rows,
            }
        }
    }
}

fn ids(rows: &[Row]) -> Result<Vec<String>, StoreError> {
    Ok(rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?)
}
