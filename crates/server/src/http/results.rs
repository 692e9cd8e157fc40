//! Handing out results: to the job's owner, and to whoever holds the public link.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{AudioFormat, Completed, Job, JobState, ResultFile};
use serde::Deserialize;
use store::StoreError;
use wire::{ErrorCode, RequestError};

use super::auth::Reader;
use super::disposition::attachment;
use super::range::{Selected, if_range_holds, none_match_hits, select};
use super::refusal::Refusal;
use super::{Api, jobs};

/// `GET|HEAD /v1/download/{jobId}`
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    Reader(key): Reader,
    jobs::IdText(id): jobs::IdText,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = jobs::own_job(&api, &key, &id).await?;
    answer(&api, &job, &method, &headers).await
}

/// The signature of a public link.
#[derive(Deserialize)]
pub(super) struct Signed {
    #[serde(default)]
    sig: String,
}

/// `GET|HEAD /audio/{jobId}/{filename}?sig=…`. A wrong signature, name or job are all the same: not found.
pub(super) async fn public_link(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Signed>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let not_found =
        || Refusal::new(ErrorCode::NotFound, "Use the whole link, as the event or the status gave it.");
    let Path((id, filename)) = path.map_err(|_| not_found())?;
    let id = jobs::parse_job_id(&id).map_err(|_| not_found())?;
    let signature = query.map_err(|_| not_found())?.0.sig;
    if !api.links.verify(&id, &filename, &signature) {
        return Err(not_found());
    }
    let job = api.store.any_job(&id).await?.ok_or_else(not_found)?;
    answer(&api, &job, &method, &headers).await
}

/// The result of a completed job that has not expired.
fn available<'a>(api: &Api, job: &'a Job) -> Result<&'a Completed, Refusal> {
    match &job.state {
        JobState::Queued(_) | JobState::Processing(_) => Err(Refusal::new(
            ErrorCode::JobNotCompleted,
            "Come back when the job is completed; a webhook or its status will say so.",
        )
        .with_details(format!(
            "the job is {}, {} % done",
            job.state.as_str(),
            job.state.percent().get()
        ))),
        JobState::Failed(failed) => Err(RequestError::from(&failed.failure).into()),
        JobState::Completed(completed) if completed.expires_at <= api.clock.now() => Err(expired()),
        JobState::Completed(completed) => Ok(completed),
    }
}

fn expired() -> Refusal {
    Refusal::new(ErrorCode::FileExpired, "Submit the job again: its file is past its retention.")
}

async fn answer(api: &Api, job: &Job, method: &Method, headers: &HeaderMap) -> Result<Response, Refusal> {
    let result = &available(api, job)?.result;
    let etag = format!("\"{}\"", result.sha256);
    let asked = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if asked(header::IF_NONE_MATCH).is_some_and(|tags| none_match_hits(tags, &etag)) {
        return Ok(described(StatusCode::NOT_MODIFIED, &etag, Body::empty()));
    }
    let is_range_wanted = *method == Method::GET
        && asked(header::IF_RANGE).is_none_or(|validator| if_range_holds(validator, &etag));
    let selected = match asked(header::RANGE).filter(|_| is_range_wanted) {
        Some(range) => select(range, result.size),
        None => Selected::Whole,
    };
    let size = result.size;
    match selected {
        Selected::Unsatisfiable => {
            let refusal = Refusal::new(ErrorCode::InvalidRequest, "Ask for a range that the file has.")
                .with_details(format!("the file has {size} bytes"))
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE);
            let mut response = refusal.into_response();
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            Ok(response)
        }
        Selected::Part(part) => {
            let span = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            let mut response = file(api, job, result, method, Some(part), &etag).await?;
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, header::CONTENT_RANGE, &span);
            Ok(response)
        }
        Selected::Whole => file(api, job, result, method, None, &etag).await,
    }
}

/// The file or a part of it, streamed; for HEAD, everything but.
async fn file(
    api: &Api,
    job: &Job,
    result: &ResultFile,
    method: &Method,
    part: Option<Range<u64>>,
    etag: &str,
) -> Result<Response, Refusal> {
    let length = part.as_ref().map_or(result.size, |part| part.end - part.start);
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        match api.files.get(&result.location, part).await {
            Ok(file) => Body::from_stream(file.bytes),
            Err(StoreError::NoSuchFile { .. }) => return Err(lost(api, job)),
            Err(cause) => return Err(cause.into()),
        }
    };
    let mut response = described(StatusCode::OK, etag, body);
    set(&mut response, header::CONTENT_TYPE, content_type(job.spec.output.format));
    set(&mut response, header::CONTENT_DISPOSITION, &attachment(&result.filename));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// What is said of a result whose file is not there: it expired a moment ago, or it was lost.
fn lost(api: &Api, job: &Job) -> Refusal {
    match available(api, job) {
        Ok(_) => Refusal::internal(format!("the file of {} is not in the store", job.id)),
        Err(refusal) => refusal,
    }
}

/// What is said of a result with and without its bytes. It is one customer's, so shared caches leave it alone.
fn described(status: StatusCode, etag: &str, body: Body) -> Response {
    let headers = [
        (header::ACCEPT_RANGES, "bytes"),
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, body).into_response()
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// As the contract has it.
fn content_type(format: AudioFormat) -> &'static str {
    match format {
        AudioFormat::Mp3 => "audio/mpeg",
        AudioFormat::Aac => "audio/aac",
        AudioFormat::Flac => "audio/flac",
        AudioFormat::Wav => "audio/wav",
        AudioFormat::Ogg => "audio/ogg",
        AudioFormat::Opus => "audio/opus",
    }
}
