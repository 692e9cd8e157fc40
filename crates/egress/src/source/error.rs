//! What can go wrong with a fetch, and what the customer is told about it.

use std::io;
use std::time::Duration;

use domain::{AddressRefused, Failure, FailureCode, Retry};
use url::Origin;

use super::multipart::BadParts;
use super::playlist::PlaylistError;
use crate::client::{ClientError, DialCause};
use crate::dial::{DialError, Phase};
use crate::resolver::ResolveError;

/// Why bytes did not come. Texts are for the operator; [`FetchError::into_failure`] has the customer's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("refused by the guard: {}", .0.0)]
    Refused(AddressRefused),
    #[error("the header `{0}` cannot be sent")]
    Header(String),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("too slow over {0:?}")]
    Stalled(Duration),
    #[error("not done within {0:?}")]
    TotalTime(Duration),
    #[error("status {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("redirect: {0}")]
    Redirect(RedirectError),
    #[error("the body is encoded")]
    Encoded,
    #[error("more than {max_bytes} bytes")]
    TooLarge { max_bytes: u64 },
    #[error("more than {max_bytes} bytes read, some of them again")]
    TooMuchRead { max_bytes: u64 },
    #[error("another version than at first")]
    Changed,
    #[error("another version than at another host")]
    Elsewhere,
    #[error("another range than was asked for")]
    WrongRange,
    #[error("all of the file instead of a part of it")]
    NoRanges,
    #[error(transparent)]
    Parts(#[from] BadParts),
    #[error("the body ended early")]
    Short,
    #[error("the connection broke within the body: {0}")]
    Body(#[source] hyper::Error),
    #[error("the pipe: {0}")]
    Pipe(#[source] io::Error),
    #[error(transparent)]
    Playlist(#[from] PlaylistError),
    #[error("segment {number} of {of}: {cause}")]
    Segment { number: usize, of: usize, cause: Box<FetchError> },
    #[error("the spool: {0}")]
    Spool(#[source] io::Error),
    #[error("all spools together are full")]
    SpoolFull,
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectError {
    #[error("it leads nowhere")]
    NoLocation,
    #[error("there are more than {0}")]
    TooMany(u32),
    #[error("it leads from https to http")]
    Downgrade,
}

impl FetchError {
    /// What it means that the answers of these two hosts are of different versions of one file.
    pub(crate) fn other_version(first: &Origin, later: &Origin) -> Self {
        if first == later { Self::Changed } else { Self::Elsewhere }
    }

    /// Whether another try, now or in another attempt of the job, may end differently.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Client(ClientError::Dial(cause)) => match cause.error() {
                Some(DialError::Refused { .. } | DialError::Resolve(ResolveError::NotFound(_))) => false,
                // A certificate stays wrong; a connection that broke within the handshake does not.
                Some(DialError::Tls(cause)) => !is_verdict(cause),
                Some(DialError::Resolve(_) | DialError::Connect(_) | DialError::Timeout(_)) | None => true,
            },
            Self::Client(ClientError::Broken(_)) => true,
            Self::Client(ClientError::Protocol(_) | ClientError::Url(_) | ClientError::Scattered(_)) => false,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::NoAnswer(_) | Self::Stalled(_) | Self::Short | Self::Body(_) => true,
            Self::Spool(_) | Self::SpoolFull => true,
            Self::Refused(_) | Self::Header(_) | Self::TotalTime(_) | Self::Redirect(_) => false,
            Self::Encoded | Self::TooLarge { .. } | Self::TooMuchRead { .. } => false,
            Self::Changed | Self::Elsewhere | Self::WrongRange | Self::Parts(_) => false,
            Self::NoRanges | Self::Pipe(_) | Self::Playlist(_) => false,
            Self::Segment { cause, .. } => cause.is_transient(),
        }
    }

    /// Whether another attempt of the job may: it takes the version that the first host to answer has.
    fn is_worth_another_attempt(&self) -> bool {
        match self {
            Self::Elsewhere => true,
            Self::Segment { cause, .. } => cause.is_worth_another_attempt(),
            _ => self.is_transient(),
        }
    }

    /// Whether this answer to a request for several ranges means that there will be no better one. If the cause is
    /// another, a request for one range will show it.
    pub(crate) fn is_no_to_parts(&self) -> bool {
        match self {
            Self::Status { status, .. } => !self.is_transient() || *status == 501,
            Self::Parts(_) | Self::WrongRange | Self::Encoded | Self::Client(ClientError::Protocol(_)) => {
                true
            }
            _ => false,
        }
    }

    /// Whether the host was not even asked.
    pub(crate) fn is_unasked(&self) -> bool {
        matches!(self, Self::Client(ClientError::Dial(_)))
    }

    /// Whether it is the place that was asked where the file is not, or not for us.
    pub(crate) fn is_of_place(&self) -> bool {
        matches!(self, Self::Status { status: 401 | 403 | 404 | 410, .. }) || self.is_unasked()
    }

    /// Whether the answer's head was well, and its body broke.
    pub(crate) fn is_within_body(&self) -> bool {
        matches!(self, Self::Short | Self::Body(_) | Self::Stalled(_))
    }

    /// Whether the host says that there is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 410, .. })
    }

    /// Whether the host asks to be asked less.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Status { status: 429 | 503, .. })
    }

    /// How long the host asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What happened to the job.
    pub(crate) fn into_failure(self) -> Failure {
        let (message, details) = self.told();
        let code = self.code();
        let failure = Failure::permanent(code, message).with_details(details).with_private(self.to_string());
        let retry = if self.is_worth_another_attempt() { Retry::Worthwhile } else { Retry::Never };
        Failure { retry, ..failure }
    }

    fn code(&self) -> FailureCode {
        match self {
            Self::Playlist(error) => error.code(),
            Self::Segment { cause, .. } => cause.code(),
            _ => FailureCode::DownloadFailed,
        }
    }

    /// What the customer is told: what to do, and what exactly was wrong. No addresses, no queries, no causes.
    fn told(&self) -> (&'static str, String) {
        match self {
            Self::Client(ClientError::Dial(cause)) => told_of_dial(cause),
            Self::Client(ClientError::Protocol(_)) => {
                (CHECK_HOST, "the host's answer is not HTTP, or its headers are too large".to_owned())
            }
            Self::Client(ClientError::Broken(_)) | Self::Body(_) => {
                (TRY_LATER, "the host closed the connection".to_owned())
            }
            Self::Client(ClientError::Url(_)) => (CHECK_URL, "the URL cannot be requested".to_owned()),
            Self::Client(ClientError::Scattered(cause)) => {
                ("Use a source that lies on fewer hosts.", cause.to_string())
            }
            Self::Refused(reason) => (USE_PUBLIC, reason.0.clone()),
            Self::Header(name) => {
                ("Leave this header out of `source.headers`.", format!("the header `{name}` cannot be sent"))
            }
            Self::NoAnswer(time) => (TRY_LATER, format!("the host did not answer within {}", secs(*time))),
            Self::Stalled(time) => (TRY_LATER, format!("no data, or next to none, for {}", secs(*time))),
            Self::TotalTime(time) => {
                ("Use a faster host or a smaller file.", format!("the source took more than {}", secs(*time)))
            }
            Self::Status { status, .. } => told_of_status(*status),
            Self::Redirect(cause) => (CHECK_URL, format!("a redirect was not followed: {cause}")),
            Self::Encoded => (CHECK_HOST, "the host sent the file compressed, unasked".to_owned()),
            Self::TooLarge { max_bytes } => {
                ("Use a smaller file.", format!("the source has more than {}", size(*max_bytes)))
            }
            Self::TooMuchRead { max_bytes } => (
                "Store the video in another order (for mp4: faststart) or another container.",
                format!("its parts had to be read again and again, more than {} in all", size(*max_bytes)),
            ),
            Self::Changed => {
                ("Submit the job again when the file is complete.", "it changed while being read".to_owned())
            }
            Self::Elsewhere => (
                "Submit the job again; if that does not help, with the URL of one of the source's hosts.",
                "another host of this source has another version of it".to_owned(),
            ),
            Self::WrongRange | Self::Parts(_) => {
                (CHECK_HOST, "the host answered with other bytes than were asked for".to_owned())
            }
            Self::NoRanges => (CHECK_HOST, "the host serves no parts of a file".to_owned()),
            Self::Short => (TRY_LATER, "the host ended the file early".to_owned()),
            Self::Pipe(_) => ("Send the file again.", "what was piped in could not be read".to_owned()),
            Self::Playlist(error) => (error.message(), error.to_string()),
            Self::Segment { number, of, cause } => {
                let (message, details) = cause.told();
                (message, format!("segment {number} of {of}: {details}"))
            }
            Self::Spool(_) | Self::SpoolFull => {
                (TRY_LATER, "the service is short of temporary space for this source".to_owned())
            }
        }
    }
}

