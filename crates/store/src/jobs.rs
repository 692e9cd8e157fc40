//! Submitting jobs and looking at them.

use domain::{BatchId, FileId, Job, JobId, JobState, KeyId, SourceSpec, Timestamp, Upload};

use crate::database::Tx;
use crate::error::StoreError;
use crate::row::{job_from_row, priority_number, select_job};
use crate::spec_row::spec_to_text;
use crate::sql::sql;
use crate::upload_retention::use_uploads;
use crate::{Store, millis};

/// What is accepted as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Submission {
    /// All queued, all of one key; with the same batch if they were submitted as one.
    pub jobs: Vec<Job>,
    /// If the request is to have one effect however often it is sent.
    pub idempotency: Option<Idempotency>,
    /// The queue's bound: how many jobs may be queued in all, these included.
    pub max_queued: u64,
}

/// A request that has one effect however often it is sent.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// What the customer called it.
    pub token: String,
    /// Of the request's body: the same token with another body is a conflict.
    pub digest: [u8; 32],
    /// What is answered to the first and to every repetition.
    pub answer: Vec<u8>,
    /// Until when the token is remembered.
    pub keep_until: Timestamp,
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// The jobs are queued.
    Accepted,
    /// They were before, and this was the answer.
    Replayed(Vec<u8>),
    /// The token was used with another body.
    Conflict,
    /// The queue is at its bound.
    QueueFull,
    /// A job names an upload that it cannot have.
    Unusable {
        /// Which of the jobs.
        position: usize,
        /// The upload, if the key has or had one of that name.
        upload: Option<Upload>,
    },
}

/// How much work waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    /// Jobs that wait for a worker.
    pub queued: u64,
    /// Jobs that are being worked on.
    pub processing: u64,
    /// Deliveries that are not at their end.
    pub deliveries_pending: u64,
}

impl Store {
    /// Accepts jobs, in one transaction with the token that makes the request idempotent.
    ///
    /// Submissions at the same moment on several nodes of PostgreSQL may each see room for themselves, so the
    /// bound may be passed by as many; it protects against a flood and not against one job too many.
    pub async fn submit(
        &self,
        key: &KeyId,
        submission: Submission,
        now: Timestamp,
    ) -> Result<Submitted, StoreError> {
        let mut tx = self.database.begin().await?;
        if let Some(idempotency) = &submission.idempotency
            && let Some(earlier) = claim_token(&mut tx, key, idempotency, now).await?
        {
            return Ok(earlier);
        }
        let count = sql("SELECT COUNT(*) AS queued FROM jobs WHERE state = 'queued'");
        let queued: u64 = match tx.fetch_optional(count).await? {
            Some(row) => row.number("queued")?,
            None => 0,
        };
        let wanted = u64::try_from(submission.jobs.len()).unwrap_or(u64::MAX);
        if queued.saturating_add(wanted) > submission.max_queued {
            return Ok(Submitted::QueueFull);
        }
        if let Some(unusable) = use_uploads(&mut tx, key, &submission, now).await? {
            tx.undo().await?;
            return Ok(unusable);
        }
        for (position, job) in submission.jobs.iter().enumerate() {
            self.insert_job(&mut tx, key, job, position).await?;
        }
        tx.commit().await?;
        self.wake.hint_jobs();
        Ok(Submitted::Accepted)
    }

    async fn insert_job(
        &self,
        tx: &mut Tx,
        key: &KeyId,
        job: &Job,
        position: usize,
    ) -> Result<(), StoreError> {
        let JobState::Queued(queued) = &job.state else {
            return Err(StoreError::Defect(format!("{} is submitted as {}", job.id, job.state.as_str())));
        };
        if job.key != *key {
            return Err(StoreError::Defect(format!("{} is submitted for another key", job.id)));
        }
        let upload = match &job.spec.source {
            SourceSpec::Upload { file, .. } => Some(file),
            SourceSpec::Url { .. } => None,
        };
        let insert =
            sql("INSERT INTO jobs (id, key_id, batch_id, position, spec, priority, created_at, state, \
             not_before, fence, attempts, percent, swept, upload_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', 0, 0, 0, $8, 0, $9)")
            .bind(job.id.as_str())
            .bind(key.as_str())
            .bind(job.batch.as_ref().map(BatchId::as_str))
            .bind(i64::try_from(position).unwrap_or(i64::MAX))
            .bind(spec_to_text(&job.spec, &job.id, &self.vault)?)
            .bind(priority_number(job.spec.options.priority))
            .bind(millis(job.created_at))
            .bind(u32::from(queued.percent.get()))
            .bind(upload.map(FileId::as_str));
        tx.execute(insert).await.map(drop)
    }

