//! Taking jobs in, and saying where they stand.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::{BatchId, Job, JobId, JobState, KeyId};
use engine::IdempotencyToken;
use wire::ErrorCode;
use wire::response::{BatchResponse, StatusResponse};

use super::auth::{Reader, Writer};
use super::body::Whole;
use super::refusal::Refusal;
use super::{Api, json};

/// The header that makes a request safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest that it may be.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What stands in a path where an id goes. What is no text is no id either, so it is read as an empty one, and refused
/// as the malformed id that it is.
pub(super) struct IdText(pub(super) String);

impl FromRequestParts<Arc<Api>> for IdText {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, api).await;
        Ok(Self(path.map(|Path(text)| text).unwrap_or_default()))
    }
}

/// `POST /v1/extract`
pub(super) async fn extract(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let token = idempotency_key(&headers)?;
    let spec = wire::parse_extract(&body)?;
    let token = token.map(|token| IdempotencyToken { token, body: &body });
    Ok(json(StatusCode::ACCEPTED, api.submit.one(&key, spec, token).await?))
}

/// `POST /v1/batch`
pub(super) async fn batch(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let token = idempotency_key(&headers)?;
    let specs = wire::parse_batch(&body)?;
    let token = token.map(|token| IdempotencyToken { token, body: &body });
    Ok(json(StatusCode::ACCEPTED, api.submit.batch(&key, specs, token).await?))
}

/// `GET /v1/status/{jobId}`
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    Reader(key): Reader,
    IdText(id): IdText,
) -> Result<Response, Refusal> {
    let job = own_job(&api, &key, &id).await?;
    let public_url = match &job.state {
        JobState::Completed(completed) => api.links.public_url(&job.id, &completed.result.filename),
        _ => String::new(),
    };
    Ok(json(StatusCode::OK, wire::error::success(StatusResponse::new(&job, &public_url))))
}

/// `GET /v1/batch/{batchId}`
pub(super) async fn batch_status(
    State(api): State<Arc<Api>>,
    Reader(key): Reader,
    IdText(id): IdText,
) -> Result<Response, Refusal> {
    let not_found =
        || Refusal::new(ErrorCode::NotFound, "Check the batch id: this API key has no such batch.");
    let id = BatchId::parse(&id).map_err(|malformed| {
        Refusal::new(ErrorCode::InvalidJobId, "Use the `batchId` that creating the batch answered.")
            .with_details(malformed.to_string())
    })?;
    let jobs = api.store.batch(&key, &id).await?.ok_or_else(not_found)?;
    Ok(json(StatusCode::OK, wire::error::success(BatchResponse::new(&id, &jobs))))
}

/// The key's own job of this name. Another key's is as unknown as none.
pub(super) async fn own_job(api: &Api, key: &KeyId, id: &str) -> Result<Job, Refusal> {
    let id = parse_job_id(id)?;
    api.store.job(key, &id).await?.ok_or_else(Refusal::job_not_found)
}

/// Reads a job's name out of a path.
pub(super) fn parse_job_id(text: &str) -> Result<JobId, Refusal> {
    JobId::parse(text).map_err(|malformed| {
        Refusal::new(ErrorCode::InvalidJobId, "Use the `jobId` that creating the job answered.")
            .with_details(malformed.to_string())
    })
}

/// The token that makes a request safe to repeat: visible ASCII, so that it reads the same everywhere.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let is_sound = (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(token) if is_sound => Ok(Some(token)),
        _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Correct the `Idempotency-Key` header.")
            .with_details(format!("it takes 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn an_idempotency_key_is_visible_ascii_of_bounded_length() {
        let headers = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).expect("a header value"));
            headers
        };
        assert_eq!(idempotency_key(&HeaderMap::new()).expect("none"), None);
        assert_eq!(idempotency_key(&headers(b"a-1")).expect("sound"), Some("a-1"));
        assert!(idempotency_key(&headers(&[b'x'; 255])).is_ok());
        for value in [&b""[..], b"a b", b"\xc3\xa9", &[b'x'; 256]] {
            assert!(idempotency_key(&headers(value)).is_err(), "{value:?} was taken");
        }
    }
}
