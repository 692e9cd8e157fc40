//! A file in one request: as the body, or as the one field of a form.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use domain::Filename;
use engine::UploadError;
use wire::response::UploadResponse;

use super::form::{self, Form};
use super::incoming::Incoming;
use super::receive::{End, Pieces, Receiving, empty_file, receive, refusal};
use super::{in_time, name};
use crate::http::auth::Writer;
use crate::http::query::Pairs;
use crate::http::refusal::Refusal;
use crate::http::{Api, json};

/// `POST /v1/upload`
pub(in crate::http) async fn upload(
    State(api): State<Arc<Api>>,
    Writer(key): Writer,
    Pairs(pairs): Pairs,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let named = named(&pairs, &headers)?;
    let length = body.size_hint().exact();
    let incoming = Incoming::new(body, api.upload.pace.clone(), None);
    let form = text(&headers, header::CONTENT_TYPE).and_then(|kind| form::boundary(&kind));
    // A form is longer than its file.
    let length = length.filter(|_| form.is_none());
    check_length(&api, length)?;
    let slot = api.upload.slots.take(&key).await.ok_or_else(Refusal::no_slot)?;
    let (pieces, named) = match form {
        None => (Pieces::Body(incoming), named),
        Some(boundary) => {
            let boundary = boundary.map_err(|broken| refusal(&broken))?;
            let form = Form::open(incoming, &boundary).await.map_err(|broken| refusal(&broken))?;
            let named = named.or_else(|| form.filename.as_deref().and_then(name::plain));
            (Pieces::Form(form), named)
        }
    };
    let upload = in_time(&api, api.upload.uploads.begin(&key, named, None, length)).await?;
    let receiving = Receiving { upload, pieces, checksum: None, end: End::Completes, slot };
    let upload = receive(&api, receiving).await?;
    Ok(json(StatusCode::CREATED, wire::error::success(UploadResponse::new(&upload))))
}

fn check_length(api: &Api, length: Option<u64>) -> Result<(), Refusal> {
    let max_bytes = api.upload.uploads.max_bytes();
    match length {
        Some(0) => Err(empty_file()),
        Some(length) if length > max_bytes => Err(UploadError::TooLarge { max_bytes }.into()),
        _ => Ok(()),
    }
}

/// What the file is called: by the query, which must then be a name, or by the header, which may say anything.
fn named(pairs: &[(String, String)], headers: &HeaderMap) -> Result<Option<Filename>, Refusal> {
    let mut named = None;
    for (name, value) in pairs {
        if name != "filename" {
            return Err(wire::query::wrong("the only parameter of this is filename").into());
        }
        let parsed = Filename::parse(value)
            .map_err(|error| Refusal::from(wire::query::wrong(format!("`filename`: {}", error.reason))))?;
        named = Some(parsed);
    }
    let disposed = || {
        let header = text(headers, header::CONTENT_DISPOSITION)?;
        name::in_disposition(&header).as_deref().and_then(name::plain)
    };
    Ok(named.or_else(disposed))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned)
}