const TRY_LATER: &str = "Check that the source's host is well, and submit the job again.";
const CHECK_URL: &str = "Check the source URL.";
const CHECK_HOST: &str = "Serve the file as it is, by plain HTTP, or use another host.";
const USE_PUBLIC: &str = "Use a source URL that is reachable on the public internet.";

fn told_of_dial(cause: &DialCause) -> (&'static str, String) {
    match cause.error() {
        Some(DialError::Refused { reason, .. }) => (USE_PUBLIC, reason.0.clone()),
        Some(DialError::Resolve(ResolveError::NotFound(_))) => {
            (CHECK_URL, "the host's name does not resolve".to_owned())
        }
        Some(DialError::Resolve(ResolveError::Unanswered(_)) | DialError::Timeout(Phase::Resolve)) => {
            (TRY_LATER, "the host's name could not be resolved in time".to_owned())
        }
        Some(DialError::Connect(_)) | None => (TRY_LATER, "the host refused the connection".to_owned()),
        Some(DialError::Timeout(_)) => (TRY_LATER, "the connection could not be made in time".to_owned()),
        Some(DialError::Tls(_)) => {
            ("Check the certificate of the source's host.", "no trusted TLS session with the host".to_owned())
        }
    }
}

/// Whether TLS itself said no, rather than the network under it.
fn is_verdict(cause: &io::Error) -> bool {
    cause.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

fn told_of_status(status: u16) -> (&'static str, String) {
    let message = match status {
        401 | 403 => "Check that the source URL needs no login, and that a signed link has not expired.",
        404 | 410 => "Check that the file is still where the source URL says.",
        408 | 425 | 429 | 500..=599 => TRY_LATER,
        _ => CHECK_URL,
    };
    (message, format!("the host answered {status}"))
}

fn secs(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// In the unit in which limits are written.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{bytes} bytes"),
        1_000_000..1_000_000_000 => format!("{} MB", bytes as f64 / 1e6),
        _ => format!("{} GB", bytes as f64 / 1e9),
    }
}
