//! Who works on which job: claim, heartbeat, progress, hand back. What happens when nobody does any more is in
//! `job_leases`.
//!
//! Every transaction that touches both takes a job's lease before its row, so that two of them never wait for
//! each other. What is skipped because another node has it locked is that node's.

use std::time::Duration;

use domain::{Fetched, InputFile, Job, JobId, KeyId, Lease, NodeId, Progress, Queued, Step, Timestamp};

use crate::database::Tx;
use crate::error::StoreError;
use crate::row::{input_to_text, job_from_row, select_job};
use crate::sql::sql;
use crate::{Store, duration_millis, millis};

/// How many keys a claim tries before it gives up for now: all jobs of the ones before were locked by other nodes.
const KEYS_TRIED: i64 = 16;

/// What came of one try to claim a job.
enum Claim {
    Leased(Box<Lease<Job>>),
    Unreadable,
    NoneLeft,
}

impl Store {
    /// Claims up to `slots` queued jobs that may start by `now`: of the key with the fewest running jobs (of the
    /// one served longest ago, if they have as many), the highest priority, then the oldest. Each is `Processing`
    /// since `now`, at the percentage that a customer has seen, and leased for `lease` by the database's clock.
    pub async fn claim_jobs(
        &self,
        node: &NodeId,
        slots: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Lease<Job>>, StoreError> {
        let mut claimed = Vec::new();
        // Counted by tries: a queue full of rows that cannot be read must not hold the caller here.
        for _ in 0..slots {
            match self.claim_job(node, lease, now).await {
                Ok(Claim::Leased(job)) => claimed.push(*job),
                Ok(Claim::Unreadable) => {}
                Ok(Claim::NoneLeft) => break,
                // What is claimed already is worth having: a lease that nobody hears of costs an attempt.
                Err(error) if !claimed.is_empty() => {
                    tracing::warn!(%error, "claimed fewer jobs than there are slots");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    /// A transaction a slot: the next choice must count this one's job, and no node may hold two keys' turns.
    async fn claim_job(&self, node: &NodeId, lease: Duration, now: Timestamp) -> Result<Claim, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some((key, job)) = next_job(&mut tx, now).await? else { return Ok(Claim::NoneLeft) };
        let fence = start(&mut tx, &key, &job, node, lease, now).await?;
        let item = self.leased_job(&mut tx, &job).await?;
        tx.commit().await?;
        Ok(match item {
            Some(item) => Claim::Leased(Box::new(Lease { item, attempt: fence, holder: node.clone() })),
            None => Claim::Unreadable,
        })
    }

    /// Reads a job that was just claimed. One that cannot be read stays claimed by nobody until its lease runs
    /// out, so that it blocks neither its key's queue nor this loop, and is reported each time.
    pub(crate) async fn leased_job(&self, tx: &mut Tx, id: &str) -> Result<Option<Job>, StoreError> {
        let row = tx.fetch_optional(sql(select_job!("WHERE j.id = $1")).bind(id)).await?;
        let row = row.ok_or_else(|| StoreError::Defect(format!("{id} vanished while it was claimed")))?;
        match job_from_row(&row, &self.vault) {
            Ok(job) => Ok(Some(job)),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "a job cannot be worked on");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes leases last `lease` from now; gives back the jobs whose lease is no longer this node's.
    pub async fn extend_jobs(
        &self,
        node: &NodeId,
        jobs: &[(JobId, u32)],
        lease: Duration,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut lost = Vec::new();
        let mut tx = self.database.begin().await?;
        for (job, fence) in jobs {
            let update = sql("UPDATE job_leases SET until = {clock} + $1 \
                 WHERE job_id = $2 AND fence = $3 AND holder = $4");
            let update = update.bind(duration_millis(lease)).bind(job.as_str()).bind(*fence);
            if tx.execute(update.bind(node.as_str())).await? == 0 {
                lost.push(job.clone());
            }
        }
        tx.commit().await?;
        Ok(lost)
    }

    /// Saves how far a job is, what it has fetched by now, and what is known of its source if that is new; the
    /// percentage never falls. `false`: the lease is no longer the newest, and nothing was saved.
    pub async fn save_progress(
        &self,
        lease: &Lease<Job>,
        input: Option<&InputFile>,
        fetched: Fetched,
        progress: Progress,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let update = sql("UPDATE job_leases SET step = $1, remaining = $2, \
             percent = CASE WHEN percent > $3 THEN percent ELSE $3 END, \
             fetched_bytes = $6, fetched_requests = $7 WHERE job_id = $4 AND fence = $5")
        .bind(progress.step.as_str())
        .bind(progress.remaining.map(duration_millis))
        .bind(u32::from(progress.percent.get()))
        .bind(lease.item.id.as_str())
        .bind(lease.attempt)
        .bind(fetched.bytes)
        .bind(fetched.requests);
        if tx.execute(update).await? == 0 {
            return Ok(false);
        }
        if let Some(input) = input {
            let update = sql("UPDATE jobs SET input = $1 WHERE id = $2");
            tx.execute(update.bind(input_to_text(input)?).bind(lease.item.id.as_str())).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Puts a job back into the queue with what its holder has fetched for it, not to be claimed before `not_before`.
    /// `refund` gives the attempt back: the node stops, the job did nothing wrong. `false`: the lease is no longer the
    /// newest, and nothing was changed.
    pub async fn release_job(
        &self,
        lease: &Lease<Job>,
        queued: Queued,
        not_before: Timestamp,
        refund: bool,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(percent) = take_lease(&mut tx, lease).await? else { return Ok(false) };
        let percent = percent.max(i64::from(queued.percent.get()));
        let refund = i64::from(refund);
        put_back(&mut tx, lease.item.id.as_str(), percent, lease.item.fetched, not_before, refund).await?;
        tx.commit().await?;
        self.wake.hint_jobs();
        Ok(true)
    }

    /// When the next queued job may be claimed: `now`, if one may be already. One read, for it is asked again and again
    /// where nothing happens.
    pub async fn next_job_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let select = sql("SELECT CASE \
             WHEN (SELECT 1 FROM jobs WHERE state = 'queued' AND not_before <= $1 LIMIT 1) IS NOT NULL THEN $1 \
             ELSE (SELECT MIN(not_before) FROM jobs WHERE state = 'queued') END AS due_at");
        let row = self.database.fetch_optional(select.bind(millis(now))).await?;
        Ok(row.map(|row| row.time("due_at")).transpose()?.flatten())
    }
}

/// The key whose turn it is and its next job, which is locked.
async fn next_job(tx: &mut Tx, now: Timestamp) -> Result<Option<(KeyId, String)>, StoreError> {
    // One probe of the index `jobs_queued` a key, however many jobs wait. `LIMIT 1` and not `EXISTS`, of which
    // PostgreSQL may make a join that reads every queued job.
    let keys = sql("SELECT k.id FROM keys k LEFT JOIN queue_turns t ON t.key_id = k.id \
         WHERE (SELECT 1 FROM jobs j WHERE j.key_id = k.id AND j.state = 'queued' \
             AND j.not_before <= $1 LIMIT 1) IS NOT NULL \
         ORDER BY (SELECT COUNT(*) FROM job_leases l WHERE l.key_id = k.id), \
             COALESCE(t.turn, 0), k.id LIMIT $2");
    for row in tx.fetch(keys.bind(millis(now)).bind(KEYS_TRIED)).await? {
        let key = row.parse("id", KeyId::parse)?;
        let job = sql("SELECT id FROM jobs WHERE key_id = $1 AND state = 'queued' AND not_before <= $2 \
             ORDER BY priority DESC, created_at, position, id LIMIT 1 {skip_locked}");
        let job = tx.fetch_optional(job.bind(key.as_str()).bind(millis(now))).await?;
        if let Some(row) = job {
            return Ok(Some((key, row.get("id")?)));
        }
    }
    Ok(None)
}

/// Moves a locked queued job to processing under a new lease; the new fence.
async fn start(
    tx: &mut Tx,
    key: &KeyId,
    job: &str,
    node: &NodeId,
    lease: Duration,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let fence = raise_fence(tx, job, 1).await?;
    let insert = sql("INSERT INTO job_leases \
         (job_id, key_id, fence, holder, until, started_at, step, percent, fetched_bytes, fetched_requests) \
         SELECT id, key_id, fence, $1, {clock} + $2, $3, $4, percent, fetched_bytes, fetched_requests \
         FROM jobs WHERE id = $5")
    .bind(node.as_str())
    .bind(duration_millis(lease))
    .bind(millis(now))
    .bind(Step::Downloading.as_str())
    .bind(job);
    tx.execute(insert).await?;
    let turn = sql("INSERT INTO queue_turns (key_id, turn) \
         VALUES ($1, (SELECT COALESCE(MAX(turn), 0) + 1 FROM queue_turns)) \
         ON CONFLICT (key_id) DO UPDATE SET turn = excluded.turn");
    tx.execute(turn.bind(key.as_str())).await?;
    Ok(fence)
}

/// Makes a job `processing` under the next fence, whose holder alone can end it; counts `attempts` more.
pub(crate) async fn raise_fence(tx: &mut Tx, job: &str, attempts: i64) -> Result<u32, StoreError> {
    let update = sql("UPDATE jobs SET state = 'processing', fence = fence + 1, attempts = attempts + $1 \
         WHERE id = $2 RETURNING fence");
    let row = tx.fetch_optional(update.bind(attempts).bind(job)).await?;
    let row = row.ok_or_else(|| StoreError::Defect(format!("{job} vanished while it was claimed")))?;
    Ok(row.number("fence")?)
}

/// Ends a lease, if it is the newest; the percentage that it had come to.
pub(crate) async fn take_lease(tx: &mut Tx, lease: &Lease<Job>) -> Result<Option<i64>, StoreError> {
    let delete = sql("DELETE FROM job_leases WHERE job_id = $1 AND fence = $2 RETURNING percent");
    let row = tx.fetch_optional(delete.bind(lease.item.id.as_str()).bind(lease.attempt)).await?;
    Ok(row.map(|row| row.get("percent")).transpose()?)
}

/// Makes a job `queued` again, not to be claimed before `not_before`; `refund` attempts are taken off, and the
/// percentage never falls.
pub(crate) async fn put_back(
    tx: &mut Tx,
    job: &str,
    percent: i64,
    fetched: Fetched,
    not_before: Timestamp,
    refund: i64,
) -> Result<(), StoreError> {
    let update = sql("UPDATE jobs SET state = 'queued', not_before = $1, attempts = attempts - $2, \
         percent = CASE WHEN percent > $3 THEN percent ELSE $3 END, \
         fetched_bytes = $5, fetched_requests = $6 WHERE id = $4");
    let update = update.bind(millis(not_before)).bind(refund).bind(percent).bind(job);
    let update = update.bind(fetched.bytes).bind(fetched.requests);
    tx.execute(update).await.map(drop)
}
