//! The HTTP client of sources: hyper's pool over our own dialer, and what webhooks share with it.
//!
//! In TLS it speaks HTTP/2 with hosts that choose it: all requests to one are streams of one connection. hyper's
//! client takes no pushed answers and bounds what a head may be spread over (frames, `CONTINUATION`s, resets).
//!
//! It follows no redirect, decodes no body, reads no proxy from the environment, and repeats a request only
//! where hyper knows that a pooled connection was closed before any of it was sent, or the host says that it has not
//! looked at it.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use domain::BoxFuture;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioTimer;
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;
use url::{Host, Url};

use crate::dial::{DialError, Dialer};
use crate::one_task::OneTask;
use crate::source::SourceConfig;
use crate::transport::Transport;

/// Idle connections are dropped before receivers drop them (Node's default is 5 s), so that few requests meet a
/// connection that is just being closed.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
pub(crate) const MAX_IDLE_PER_HOST: usize = 64;
/// The read buffer, and with it (give or take one read) the most that the head of an answer may take.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_HEADERS: usize = 128;

/// What a host may send of one body before we have taken any: what TCP's own window grows to at most (Linux: 6 MiB of
/// buffer, half of it window and rounded up), so that one stream fills as long a link as HTTP/1.1 does.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// What HTTP/2's largest window (RFC 9113, 6.9.1) has room for of these.
const MOST_STREAMS: u32 = (1 << 31) / STREAM_WINDOW_BYTES - 1;
/// How long the pool waits for a place among a host's connections: as long as one takes to close, and shorter than idle
/// ones are kept, or those that wait in vain would each open one when they go.
const PLACE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a request is made again at once that a host has not looked at. Where all that are under way do not fit into
/// what is left of a connection, some request may be the one too many several times in a row.
const MAX_UNSEEN: u32 = 8;

/// Why there was no answer, by cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    Dial(DialCause),
    #[error("the answer is not HTTP: {0}")]
    Protocol(#[source] legacy::Error),
    #[error("the connection broke: {0}")]
    Broken(#[source] legacy::Error),
    #[error("the URL cannot be requested: {0}")]
    Url(String),
    #[error(transparent)]
    Scattered(Scattered),
}

/// A dial's error where hyper keeps it: inside its own.
#[derive(Debug)]
pub(crate) struct DialCause(legacy::Error);

impl DialCause {
    pub(crate) fn error(&self) -> Option<&DialError> {
        find(&self.0)
    }
}

impl std::fmt::Display for DialCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.error() {
            Some(cause) => std::fmt::Display::fmt(cause, f),
            None => write!(f, "no connection: {}", self.0),
        }
    }
}

impl Error for DialCause {}

impl From<legacy::Error> for ClientError {
    fn from(error: legacy::Error) -> Self {
        if let Some(scattered) = find::<Scattered>(&error) {
            return Self::Scattered(*scattered);
        }
        if error.is_connect() {
            return Self::Dial(DialCause(error));
        }
        // Of an HTTP/2 connection it is the library that says so; what the host ends (GOAWAY, RST_STREAM) has broken.
        let is_parse = find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse)
            || find::<h2::Error>(&error).is_some_and(h2::Error::is_library);
        if is_parse { Self::Protocol(error) } else { Self::Broken(error) }
    }
}

/// The first cause of this type.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Makes the requests of one source, over connections of its own.
#[derive(Clone)]
pub(crate) struct HttpClient {
    inner: Client<Connector, Full<Bytes>>,
}

impl HttpClient {
    /// With at most so many connections to a host at once, and to so many hosts at all. Needs a tokio runtime around it.
    pub(crate) fn new(dialer: Dialer, config: &SourceConfig) -> Self {
        let SourceConfig { max_connections, max_hosts, ping_interval, .. } = *config;
        let streams = u32::try_from(max_connections).unwrap_or(MOST_STREAMS).clamp(1, MOST_STREAMS);
        let connector = Connector { dialer, max_connections, max_hosts, hosts: Arc::default() };
        let inner = Client::builder(OneTask::start())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEAD_BYTES as u32)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            // All streams of a connection may fill theirs.
            .http2_initial_connection_window_size(STREAM_WINDOW_BYTES * streams)
            .http2_keep_alive_interval(ping_interval)
            .http2_keep_alive_timeout(ping_interval)
            .build(connector);
        Self { inner }
    }

    /// One request, one answer, whose body has yet to be read.
    pub(crate) async fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut unseen = 0;
        loop {
            match self.inner.request(request.clone()).await {
                Err(error) if was_unseen(&error) && unseen < MAX_UNSEEN => {
                    unseen += 1;
                    tracing::debug!(%error, "the request was not looked at");
                }
                // It gets back into line, where its caller's patience is the bound.
                Err(error) if find::<Crowded>(&error).is_some() => {}
                answer => return Ok(answer?),
            }
        }
    }
}

