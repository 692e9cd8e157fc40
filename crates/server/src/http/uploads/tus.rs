//! tus 1.0 (<https://tus.io/protocols/resumable-upload>): a file in as many requests as it takes.
//!
//! Its answers are headers, without the envelope; errors have the envelope, and the statuses that tus gives them.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use domain::{KeyId, Upload};
use engine::UploadError;
use wire::{BASE_PATH, ErrorCode};

use super::checksum::{self, Checksum};
use super::incoming::Incoming;
use super::receive::{End, Pieces, Receiving, receive};
use super::{in_time, name, parse_file_id};
use crate::http::Api;
use crate::http::auth::Writer;
use crate::http::jobs::IdText;
use crate::http::refusal::Refusal;
use crate::http::slots::Slot;

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue = HeaderValue::from_static(
    "creation,creation-with-upload,creation-defer-length,termination,expiration,checksum",
);
const BODY_TYPE: &str = "application/offset+octet-stream";

/// Says which version every answer speaks, and refuses requests in another.
pub(in crate::http) async fn resumable(request: Request, next: Next) -> Response {
    let spoken = request.headers().get("tus-resumable");
    let mut response = if *request.method() == Method::OPTIONS || spoken == Some(&VERSION) {
        next.run(request).await
    } else {
        let refusal =
            Refusal::new(ErrorCode::InvalidRequest, "Speak tus 1.0.0, and say so in `Tus-Resumable`.")
                .with_status(StatusCode::PRECONDITION_FAILED);
        let mut response = refusal.into_response();
        response.headers_mut().insert("tus-version", VERSION);
        response
    };
    response.headers_mut().insert("tus-resumable", VERSION);
    response
}

/// `OPTIONS /v1/uploads` and `…/{fileId}`
pub(in crate::http) async fn say_what_is_spoken(State(api): State<Arc<Api>>, _: Writer) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert("tus-version", VERSION);
    headers.insert("tus-extension", EXTENSIONS);
    headers.insert("tus-max-size", HeaderValue::from(api.upload.uploads.max_bytes()));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(checksum::ALGORITHMS));
    response
}

/// `POST /v1/uploads`
pub(in crate::http) async fn create(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let length = number(&headers, "upload-length")?;
    let is_deferred = text(&headers, "upload-defer-length")?.is_some_and(|value| value == "1");
    if length.is_some() == is_deferred {
        return Err(wrong("one of `Upload-Length` and `Upload-Defer-Length: 1` is needed"));
    }
    let metadata = text(&headers, "upload-metadata")?;
    let named = metadata.map(name::in_metadata).transpose()?.flatten();
    let with_bytes = is_body_type(&headers) && !body.is_end_stream();
    // All that can be refused is, before there is an upload.
    let coming = if with_bytes { Some(Coming::expect(&api, &key, &headers).await?) } else { None };
    let begin = api.upload.uploads.begin(&key, named, metadata.map(str::to_owned), length);
    let mut upload = in_time(&api, begin).await?;
    if let Some(coming) = coming {
        upload = coming.receive(&api, upload, body, End::Begins).await?;
    }
    let mut response = StatusCode::CREATED.into_response();
    let location = format!("{BASE_PATH}/v1/uploads/{}", upload.id);
    set(&mut response, "location", &location);
    if with_bytes {
        response.headers_mut().insert("upload-offset", HeaderValue::from(upload.received));
    }
    set(&mut response, "upload-expires", &wire::http_date(upload.expires_at));
    Ok(response)
}

/// `HEAD /v1/uploads/{fileId}`
pub(in crate::http) async fn progress(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    IdText(id): IdText,
) -> Result<Response, Refusal> {
    let upload = in_time(&api, api.upload.uploads.find(&key, &parse_file_id(&id)?)).await?;
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("upload-offset", HeaderValue::from(upload.received));
    match upload.length {
        Some(length) => headers.insert("upload-length", HeaderValue::from(length)),
        None => headers.insert("upload-defer-length", HeaderValue::from_static("1")),
    };
    if let Some(metadata) = &upload.metadata {
        set(&mut response, "upload-metadata", metadata);
    }
    set(&mut response, "upload-expires", &wire::http_date(upload.expires_at));
    Ok(response)
}

