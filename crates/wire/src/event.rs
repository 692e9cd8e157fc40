//! The bodies of webhooks: exactly the contract's fields, in its order. A field that does not apply is absent.

use std::collections::BTreeMap;

use domain::{Completed, EventKind, Failed, Job, JobId, Progress, Timestamp};
use serde::Serialize;

use crate::error::{ErrorBody, to_bytes};
use crate::response::{OutputFile, download_url, metadata};
use crate::text;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    event: &'static str,
    job_id: &'a str,
    status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_time_remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<OutputFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
}

impl<'a> EventBody<'a> {
    /// What every event has.
    fn new(kind: EventKind, job: &'a JobId, status: &'static str, at: Timestamp) -> Self {
        Self {
            event: kind.as_str(),
            job_id: job.as_str(),
            status,
            timestamp: text::timestamp(at),
            progress: None,
            current_step: None,
            estimated_time_remaining: None,
            download_url: None,
            output_file: None,
            error: None,
            metadata: BTreeMap::new(),
        }
    }
}

/// The body of `job.completed`. `public_url` is the result's signed link.
pub fn completed(job: &Job, completed: &Completed, public_url: &str) -> Vec<u8> {
    to_bytes(&EventBody {
        download_url: Some(download_url(&job.id)),
        output_file: Some(OutputFile::new(job, &completed.result, public_url)),
        metadata: metadata(&job.spec.options),
        ..EventBody::new(EventKind::Completed, &job.id, "completed", completed.at)
    })
}

/// The body of a `job.completed` that tells of no job: what a receiver is tried out with. It has every field that a
/// real one has.
pub fn sample(job: &JobId, at: Timestamp, public_url: &str) -> Vec<u8> {
    to_bytes(&EventBody {
        download_url: Some(download_url(job)),
        output_file: Some(OutputFile::sample(public_url)),
        ..EventBody::new(EventKind::Completed, job, "completed", at)
    })
}

/// The body of `job.failed`.
pub fn failed(job: &Job, failed: &Failed) -> Vec<u8> {
    to_bytes(&EventBody {
        error: Some(ErrorBody::from(&failed.failure)),
        metadata: metadata(&job.spec.options),
        ..EventBody::new(EventKind::Failed, &job.id, "failed", failed.at)
    })
}

/// The body of `job.started`.
pub fn started(job: &Job, at: Timestamp) -> Vec<u8> {
    to_bytes(&EventBody {
        metadata: metadata(&job.spec.options),
        ..EventBody::new(EventKind::Started, &job.id, "processing", at)
    })
}

/// The body of `job.progress`.
pub fn progress(job: &Job, progress: Progress, at: Timestamp) -> Vec<u8> {
    to_bytes(&EventBody {
        progress: Some(progress.percent.get()),
        current_step: Some(progress.step.as_str()),
        estimated_time_remaining: progress.remaining.map(|left| left.as_secs()),
        metadata: metadata(&job.spec.options),
        ..EventBody::new(EventKind::Progress, &job.id, "processing", at)
    })
}
