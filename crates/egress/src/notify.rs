//! Webhooks: one signed POST, and exactly what came of it.
//!
//! One deadline spans name, connection, TLS, request and answer. The status decides as soon as it is there; what
//! the receiver says after it is read up to a bound and kept up to a smaller one.

use std::time::Duration;

use bytes::Bytes;
use domain::{BoxFuture, Notice, Notifier, SendError, SendOutcome};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::client::{ClientError, HttpClient, add_credentials, request_uri};
use crate::dial::DialError;
use crate::retry_after::retry_after;
use crate::sign::{MalformedSecret, sign};

/// What a POST may cost.
#[derive(Debug, Clone)]
pub struct NotifyConfig {
    /// Who we say we are. Default: `audio-extract/VERSION`.
    pub user_agent: HeaderValue,
    /// From the first byte of work to the last. Default: 15 s (the contract: a receiver answers at once).
    pub total_timeout: Duration,
    /// Bytes of the answer's body that are recorded. Default: 4 KiB.
    pub max_kept_bytes: usize,
    /// Bytes of the answer's body that are read, so that the connection can be used again. Default: 64 KiB.
    pub max_read_bytes: usize,
}

impl Default for NotifyConfig {
    fn default() -> Self {
        Self {
            user_agent: crate::user_agent(),
            total_timeout: Duration::from_secs(15),
            max_kept_bytes: 4 * 1024,
            max_read_bytes: 64 * 1024,
        }
    }
}

/// Sends webhooks over HTTP.
pub struct Webhooks {
    client: HttpClient,
    config: NotifyConfig,
}

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
enum NoticeError {
    #[error(transparent)]
    Secret(#[from] MalformedSecret),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a header cannot be written: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
}

impl Webhooks {
    pub(crate) fn new(client: HttpClient, config: NotifyConfig) -> Self {
        Self { client, config }
    }

    async fn post(&self, notice: &Notice<'_>, started: Instant) -> SendOutcome {
        let request = match self.request(notice) {
            Ok(request) => request,
            Err(cause) => {
                // Ours to mend, not the receiver's: nothing was sent, and it stays to be sent.
                tracing::error!(%cause, event = %notice.event.id, "a webhook could not be written");
                return SendOutcome::failed(SendError::Interrupted);
            }
        };
        let deadline = started + self.config.total_timeout;
        let response = match tokio::time::timeout_at(deadline, self.client.request(request)).await {
            Err(_) => return SendOutcome::failed(SendError::Timeout),
            Ok(Err(cause)) => {
                tracing::debug!(%cause, event = %notice.event.id, "a webhook got no answer");
                return SendOutcome::failed(class_of(&cause));
            }
            Ok(Ok(response)) => response,
        };
        let (head, mut body) = response.into_parts();
        let mut answer = Vec::new();
        let reading = self.read(&mut body, &mut answer);
        // Out of time: what was said by then is the answer. Broken off: it is none.
        let error = tokio::time::timeout_at(deadline, reading).await.ok().flatten();
        SendOutcome {
            error,
            answer,
            retry_after: retry_after(&head.headers, notice.at),
            ..SendOutcome::answered(head.status.as_u16())
        }
    }

    fn request(&self, notice: &Notice<'_>) -> Result<Request<Full<Bytes>>, NoticeError> {
        let event = notice.event;
        let timestamp = notice.at.as_secs();
        let signature = sign(event.id.as_str(), timestamp, &event.body, &notice.signing.secrets)?;
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&event.body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = request_uri(notice.url.url())?;
        let headers: &mut HeaderMap = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, self.config.user_agent.clone());
        headers.insert("webhook-id", HeaderValue::from_str(event.id.as_str())?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", HeaderValue::from_str(&signature)?);
        headers.insert("webhook-attempt", HeaderValue::from(notice.attempt));
        headers.insert("webhook-sequence", HeaderValue::from(event.sequence));
        add_credentials(headers, notice.url.url())?;
        Ok(request)
    }

    /// Reads the body to its end or bound; says so if it broke off.
    async fn read(&self, body: &mut Incoming, answer: &mut Vec<u8>) -> Option<SendError> {
        let mut read_bytes = 0;
        while read_bytes < self.config.max_read_bytes {
            let data = match body.frame().await? {
                Err(cause) if cause.is_parse() => return Some(SendError::Protocol),
                Err(_) => return Some(SendError::Broken),
                Ok(frame) => frame.into_data().unwrap_or_default(),
            };
            read_bytes = read_bytes.saturating_add(data.len());
            let room = self.config.max_kept_bytes.saturating_sub(answer.len());
            answer.extend_from_slice(&data[..room.min(data.len())]);
        }
        None
    }
}

impl Notifier for Webhooks {
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            let started = Instant::now();
            let outcome = self.post(&notice, started).await;
            SendOutcome { took: started.elapsed(), ..outcome }
        })
    }
}

fn class_of(error: &ClientError) -> SendError {
    match error {
        ClientError::Protocol(_) | ClientError::Url(_) => SendError::Protocol,
        ClientError::Broken(_) => SendError::Broken,
        ClientError::Dial(cause) => match cause.error() {
            Some(DialError::Refused { .. }) => SendError::AddressRefused,
            Some(DialError::Resolve(_)) => SendError::Dns,
            Some(DialError::Tls(_)) => SendError::Tls,
            Some(DialError::Timeout(_)) => SendError::Timeout,
            Some(DialError::Connect(_)) | None => SendError::Connect,
        },
    }
}
