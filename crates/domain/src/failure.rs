//! What happened to a job that did not work out.

use std::fmt;

/// The code by which a customer's program tells failures apart (the contract's codes that live in a job).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// The source could not be fetched: host, status, timeout, too large.
    DownloadFailed,
    /// Not a media file, or corrupted beyond use.
    InvalidVideo,
    /// No audio track, undecodable codec, encoder failure.
    ExtractionFailed,
    /// The customer cancelled it.
    JobCancelled,
    /// A defect or a lost part of ours.
    InternalError,
}

impl FailureCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 5] = [
        Self::DownloadFailed,
        Self::InvalidVideo,
        Self::ExtractionFailed,
        Self::JobCancelled,
        Self::InternalError,
    ];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DownloadFailed => "DOWNLOAD_FAILED",
            Self::InvalidVideo => "INVALID_VIDEO",
            Self::ExtractionFailed => "EXTRACTION_FAILED",
            Self::JobCancelled => "JOB_CANCELLED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// Whether another attempt could end differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same input will fail the same way.
    Never,
    /// A crash, a lost connection, a busy host: worth another of the job's attempts.
    Worthwhile,
}

/// The part of a failure that the customer sees, in status and in `job.failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicFailure {
    /// For programs.
    pub code: FailureCode,
    /// One sentence that says what to do.
    pub message: String,
    /// What exactly was wrong.
    pub details: Option<String>,
}

/// What happened to a job: what the customer is told, and what only the operator's log may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether the job is worth another attempt.
    pub retry: Retry,
    /// What the customer is told.
    pub public: PublicFailure,
    /// For the operator: addresses, causes, internals. Never leaves the process but as a log line.
    pub private: Option<String>,
}

impl Failure {
    /// A failure that another attempt would meet again.
    pub fn permanent(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            retry: Retry::Never,
            public: PublicFailure { code, message: message.into(), details: None },
            private: None,
        }
    }

    /// A failure that another attempt may not meet.
    pub fn transient(code: FailureCode, message: impl Into<String>) -> Self {
        Self { retry: Retry::Worthwhile, ..Self::permanent(code, message) }
    }

    /// Says what exactly was wrong, to the customer.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.public.details = Some(details.into());
        self
    }

    /// Says what the operator needs to know and the customer must not.
    #[must_use]
    pub fn with_private(mut self, private: impl Into<String>) -> Self {
        self.private = Some(private.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.public.code.as_str(), self.public.message)?;
        if let Some(details) = &self.public.details {
            write!(f, " ({details})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_not_displayed() {
        let failure = Failure::permanent(FailureCode::DownloadFailed, "Check the address.")
            .with_details("the host refused")
            .with_private("10.0.0.7:80");
        assert_eq!(failure.to_string(), "DOWNLOAD_FAILED: Check the address. (the host refused)");
    }

    #[test]
    fn codes_read_back() {
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::parse(code.as_str()), Some(code));
        }
    }
}