/// `PATCH /v1/uploads/{fileId}`
pub(in crate::http) async fn append(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    IdText(id): IdText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let announced = body.size_hint().exact();
    let upload = find_place(&api, &key, &id, &headers, announced).await?;
    let length = number(&headers, "upload-length")?;
    let coming = Coming::expect(&api, &key, &headers).await?;
    let upload = coming.receive(&api, upload, body, End::GoesOn(length)).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert("upload-offset", HeaderValue::from(upload.received));
    set(&mut response, "upload-expires", &wire::http_date(upload.expires_at));
    Ok(response)
}

/// The upload, if it stands where the request goes on.
async fn find_place(
    api: &Api,
    key: &KeyId,
    id: &str,
    headers: &HeaderMap,
    announced: Option<u64>,
) -> Result<Upload, Refusal> {
    if !is_body_type(headers) {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "Send the bytes with the type that tus gives them.",
        )
        .with_details(format!("the Content-Type must be {BODY_TYPE}"))
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let offset = number(headers, "upload-offset")?.ok_or_else(|| wrong("`Upload-Offset` is missing"))?;
    let upload = in_time(api, api.upload.uploads.find(key, &parse_file_id(id)?)).await?;
    if upload.received != offset {
        return Err(UploadError::Moved { received: upload.received }.into());
    }
    // A length that follows is held against what is to come before any of that is kept.
    let given = number(headers, "upload-length")?;
    let max_bytes = api.upload.uploads.max_bytes();
    if given.is_some_and(|given| given > max_bytes) {
        return Err(UploadError::TooLarge { max_bytes }.into());
    }
    let after = offset.saturating_add(announced.unwrap_or_default());
    match upload.length.or(given) {
        Some(length) if after > length || given.is_some_and(|given| given != length) => {
            Err(UploadError::OtherLength { length }.into())
        }
        _ => Ok(upload),
    }
}

/// A body that may come.
struct Coming {
    checksum: Option<Checksum>,
    slot: Slot,
}

impl Coming {
    /// Reads what its head says of it, and waits for a slot.
    async fn expect(api: &Api, key: &KeyId, headers: &HeaderMap) -> Result<Self, Refusal> {
        let checksum = text(headers, "upload-checksum")?.map(Checksum::parse).transpose()?;
        let slot = api.upload.slots.take(key).await.ok_or_else(Refusal::no_slot)?;
        Ok(Self { checksum, slot })
    }

    /// Receives it as what comes next of an upload.
    async fn receive(self, api: &Arc<Api>, upload: Upload, body: Body, end: End) -> Result<Upload, Refusal> {
        let Self { checksum, slot } = self;
        let pieces = Pieces::Body(Incoming::new(body, api.upload.pace.clone(), Some(api.stop.clone())));
        receive(api, Receiving { upload, pieces, checksum, end, slot }).await
    }
}

/// `DELETE /v1/uploads/{fileId}`
pub(in crate::http) async fn delete(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    IdText(id): IdText,
) -> Result<Response, Refusal> {
    in_time(&api, api.upload.uploads.delete(&key, &parse_file_id(&id)?)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /v1/uploads/{fileId}`: another method, for clients that have only this one.
pub(in crate::http) async fn overridden(
    state: State<Arc<Api>>,
    writer: Writer,
    id: IdText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    match text(&headers, "x-http-method-override")? {
        Some("PATCH") => append(state, writer, id, headers, body).await,
        Some("DELETE") => delete(state, writer, id).await,
        Some("HEAD") => progress(state, writer, id).await,
        _ => Err(Refusal::new(ErrorCode::InvalidRequest, "Use PATCH, HEAD or DELETE, or name one of them.")
            .with_details("`X-HTTP-Method-Override` takes PATCH, HEAD and DELETE")
            .with_status(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

fn is_body_type(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == BODY_TYPE)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let text = headers.get(name).map(HeaderValue::to_str).transpose();
    text.map_err(|_| wrong(&format!("`{name}` takes ASCII")))
}

fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let number = text(headers, name)?.map(str::parse).transpose();
    number.map_err(|_| wrong(&format!("`{name}` takes a whole number from 0")))
}

fn wrong(details: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Correct the headers of the upload.").with_details(details)
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