/// Whether no host has looked at a request. HTTP/2 hosts end each connection after so many requests, while further ones are
/// on their way; that is no failure.
fn was_unseen(error: &legacy::Error) -> bool {
    // The host says so (RFC 9113, 8.7).
    let is_refused = find::<h2::Error>(error).is_some_and(|cause| {
        let reason = cause.reason();
        cause.is_remote()
            && (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
                || cause.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
    });
    // Others have used up the connection that was made for it, before it was handed over.
    let is_canceled = find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
        && error.connect_info().is_some_and(Connected::is_negotiated_h2);
    // Or the one that it was to share with the request which made it.
    let is_beside_dial = error.is_connect()
        && find::<DialError>(error).is_none()
        && find::<Crowded>(error).is_none()
        && find::<Scattered>(error).is_none();
    is_refused || is_canceled || is_beside_dial
}

/// What is requested: the URL without user, password and fragment.
pub(crate) fn request_uri(url: &Url) -> Result<Uri, ClientError> {
    let mut bare = url.clone();
    bare.set_fragment(None);
    let cannot = |()| ClientError::Url("it cannot be without credentials".to_owned());
    bare.set_username("").map_err(cannot)?;
    bare.set_password(None).map_err(cannot)?;
    bare.as_str().parse().map_err(|cause: http::uri::InvalidUri| ClientError::Url(cause.to_string()))
}

/// Puts the user and password of a URL, where it has them, into a header (RFC 7617), unless there is one.
pub(crate) fn add_credentials(headers: &mut HeaderMap, url: &Url) -> Result<(), ClientError> {
    use base64::Engine as _;
    if (url.username().is_empty() && url.password().is_none()) || headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text).map_err(|cause| ClientError::Url(cause.to_string()))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// None of a host's connections closed in time for another to be opened.
#[derive(Debug, thiserror::Error)]
#[error("all connections to the host are in use")]
struct Crowded;

/// The source lies on more hosts than one may: the bound for each is none for all of them.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the source names more than {max_hosts} hosts")]
pub(crate) struct Scattered {
    max_hosts: usize,
}

/// The room for connections at each host.
type Hosts = HashMap<(Scheme, Option<Authority>), Arc<Semaphore>>;

/// The dialer as hyper's pool calls it, within a bound for each host.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    max_connections: usize,
    max_hosts: usize,
    hosts: Arc<Mutex<Hosts>>,
}

impl Connector {
    /// A connection's place among those to its host. hyper's pool asks for a connection whenever none is idle just then,
    /// also when one is about to be; whoever waits here in vain gets that one.
    async fn place(&self, uri: &Uri) -> Result<OwnedSemaphorePermit, Box<dyn Error + Send + Sync>> {
        let places = self.places(uri)?;
        let place = tokio::time::timeout(PLACE_TIMEOUT, places.acquire_owned()).await;
        Ok(place.ok().and_then(Result::ok).ok_or(Crowded)?)
    }

    /// All places at a host.
    fn places(&self, uri: &Uri) -> Result<Arc<Semaphore>, Scattered> {
        let key = (uri.scheme().cloned().unwrap_or(Scheme::HTTP), uri.authority().cloned());
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= self.max_hosts && !hosts.contains_key(&key) {
            return Err(Scattered { max_hosts: self.max_hosts });
        }
        let places = hosts.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.max_connections)));
        Ok(Arc::clone(places))
    }
}

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Transport, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let place = this.place(&uri).await?;
            let secure = uri.scheme_str() == Some("https");
            let host = Host::parse(uri.host().unwrap_or_default()).map_err(|cause| DialError::Refused {
                reason: domain::AddressRefused(format!("the URL's host cannot be read: {cause}")),
                address: None,
            })?;
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            Ok(this.dialer.dial(host, port, secure, &mut |_| {}).await?.at(place))
        })
    }
}
