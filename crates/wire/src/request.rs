//! What a request may say. Decoding names the field that is wrong; an unknown one is an error, so that a typo is
//! never silently dropped.

use domain::{
    EventKind, FileId, Filename, JobOptions, JobSpec, Priority, SourceSpec, SpecError, SpecPart, WebUrl,
    WebhookUrl,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{ErrorCode, RequestError};

mod headers;
mod object;
mod output;
mod webhook;

use object::Object;
use output::OutputRequest;
pub use webhook::{ReplayRequest, parse_replay, parse_test};

/// The most jobs that a batch has.
pub const MAX_BATCH_JOBS: usize = 10;

const MAX_METADATA_PAIRS: usize = 16;
const MAX_METADATA_BYTES: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExtractRequest {
    source: Object<SourceRequest>,
    output: Object<OutputRequest>,
    options: Option<Object<OptionsRequest>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SourceRequest {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    file: Option<String>,
    headers: Option<Map<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OptionsRequest {
    filename: Option<String>,
    webhook: Option<String>,
    priority: Option<String>,
    metadata: Option<Map<String, Value>>,
    webhook_events: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BatchRequest {
    jobs: Vec<Value>,
    webhook: Option<String>,
}

/// Reads the body of `POST /v1/extract`.
pub fn parse_extract(body: &[u8]) -> Result<JobSpec, RequestError> {
    parse_spec(whole(body)?)
}

/// Reads the body of `POST /v1/batch`: its jobs in order, each with the batch's webhook unless it has its own.
pub fn parse_batch(body: &[u8]) -> Result<Vec<JobSpec>, RequestError> {
    let batch: BatchRequest = whole(body)?;
    if batch.jobs.is_empty() {
        return Err(RequestError::body(format!("`jobs`: is empty; give 1 to {MAX_BATCH_JOBS} jobs")));
    }
    if batch.jobs.len() > MAX_BATCH_JOBS {
        let message = format!("Split the batch: one takes at most {MAX_BATCH_JOBS} jobs.");
        let error = RequestError::new(ErrorCode::TooManyJobs, message);
        return Err(error.with_details(format!("the batch has {} jobs", batch.jobs.len())));
    }
    let webhook = batch.webhook.map(|text| parse_webhook("webhook", &text)).transpose()?;
    let jobs = batch.jobs.into_iter().enumerate();
    jobs.map(|(index, job)| parse_batch_job(job, webhook.as_ref()).map_err(|error| at_index(index, error)))
        .collect()
}

fn parse_batch_job(job: Value, webhook: Option<&WebhookUrl>) -> Result<JobSpec, RequestError> {
    let Object(request) = decode(job)?;
    let mut spec = parse_spec(request)?;
    if spec.options.webhook.is_none() {
        spec.options.webhook = webhook.cloned();
    }
    Ok(spec)
}

fn at_index(index: usize, error: RequestError) -> RequestError {
    let details = error.details.unwrap_or_default();
    RequestError { details: Some(format!("jobs[{index}]: {details}")), ..error }
}

/// All of a body, which is one object and nothing behind it.
fn whole<T: DeserializeOwned>(body: &[u8]) -> Result<T, RequestError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(request) = serde_path_to_error::deserialize(&mut json).map_err(describe)?;
    json.end().map_err(|cause| RequestError::body(cause.to_string()))?;
    Ok(request)
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, RequestError> {
    serde_path_to_error::deserialize(value).map_err(describe)
}

/// Says where in the body it went wrong and how. serde's text names fields and types, and repeats a value only where
/// it is of the wrong type.
fn describe(error: serde_path_to_error::Error<serde_json::Error>) -> RequestError {
    let path = error.path().to_string();
    let cause = error.into_inner();
    if path == "." {
        RequestError::body(cause.to_string())
    } else {
        RequestError::body(format!("`{path}`: {cause}"))
    }
}

fn parse_spec(request: ExtractRequest) -> Result<JobSpec, RequestError> {
    let spec = JobSpec {
        source: parse_source(request.source.0)?,
        output: output::parse(request.output.0)?,
        options: parse_options(request.options.map(|Object(options)| options).unwrap_or_default())?,
    };
    Ok(spec)
}

fn parse_source(request: SourceRequest) -> Result<SourceSpec, RequestError> {
    let refuse = |field: &str, reason: &str| Err(SpecError::new(SpecPart::Source, field, reason).into());
    match request.kind.as_str() {
        "url" => {}
        "upload" => return parse_upload(request),
        _ => return refuse("source.type", "there are `url` and `upload`"),
    }
    if request.file.is_some() {
        return refuse("source.file", "belongs to the type `upload`; leave it out");
    }
    let Some(text) = request.url else {
        return Err(RequestError::body("`source.url`: is missing; the type `url` needs it"));
    };
    let url =
        WebUrl::parse(&text).map_err(|reason| SpecError::new(SpecPart::Source, "source.url", reason))?;
    let headers = headers::parse(request.headers.unwrap_or_default())?;
    Ok(SourceSpec::Url { url, headers })
}

fn parse_upload(request: SourceRequest) -> Result<SourceSpec, RequestError> {
    let refuse = |field: &str, reason: String| Err(SpecError::new(SpecPart::Source, field, reason).into());
    if request.url.is_some() || request.headers.is_some() {
        let field = if request.url.is_some() { "source.url" } else { "source.headers" };
        return refuse(field, "belongs to the type `url`; leave it out".to_owned());
    }
    let Some(text) = request.file else {
        return Err(RequestError::body("`source.file`: is missing; the type `upload` needs it"));
    };
    match FileId::parse(&text) {
        Ok(file) => Ok(SourceSpec::Upload { file, name: None }),
        Err(malformed) => refuse("source.file", malformed.to_string()),
    }
}

fn parse_options(request: OptionsRequest) -> Result<JobOptions, RequestError> {
    let priority = match request.priority.as_deref() {
        None => Priority::default(),
        Some(text) => {
            Priority::parse(text).ok_or_else(|| option_error("priority", "there are low, normal and high"))?
        }
    };
    Ok(JobOptions {
        filename: request.filename.map(|text| Filename::parse(&text)).transpose()?,
        webhook: request.webhook.map(|text| parse_webhook("options.webhook", &text)).transpose()?,
        priority,
        metadata: parse_metadata(request.metadata.unwrap_or_default())?,
        webhook_events: parse_events(request.webhook_events)?,
    })
}

fn option_error(field: &str, reason: impl Into<String>) -> SpecError {
    SpecError::new(SpecPart::Request, format!("options.{field}"), reason)
}

fn parse_webhook(field: &str, text: &str) -> Result<WebhookUrl, SpecError> {
    WebUrl::parse(text).map_err(|reason| SpecError::new(SpecPart::Request, field, reason))
}

fn parse_metadata(pairs: Map<String, Value>) -> Result<Vec<(String, String)>, SpecError> {
    if pairs.len() > MAX_METADATA_PAIRS {
        return Err(option_error(
            "metadata",
            format!("has {} pairs; at most {MAX_METADATA_PAIRS} are taken", pairs.len()),
        ));
    }
    let mut metadata = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let Value::String(value) = value else {
            return Err(option_error("metadata", "takes texts only, as names and as values"));
        };
        metadata.push((name, value));
    }
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return Err(option_error(
            "metadata",
            format!("has {bytes} bytes; at most {MAX_METADATA_BYTES} are taken"),
        ));
    }
    Ok(metadata)
}

fn parse_events(names: Option<Vec<String>>) -> Result<Vec<EventKind>, SpecError> {
    let Some(names) = names else { return Ok(EventKind::DEFAULT.to_vec()) };
    let mut kinds = Vec::new();
    for name in names {
        let kind = EventKind::parse(&name).ok_or_else(|| {
            let known = EventKind::ALL.map(EventKind::as_str).join(", ");
            option_error("webhookEvents", format!("there are {known}"))
        })?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests;
