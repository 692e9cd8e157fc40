//! What the API answers, inside the envelope.

use std::collections::BTreeMap;

use domain::{BatchId, EventKind, Fetched, Job, JobId, JobOptions, JobState, ResultFile, Upload};
use serde::Serialize;

use crate::BASE_PATH;
use crate::error::ErrorBody;
use crate::loudness::LoudnessResponse;
use crate::text;

/// `POST /v1/extract` accepted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractResponse<'a> {
    job_id: &'a str,
    status: &'static str,
    estimated_time: u64,
    status_url: String,
}

impl<'a> ExtractResponse<'a> {
    /// A job that was just queued and will take about so many seconds.
    pub fn new(job: &'a JobId, estimated_secs: u64) -> Self {
        Self {
            job_id: job.as_str(),
            status: "queued",
            estimated_time: estimated_secs,
            status_url: format!("{BASE_PATH}/v1/status/{job}"),
        }
    }
}

/// `POST /v1/batch` accepted, and `GET /v1/batch/{batchId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse<'a> {
    batch_id: &'a str,
    total_jobs: usize,
    jobs: Vec<BatchJob<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchJob<'a> {
    job_id: &'a str,
    status: &'static str,
}

impl<'a> BatchResponse<'a> {
    /// The jobs of a batch in the order in which they were submitted.
    pub fn new(batch: &'a BatchId, jobs: &'a [Job]) -> Self {
        let list = jobs.iter().map(|job| BatchJob { job_id: job.id.as_str(), status: job.state.as_str() });
        Self { batch_id: batch.as_str(), total_jobs: jobs.len(), jobs: list.collect() }
    }
}

/// The audio as status and events show it: the six fields of the contract, with the public link.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputFile<'a> {
    filename: &'a str,
    url: &'a str,
    size: u64,
    duration: f64,
    format: &'static str,
    bitrate: String,
}

impl<'a> OutputFile<'a> {
    pub(crate) fn new(job: &'a Job, result: &'a ResultFile, public_url: &'a str) -> Self {
        Self {
            filename: &result.filename,
            url: public_url,
            size: result.size,
            duration: text::seconds(result.duration_secs),
            format: job.spec.output.format.as_str(),
            bitrate: text::bitrate(result.bitrate_kbps),
        }
    }

    /// A file that is nowhere: ten seconds at 192 kbit/s.
    pub(crate) fn sample(public_url: &'a str) -> Self {
        Self {
            filename: SAMPLE_FILENAME,
            url: public_url,
            size: 240_000,
            duration: 10.0,
            format: "mp3",
            bitrate: text::bitrate(192),
        }
    }
}

/// The file that [`OutputFile::sample`] tells of.
pub const SAMPLE_FILENAME: &str = "sample.mp3";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusOutputFile<'a> {
    #[serde(flatten)]
    file: OutputFile<'a>,
    method: &'static str,
    sample_rate: u32,
    channels: u16,
    /// Only where something was left out.
    #[serde(skip_serializing_if = "is_none_damaged")]
    damaged_packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    loudness: Option<LoudnessResponse>,
    /// Only where something was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    metadata_left_out: Vec<&'static str>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands over a reference.
fn is_none_damaged(packets: &u64) -> bool {
    *packets == 0
}

impl<'a> StatusOutputFile<'a> {
    fn new(job: &'a Job, result: &'a ResultFile, public_url: &'a str) -> Self {
        Self {
            file: OutputFile::new(job, result, public_url),
            method: result.method.as_str(),
            sample_rate: result.sample_rate,
            channels: result.channels,
            damaged_packets: result.damaged_packets,
            loudness: result.loudness.map(LoudnessResponse::from),
            metadata_left_out: result.metadata_left_out.iter().map(|part| part.as_str()).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct InputFile<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a str>,
    fetched: u64,
    requests: u64,
}

impl<'a> InputFile<'a> {
    /// What is known of a job's source; of one whose header was never read, that is what it has cost.
    fn of(job: &'a Job) -> Option<Self> {
        let Fetched { bytes: fetched, requests } = job.fetched;
        let input = job.input.as_ref();
        (input.is_some() || requests > 0).then(|| Self {
            name: input.map_or(job.spec.source.name(), |input| &input.name),
            size: input.and_then(|input| input.size),
            duration: input.and_then(|input| input.duration_secs).map(text::seconds),
            format: input.map(|input| input.format.as_str()),
            fetched,
            requests,
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<&'a str>,
    priority: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_events: Option<Vec<&'static str>>,
}

impl<'a> Options<'a> {
    fn new(options: &'a JobOptions) -> Self {
        let events = &options.webhook_events;
        Self {
            filename: options.filename.as_ref().map(|name| name.as_written()),
            webhook: options.webhook.as_ref().map(|url| url.as_written()),
            priority: options.priority.as_str(),
            metadata: metadata(options),
            webhook_events: (events[..] != EventKind::DEFAULT)
                .then(|| events.iter().map(|kind| kind.as_str()).collect()),
        }
    }
}

pub(crate) fn metadata(options: &JobOptions) -> BTreeMap<&str, &str> {
    options.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// `GET /v1/status/{jobId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusResponse<'a> {
    job_id: &'a str,
    status: &'static str,
    progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_time_remaining: Option<u64>,
    input_file: Option<InputFile<'a>>,
    output_file: Option<StatusOutputFile<'a>>,
    options: Options<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

impl<'a> StatusResponse<'a> {
    /// A job as it stands. `public_url` is the result's link, which only a completed job shows.
    pub fn new(job: &'a Job, public_url: &'a str) -> Self {
        let mut response = Self {
            job_id: job.id.as_str(),
            status: job.state.as_str(),
            progress: job.state.percent().get(),
            current_step: None,
            estimated_time_remaining: None,
            input_file: InputFile::of(job),
            output_file: None,
            options: Options::new(&job.spec.options),
            download_url: None,
            expires_at: None,
            error: None,
        };
        match &job.state {
            JobState::Queued(_) => {}
            JobState::Processing(processing) => {
                response.current_step = Some(processing.progress.step.as_str());
                response.estimated_time_remaining = processing.progress.remaining.map(|left| left.as_secs());
            }
            JobState::Completed(completed) => {
                response.output_file = Some(StatusOutputFile::new(job, &completed.result, public_url));
                response.download_url = Some(download_url(&job.id));
                response.expires_at = Some(text::timestamp(completed.expires_at));
            }
            JobState::Failed(failed) => response.error = Some(ErrorBody::from(&failed.failure)),
        }
        response
    }
}

/// `POST /v1/upload`: a file that jobs may name now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadResponse<'a> {
    file: &'a str,
    size: u64,
    expires_at: String,
}

impl<'a> UploadResponse<'a> {
    /// A file that has all its bytes.
    pub fn new(upload: &'a Upload) -> Self {
        Self {
            file: upload.id.as_str(),
            size: upload.received,
            expires_at: text::timestamp(upload.expires_at),
        }
    }
}

/// The path of a job's result.
pub(crate) fn download_url(job: &JobId) -> String {
    format!("{BASE_PATH}/v1/download/{job}")
}
