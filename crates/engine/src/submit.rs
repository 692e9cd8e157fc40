//! Taking jobs in.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    AddressPolicy, BatchId, Clock, Fetched, Job, JobId, JobSpec, JobState, KeyId, Queued, SourceSpec,
    SpecError, SpecPart, Upload, UploadState,
};
use sha2::{Digest as _, Sha256};
use store::{Idempotency, Store, StoreError, Submission, Submitted};
use wire::response::{BatchResponse, ExtractResponse};
use wire::{ErrorCode, RequestError};

use crate::chance::random_id;

/// The bounds of taking jobs in.
#[derive(Debug, Clone)]
pub struct SubmitConfig {
    /// Jobs that may wait at once, over all keys.
    pub max_queued: u64,
    /// How long an idempotency key is remembered.
    pub idempotency_keep: Duration,
    /// Extractions at once, and what one is thought to take, for `estimatedTime`.
    pub workers: u64,
    /// Seconds that one job is thought to take, for `estimatedTime`.
    pub estimated_job_secs: u64,
}

/// What the customer gave to make a request safe to repeat, with the body that it belongs to.
pub struct IdempotencyToken<'a> {
    /// The `Idempotency-Key` header.
    pub token: &'a str,
    /// The request's body as it came.
    pub body: &'a [u8],
}

/// Why jobs were not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The request is at fault, or the queue is full.
    #[error("refused: {}", .0.code.as_str())]
    Refused(RequestError),
    /// The store is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SpecError> for SubmitError {
    fn from(error: SpecError) -> Self {
        Self::Refused(error.into())
    }
}

/// The use case of taking jobs in.
pub struct Submit {
    store: Store,
    policy: Arc<dyn AddressPolicy>,
    clock: Arc<dyn Clock>,
    config: SubmitConfig,
}

impl Submit {
    /// Over this store, refusing what this policy refuses.
    pub fn new(
        store: Store,
        policy: Arc<dyn AddressPolicy>,
        clock: Arc<dyn Clock>,
        config: SubmitConfig,
    ) -> Self {
        Self { store, policy, clock, config }
    }

    /// Takes one job; the answer is what the customer gets, also when the request is repeated.
    pub async fn one(
        &self,
        key: &KeyId,
        spec: JobSpec,
        token: Option<IdempotencyToken<'_>>,
    ) -> Result<Vec<u8>, SubmitError> {
        self.check(&spec)?;
        let job = self.job(key, None, self.named(key, spec).await?);
        let answer = wire::error::success(ExtractResponse::new(&job.id, self.estimate_secs().await?));
        self.submit(key, vec![job], answer, token.map(|token| ("extract", token))).await
    }

    /// Takes all jobs of a batch or none.
    pub async fn batch(
        &self,
        key: &KeyId,
        specs: Vec<JobSpec>,
        token: Option<IdempotencyToken<'_>>,
    ) -> Result<Vec<u8>, SubmitError> {
        for (index, spec) in specs.iter().enumerate() {
            self.check(spec)
                .map_err(|error| SpecError { field: format!("jobs[{index}].{}", error.field), ..error })?;
        }
        let batch = BatchId::from_random(random_id());
        let mut jobs = Vec::with_capacity(specs.len());
        for spec in specs {
            jobs.push(self.job(key, Some(&batch), self.named(key, spec).await?));
        }
        let answer = wire::error::success(BatchResponse::new(&batch, &jobs));
        self.submit(key, jobs, answer, token.map(|token| ("batch", token))).await
    }

    fn job(&self, key: &KeyId, batch: Option<&BatchId>, spec: JobSpec) -> Job {
        Job {
            id: JobId::from_random(random_id()),
            key: key.clone(),
            batch: batch.cloned(),
            spec,
            created_at: self.clock.now(),
            attempts: 0,
            input: None,
            fetched: Fetched::default(),
            state: JobState::Queued(Queued::default()),
        }
    }

    /// Refuses what can be known by now never to be reachable.
    fn check(&self, spec: &JobSpec) -> Result<(), SpecError> {
        if let SourceSpec::Url { url, .. } = &spec.source {
            self.policy
                .check(url.url())
                .map_err(|refused| SpecError::new(SpecPart::Source, "source.url", refused.0))?;
        }
        if let Some(webhook) = &spec.options.webhook {
            self.policy
                .check(webhook.url())
                .map_err(|refused| SpecError::new(SpecPart::Request, "options.webhook", refused.0))?;
        }
        Ok(())
    }

    /// Gives an uploaded source its name. Whether the job may have it is decided when the job is submitted.
    async fn named(&self, key: &KeyId, mut spec: JobSpec) -> Result<JobSpec, StoreError> {
        if let SourceSpec::Upload { file, name } = &mut spec.source {
            *name = self.store.upload(key, file, self.clock.now()).await?.and_then(|upload| upload.name);
        }
        Ok(spec)
    }

    async fn estimate_secs(&self) -> Result<u64, StoreError> {
        let ahead = self.store.queued_jobs().await?;
        Ok(self.config.estimated_job_secs * (1 + ahead / self.config.workers.max(1)))
    }

    async fn submit(
        &self,
        key: &KeyId,
        jobs: Vec<Job>,
        answer: Vec<u8>,
        token: Option<(&str, IdempotencyToken<'_>)>,
    ) -> Result<Vec<u8>, SubmitError> {
        let now = self.clock.now();
        let idempotency = token.map(|(endpoint, given)| Idempotency {
            token: given.token.to_owned(),
            digest: digest(endpoint, given.body),
            answer: answer.clone(),
            keep_until: now.plus(self.config.idempotency_keep),
        });
        let is_batch = jobs.first().is_some_and(|job| job.batch.is_some());
        let submission = Submission { jobs, idempotency, max_queued: self.config.max_queued };
        match self.store.submit(key, submission, now).await? {
            Submitted::Accepted => Ok(answer),
            Submitted::Replayed(answer) => Ok(answer),
            Submitted::Conflict => Err(SubmitError::Refused(RequestError::new(
                ErrorCode::IdempotencyConflict,
                "Use a new Idempotency-Key: this one was used with another request.",
            ))),
            Submitted::QueueFull => Err(SubmitError::Refused(RequestError::new(
                ErrorCode::QueueFull,
                "Try again later: the queue is full.",
            ))),
            Submitted::Unusable { position, upload } => {
                let at = if is_batch { format!("jobs[{position}].") } else { String::new() };
                let field = format!("{at}source.file");
                Err(SpecError::new(SpecPart::Source, field, unusable(upload.as_ref())).into())
            }
        }
    }
}

/// Why a job cannot have this upload; that it is another key's is not told from that there is none.
fn unusable(upload: Option<&Upload>) -> String {
    match upload {
        None => "this API key has no such file".to_owned(),
        Some(Upload { state: UploadState::Receiving, received, length, .. }) => {
            let whole = length.map_or_else(String::new, |length| format!(" of {length}"));
            format!("the upload is not finished; it has {received}{whole} bytes")
        }
        Some(_) => {
            "the file is gone: it was not used in time, or the jobs that named it have ended".to_owned()
        }
    }
}

/// What an idempotency key is bound to: the endpoint and the body's bytes.
fn digest(endpoint: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(endpoint.as_bytes());
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}