    /// A job of this key.
    pub async fn job(&self, key: &KeyId, id: &JobId) -> Result<Option<Job>, StoreError> {
        let select = sql(select_job!("WHERE j.id = $1 AND j.key_id = $2"));
        let row = self.database.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        row.map(|row| job_from_row(&row, &self.vault)).transpose()
    }

    /// A job of any key: for public links, whose signature is the permission.
    pub async fn any_job(&self, id: &JobId) -> Result<Option<Job>, StoreError> {
        let select = sql(select_job!("WHERE j.id = $1")).bind(id.as_str());
        let row = self.database.fetch_optional(select).await?;
        row.map(|row| job_from_row(&row, &self.vault)).transpose()
    }

    /// The jobs of a batch of this key, in the order in which they were submitted.
    pub async fn batch(&self, key: &KeyId, id: &BatchId) -> Result<Option<Vec<Job>>, StoreError> {
        let select = sql(select_job!("WHERE j.batch_id = $1 AND j.key_id = $2 ORDER BY j.position"));
        let rows = self.database.fetch(select.bind(id.as_str()).bind(key.as_str())).await?;
        let jobs: Vec<Job> =
            rows.iter().map(|row| job_from_row(row, &self.vault)).collect::<Result<_, _>>()?;
        Ok((!jobs.is_empty()).then_some(jobs))
    }

    /// How many jobs wait.
    pub async fn queued_jobs(&self) -> Result<u64, StoreError> {
        let select = sql("SELECT COUNT(*) AS queued FROM jobs WHERE state = 'queued'");
        let row = self.database.fetch_optional(select).await?;
        row.map_or(Ok(0), |row| Ok(row.number("queued")?))
    }

    /// How much work waits, of each kind: for operators, since it counts deliveries too, of which there may be many.
    pub async fn queue_depth(&self) -> Result<QueueDepth, StoreError> {
        let select = sql("SELECT (SELECT COUNT(*) FROM jobs WHERE state = 'queued') AS queued, \
             (SELECT COUNT(*) FROM job_leases) AS processing, \
             (SELECT COUNT(*) FROM delivery_queue) + (SELECT COUNT(*) FROM delivery_leases) AS pending");
        let Some(row) = self.database.fetch_optional(select).await? else { return Ok(QueueDepth::default()) };
        Ok(QueueDepth {
            queued: row.number("queued")?,
            processing: row.number("processing")?,
            deliveries_pending: row.number("pending")?,
        })
    }
}

/// Takes the token for this request, or says what came of the request that took it. A second request at the same
/// moment waits here for the first one's commit.
async fn claim_token(
    tx: &mut Tx,
    key: &KeyId,
    idempotency: &Idempotency,
    now: Timestamp,
) -> Result<Option<Submitted>, StoreError> {
    let insert = sql("INSERT INTO idempotency (key_id, token, digest, answer, keep_until) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (key_id, token) DO UPDATE SET digest = excluded.digest, answer = excluded.answer, \
         keep_until = excluded.keep_until WHERE idempotency.keep_until <= $6")
    .bind(key.as_str())
    .bind(idempotency.token.as_str())
    .bind(idempotency.digest.as_slice())
    .bind(idempotency.answer.as_slice())
    .bind(millis(idempotency.keep_until))
    .bind(millis(now));
    if tx.execute(insert).await? == 1 {
        return Ok(None);
    }
    let select = sql("SELECT digest, answer FROM idempotency WHERE key_id = $1 AND token = $2");
    let select = select.bind(key.as_str()).bind(idempotency.token.as_str());
    let Some(row) = tx.fetch_optional(select).await? else {
        return Err(StoreError::database_unavailable("an idempotency row was trimmed while it was read"));
    };
    let digest: Vec<u8> = row.get("digest")?;
    if digest != idempotency.digest {
        return Ok(Some(Submitted::Conflict));
    }
    Ok(Some(Submitted::Replayed(row.get("answer")?)))
}
