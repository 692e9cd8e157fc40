//! Webhooks: one signed POST, and exactly what came of it.
//!
//! One deadline spans name, connection, TLS, request and answer. The status decides as soon as it is there; what
//! the receiver says after it is read up to a bound and kept up to a smaller one.

//!
//! Start with [`Webhooks`]. `request` is what is written, `connection` and `pool` carry it, `attempt` is what is known
//! of it.

mod attempt;
mod connection;
mod pool;
mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{BoxFuture, Notice, Notifier, SendError, SendOutcome};
use http::Request;
use http::header::HeaderValue;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use url::Url;

use self::attempt::{Attempt, Phase, shown};
use self::connection::Connection;
use self::pool::Pool;
use self::request::request;
use crate::dial::{DialError, Dialer};
use crate::retry_after::retry_after;

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
    dialer: Dialer,
    pool: Arc<Pool>,
    config: NotifyConfig,
}

impl Webhooks {
    pub(crate) fn new(dialer: Dialer, config: NotifyConfig) -> Self {
        Self { dialer, pool: Arc::default(), config }
    }

    async fn attempt(&self, notice: &Notice<'_>, attempt: &mut Attempt) -> Result<(), SendError> {
        let request = request(notice, &self.config.user_agent).map_err(|cause| {
            // Ours to mend, not the receiver's: nothing was sent, and it stays to be sent.
            tracing::error!(%cause, event = %notice.event.id, "a webhook could not be written");
            SendError::Interrupted
        })?;
        attempt.request = shown(request.headers());
        let url = notice.url.url();
        let (mut connection, response) = self.answer(url, request, attempt).await.inspect_err(|error| {
            tracing::debug!(error = error.as_str(), event = %notice.event.id, "a webhook got no answer");
        })?;
        attempt.enter(Phase::Body);
        let (head, body) = response.into_parts();
        attempt.status = Some(head.status.as_u16());
        attempt.retry_after = retry_after(&head.headers, notice.at);
        connection.beside(self.read(body, &mut attempt.answer)).await?;
        self.pool.keep(url, connection).await;
        Ok(())
    }

    /// Sends the request once, and waits for the head of its answer. A connection that was kept, and had ended before
    /// any of the request was on it, is replaced; what was on it is never sent again from here.
    async fn answer(
        &self,
        url: &Url,
        mut request: Request<Full<Bytes>>,
        attempt: &mut Attempt,
    ) -> Result<(Connection, http::Response<Incoming>), SendError> {
        loop {
            let kept = self.pool.take(url).await;
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                // In a box: it is seldom needed and large, and every attempt would have to carry room for it.
                None => Box::pin(self.connect(url, attempt)).await?,
            };
            attempt.sends_on(connection.written());
            match connection.send(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(failed) => match failed.unsent {
                    Some(unsent) if was_kept => {
                        attempt.takes_back();
                        request = unsent;
                    }
                    _ => return Err(class_of_break(&failed.cause)),
                },
            }
        }
    }

    async fn connect(&self, url: &Url, attempt: &mut Attempt) -> Result<Connection, SendError> {
        let host = url.host().ok_or(SendError::Protocol)?.to_owned();
        let port = url.port_or_known_default().ok_or(SendError::Protocol)?;
        let mut entering = |phase: crate::dial::Phase| attempt.enter(phase.into());
        let dialled = self.dialer.dial(host, port, url.scheme() == "https", &mut entering).await;
        let transport = dialled.map_err(|cause| {
            tracing::debug!(%cause, "a receiver could not be reached");
            class_of_dial(&cause)
        })?;
        Connection::over(transport).await.map_err(|cause| class_of_break(&cause))
    }

    /// Reads the body to its end or bound; says so if it broke off.
    async fn read(&self, mut body: Incoming, answer: &mut Vec<u8>) -> Result<(), SendError> {
        let mut read_bytes = 0;
        while read_bytes < self.config.max_read_bytes {
            let Some(frame) = body.frame().await else { break };
            let data = frame.map_err(|cause| class_of_break(&cause))?.into_data().unwrap_or_default();
            read_bytes = read_bytes.saturating_add(data.len());
            let room = self.config.max_kept_bytes.saturating_sub(answer.len());
            answer.extend_from_slice(&data[..room.min(data.len())]);
        }
        Ok(())
    }
}

impl Notifier for Webhooks {
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            let mut attempt = Attempt::begin();
            let total = self.config.total_timeout;
            let deadline = attempt.started() + notice.at_most.map_or(total, |at_most| at_most.min(total));
            let ended = tokio::time::timeout_at(deadline, self.attempt(&notice, &mut attempt)).await;
            attempt.end(ended.unwrap_or(Err(SendError::Timeout)).err())
        })
    }
}

fn class_of_break(cause: &hyper::Error) -> SendError {
    if cause.is_parse() { SendError::Protocol } else { SendError::Broken }
}

fn class_of_dial(cause: &DialError) -> SendError {
    match cause {
        DialError::Refused { .. } => SendError::AddressRefused,
        DialError::Resolve(_) => SendError::Dns,
        DialError::Connect(_) => SendError::Connect,
        DialError::Tls(_) => SendError::Tls,
        DialError::Timeout(_) => SendError::Timeout,
    }
}
