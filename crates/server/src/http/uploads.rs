//! Files sent in: `plain` takes one in one request, `tus` in as many as it takes (tus 1.0), both on the same ids.
//!
//! A body is neither held nor bounded by the time of a request: it goes to the store part by part (`receive`), for as
//! long as it comes fast enough (`incoming`) and its key has a slot (`http/slots`).

mod checksum;
mod form;
mod incoming;
mod name;
mod plain;
mod receive;
mod tus;

use std::future::Future;

use axum::http::StatusCode;
use domain::FileId;
use engine::UploadError;
use wire::ErrorCode;

use super::Api;
use super::refusal::Refusal;
use super::slots::Slots;

pub(super) use plain::upload;
pub(super) use tus::{append, create, delete, overridden, progress, resumable, say_what_is_spoken};

pub(crate) use incoming::PaceConfig;

/// What the upload handlers work with, beside what all do.
pub(crate) struct UploadParts {
    pub(crate) uploads: engine::Uploads,
    /// Uploads that are received at once.
    pub(crate) slots: Slots,
    /// How slowly a body may come.
    pub(crate) pace: PaceConfig,
    /// Bytes that are gathered in memory before they are stored.
    pub(crate) part_bytes: usize,
}

/// Bounds one step of an upload, as a whole request is bounded elsewhere.
async fn in_time<T>(api: &Api, step: impl Future<Output = Result<T, UploadError>>) -> Result<T, Refusal> {
    match tokio::time::timeout(api.request_timeout, step).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Refusal::unavailable("Try again in a moment: the store took too long.")),
    }
}

/// Reads an upload's name out of a path.
fn parse_file_id(text: &str) -> Result<FileId, Refusal> {
    FileId::parse(text).map_err(|_| Refusal::from(UploadError::NotFound))
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { max_bytes } => {
                Self::new(ErrorCode::PayloadTooLarge, "Send a smaller file.")
                    .with_details(format!("at most {max_bytes} bytes are taken"))
            }
            UploadError::NoRoom => Self::no_room(),
            UploadError::TooManyParts { max } => {
                Self::new(ErrorCode::InvalidRequest, "Upload the file anew, in larger pieces.")
                    .with_details(format!("at most {max} pieces of one file are taken"))
            }
            UploadError::NoDisk => Self::unavailable("Try again later: the service is short of disk space."),
            UploadError::NotFound => {
                Self::new(ErrorCode::NotFound, "Check the id: this API key has no such upload.")
            }
            UploadError::Gone => Self::new(
                ErrorCode::FileExpired,
                "Upload the file again: it was not used in time, or was used up or deleted.",
            ),
            UploadError::Moved { received } => {
                Self::new(ErrorCode::InvalidRequest, "Ask where the upload stands, and go on from there.")
                    .with_details(format!("it has {received} bytes"))
                    .with_status(StatusCode::CONFLICT)
            }
            UploadError::OtherLength { length } => {
                Self::new(ErrorCode::PayloadTooLarge, "Send as many bytes as were announced.")
                    .with_details(format!("{length} bytes were announced"))
            }
            UploadError::InUse => {
                Self::new(ErrorCode::InvalidRequest, "Wait for the jobs that name this file to end.")
                    .with_details("a job that has not ended needs the upload")
                    .with_status(StatusCode::CONFLICT)
            }
            UploadError::Store(cause) => cause.into(),
        }
    }
}
