//! Error codes and the envelope.

use domain::{FailureCode, PublicFailure, SpecError, SpecPart};
use serde::Serialize;

/// Every code of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// API key missing or invalid.
    Unauthorized,
    /// The key lacks the permission.
    Forbidden,
    /// Not JSON, missing or unknown field, wrong type.
    InvalidRequest,
    /// Source type or URL invalid, or an address that may not be fetched.
    InvalidSource,
    /// Format, quality, bitrate or another output option invalid.
    InvalidOutput,
    /// Malformed id.
    InvalidJobId,
    /// Batch over its bound.
    TooManyJobs,
    /// No such job for this key.
    JobNotFound,
    /// No such batch, delivery, upload or path.
    NotFound,
    /// Download before the job is done.
    JobNotCompleted,
    /// The result is past its retention.
    FileExpired,
    /// The queue is at its bound.
    QueueFull,
    /// A part that the request needs is down, or the service is shutting down.
    ServiceUnavailable,
    /// Anything else.
    InternalError,
    /// Too many requests.
    RateLimited,
    /// The body is too large.
    PayloadTooLarge,
    /// Same idempotency key, other body.
    IdempotencyConflict,
    /// What happened to a job.
    Job(FailureCode),
}

impl ErrorCode {
    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidSource => "INVALID_SOURCE",
            Self::InvalidOutput => "INVALID_OUTPUT",
            Self::InvalidJobId => "INVALID_JOB_ID",
            Self::TooManyJobs => "TOO_MANY_JOBS",
            Self::JobNotFound => "JOB_NOT_FOUND",
            Self::NotFound => "NOT_FOUND",
            Self::JobNotCompleted => "JOB_NOT_COMPLETED",
            Self::FileExpired => "FILE_EXPIRED",
            Self::QueueFull => "QUEUE_FULL",
            Self::ServiceUnavailable => "SERVICE_UNAVAILABLE",
            Self::InternalError => "INTERNAL_ERROR",
            Self::RateLimited => "RATE_LIMITED",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::IdempotencyConflict => "IDEMPOTENCY_CONFLICT",
            Self::Job(code) => code.as_str(),
        }
    }
}

/// Why a request was refused, ready to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// For programs.
    pub code: ErrorCode,
    /// One sentence that says what to do.
    pub message: String,
    /// What exactly was wrong.
    pub details: Option<String>,
}

impl RequestError {
    /// A refusal without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// Says what exactly was wrong.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// A body that is not what the endpoint takes.
    pub(crate) fn body(details: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, "Correct the request body and send it again.")
            .with_details(details)
    }
}

impl From<SpecError> for RequestError {
    fn from(error: SpecError) -> Self {
        let (code, message) = match error.part {
            SpecPart::Source => (
                ErrorCode::InvalidSource,
                "Name a media file by a public http or https URL, or by the id of a file that you have uploaded.",
            ),
            SpecPart::Output => {
                (ErrorCode::InvalidOutput, "Correct the field of `output` that `details` names.")
            }
            SpecPart::Request => (ErrorCode::InvalidRequest, "Correct the field that `details` names."),
        };
        Self::new(code, message).with_details(error.to_string())
    }
}

impl From<&PublicFailure> for RequestError {
    fn from(failure: &PublicFailure) -> Self {
        Self {
            code: ErrorCode::Job(failure.code),
            message: failure.message.clone(),
            details: failure.details.clone(),
        }
    }
}

/// An error as status, events and the envelope show it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a str>,
}

impl<'a> From<&'a PublicFailure> for ErrorBody<'a> {
    fn from(failure: &'a PublicFailure) -> Self {
        Self { code: failure.code.as_str(), message: &failure.message, details: failure.details.as_deref() }
    }
}

#[derive(Serialize)]
struct SuccessEnvelope<T> {
    success: bool,
    data: T,
}

#[derive(Serialize)]
struct ErrorEnvelope<'a> {
    success: bool,
    error: ErrorBody<'a>,
}

/// `{"success": true, "data": …}`.
pub fn success(data: impl Serialize) -> Vec<u8> {
    to_bytes(&SuccessEnvelope { success: true, data })
}

/// `{"success": false, "error": {"code", "message", "details"}}`.
pub fn failure(error: &RequestError) -> Vec<u8> {
    let error =
        ErrorBody { code: error.code.as_str(), message: &error.message, details: error.details.as_deref() };
    to_bytes(&ErrorEnvelope { success: false, error })
}

/// JSON of our own structures: strings, numbers, lists and maps with string keys, which serde_json cannot refuse.
pub(crate) fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own structures are JSON")
}
