//! The bodies of webhooks: exactly the contract's fields, in its order. A field that does not apply is absent.

use std::collections::BTreeMap;

use domain::{Completed, EventKind, Failed, Job, JobId, Timestamp};
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
    download_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_file: Option<OutputFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
}

/// The body of `job.completed`. `public_url` is the result's signed link.
pub fn completed(job: &Job, completed: &Completed, public_url: &str) -> Vec<u8> {
    to_bytes(&EventBody {
        event: EventKind::Completed.as_str(),
        job_id: job.id.as_str(),
        status: "completed",
        timestamp: text::timestamp(completed.at),
        download_url: Some(download_url(&job.id)),
        output_file: Some(OutputFile::new(job, &completed.result, public_url)),
        error: None,
        metadata: metadata(&job.spec.options),
    })
}

/// The body of a `job.completed` that tells of no job: what a receiver is tried out with. It has every field that a
/// real one has.
pub fn sample(job: &JobId, at: Timestamp, public_url: &str) -> Vec<u8> {
    to_bytes(&EventBody {
        event: EventKind::Completed.as_str(),
        job_id: job.as_str(),
        status: "completed",
        timestamp: text::timestamp(at),
        download_url: Some(download_url(job)),
        output_file: Some(OutputFile::sample(public_url)),
        error: None,
        metadata: BTreeMap::new(),
    })
}

/// The body of `job.failed`.
pub fn failed(job: &Job, failed: &Failed) -> Vec<u8> {
    to_bytes(&EventBody {
        event: EventKind::Failed.as_str(),
        job_id: job.id.as_str(),
        status: "failed",
        timestamp: text::timestamp(failed.at),
        download_url: None,
        output_file: None,
        error: Some(ErrorBody::from(&failed.failure)),
        metadata: metadata(&job.spec.options),
    })
}
