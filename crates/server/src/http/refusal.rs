//! How an error is answered. The only place that knows which code has which status.

use std::any::Any;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::FailureCode;
use engine::SubmitError;
use store::StoreError;
use wire::{ErrorCode, RequestError};

use super::{json, request_id};

/// When to come back after a 503: long enough for a restart or a failover, short enough not to lose the customer.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);
/// When to come back to a full queue: jobs take seconds to minutes.
const QUEUE_FULL_RETRY: Duration = Duration::from_secs(30);

/// When to come back with another file: what is used up or deleted goes within a minute.
const NO_ROOM_RETRY: Duration = Duration::from_secs(60);

/// When to come back to a service that is trying out as many receivers as it may.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: RequestError,
    retry_after: Option<Duration>,
}

/// The status of each code, as the contract has it.
fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidRequest
        | ErrorCode::InvalidSource
        | ErrorCode::InvalidOutput
        | ErrorCode::InvalidJobId
        | ErrorCode::TooManyJobs => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::JobNotFound | ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::JobNotCompleted => StatusCode::ACCEPTED,
        ErrorCode::FileExpired => StatusCode::GONE,
        ErrorCode::QueueFull | ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::IdempotencyConflict => StatusCode::CONFLICT,
        ErrorCode::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        // A failed job's result was asked for: the request conflicts with the job's state.
        ErrorCode::Job(
            FailureCode::DownloadFailed
            | FailureCode::InvalidVideo
            | FailureCode::ExtractionFailed
            | FailureCode::JobCancelled
            | FailureCode::InternalError,
        ) => StatusCode::CONFLICT,
    }
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        RequestError::new(code, message).into()
    }

    #[must_use]
    pub(super) fn with_details(mut self, details: impl Into<String>) -> Self {
        self.error = self.error.with_details(details);
        self
    }

    #[must_use]
    pub(super) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn rate_limited(wait: Duration) -> Self {
        let refusal = Self::new(ErrorCode::RateLimited, "Slow down: this API key makes too many requests.");
        Self { retry_after: Some(wait), ..refusal }
    }

    /// The key holds as many uploads as it may.
    pub(super) fn no_room() -> Self {
        let refusal = Self::new(
            ErrorCode::RateLimited,
            "Delete uploads, or wait until the jobs that use them have ended: this API key holds as much as it may.",
        );
        Self { retry_after: Some(NO_ROOM_RETRY), ..refusal }
    }

    /// As many uploads are being received as may be.
    pub(super) fn no_slot() -> Self {
        Self::unavailable("Try again in a moment: as many uploads are under way as may be.")
    }

    /// Too many of the requests that take their time are under way.
    pub(super) fn busy() -> Self {
        let refusal =
            Self::new(ErrorCode::RateLimited, "Try again in a moment: too many tries are under way.");
        Self { retry_after: Some(BUSY_RETRY), ..refusal }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ServiceUnavailable, message)
    }

    pub(super) fn job_not_found() -> Self {
        Self::new(ErrorCode::JobNotFound, "Check the job id: this API key has no such job.")
    }

    /// A defect: what is known goes to the log, the customer gets an id to quote.
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        let id = request_id::current();
        tracing::error!(request = %id, %cause, "a request failed");
        Self::new(
            ErrorCode::InternalError,
            "Try again; if it happens again, quote the request id to support.",
        )
        .with_details(format!("request {id}"))
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let retry_after = match error.code {
            ErrorCode::QueueFull => Some(QUEUE_FULL_RETRY),
            ErrorCode::ServiceUnavailable => Some(UNAVAILABLE_RETRY),
            _ => None,
        };
        Self { status: status_of(error.code), error, retry_after }
    }
}

impl From<StoreError> for Refusal {
    fn from(cause: StoreError) -> Self {
        if !cause.is_unavailable() {
            return Self::internal(cause);
        }
        tracing::warn!(request = %request_id::current(), %cause, "a request could not be served");
        Self::unavailable("Try again in a moment: a part of the service is not available.")
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(error) => error.into(),
            SubmitError::Store(cause) => cause.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, wire::error::failure(&self.error));
        if let Some(wait) = self.retry_after {
            let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs.max(1)));
        }
        if self.error.code == ErrorCode::Unauthorized {
            // RFC 9110 asks for the challenge; `X-API-Key` has no scheme of its own.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A handler panicked: the connection and the service live on.
pub(super) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
    Refusal::internal(text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_without_what_it_said() {
        let response = panicked(Box::new("the row of 10.0.0.7".to_owned()));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        let body = String::from_utf8(body.to_vec()).expect("UTF-8");
        assert!(body.contains("INTERNAL_ERROR") && !body.contains("10.0.0.7"), "{body}");
    }

    #[test]
    fn whoever_is_to_come_back_is_told_when() {
        for (refusal, status, wait) in [
            (Refusal::rate_limited(Duration::from_millis(1500)), 429, "2"),
            (Refusal::rate_limited(Duration::ZERO), 429, "1"),
            (Refusal::unavailable("x"), 503, "5"),
            (Refusal::new(ErrorCode::QueueFull, "x"), 503, "30"),
        ] {
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], wait);
        }
    }

    #[test]
    fn an_unavailable_store_is_told_from_a_defect() {
        let down = StoreError::Unavailable { what: "the database", cause: "10.0.0.7 refused".to_owned() };
        let defect = StoreError::Defect("10.0.0.7".to_owned());
        for (cause, status) in [(down, 503), (defect, 500)] {
            let refusal = Refusal::from(cause);
            assert_eq!(refusal.status.as_u16(), status);
            assert!(!format!("{:?}", refusal.error).contains("10.0.0.7"));
        }
    }
}
