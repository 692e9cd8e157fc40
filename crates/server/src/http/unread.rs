//! What a client still sends when its answer is known.
//!
//! A connection that is closed while bytes of a request are unread is reset, and the reset may reach the client before
//! it has read the answer; and a client that does not know that the connection ends sends its next request into it. So
//! a small rest is read, and with a larger one the answer says that the connection ends, and what comes after it is
//! read and dropped for a while (RFC 9112, 9.6).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// How much is still read of a request whose answer is known.
#[derive(Debug, Clone)]
pub(crate) struct UnreadConfig {
    /// The largest rest of a body that is read so that the connection can go on.
    pub(crate) rest_bytes: u64,
    /// How long such a rest is waited for.
    pub(crate) rest_timeout: Duration,
    /// How many bytes are dropped after an answer that ends the connection.
    pub(crate) linger_bytes: u64,
    /// How long a client may send none of them.
    pub(crate) linger_pause: Duration,
    /// How long all of that may take.
    pub(crate) linger_timeout: Duration,
}

/// Whether something was left unread on a connection.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    config: Arc<UnreadConfig>,
    is_left: Arc<AtomicBool>,
}

impl Unread {
    pub(super) fn new(config: Arc<UnreadConfig>) -> Self {
        Self { config, is_left: Arc::default() }
    }

    /// Answers a request. If there is too much unread of it to go on, the answer says that the connection ends.
    pub(super) async fn answer(
        self,
        router: Router,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        // Such a client sends its body only when it is read; a refusal spares it that.
        let may_not_come = request.headers().contains_key(header::EXPECT);
        let (head, body) = request.into_parts();
        let lent = Lent::new(body);
        let request = Request::from_parts(head, lent.clone());
        let mut response = TowerToHyperService::new(router).call(request).await?;
        if !self.is_read(lent.take_back(), may_not_come).await {
            self.is_left.store(true, Ordering::Relaxed);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Closes a connection whose last answer is written, such that the client can read it.
    pub(super) async fn close(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        if stream.shutdown().await.is_err() || !self.is_left.load(Ordering::Relaxed) {
            return;
        }
        let dropping = async {
            let mut buffer = vec![0; 16 << 10];
            let mut dropped = 0;
            while dropped < self.config.linger_bytes {
                match tokio::time::timeout(self.config.linger_pause, stream.read(&mut buffer)).await {
                    Ok(Ok(count)) if count > 0 => dropped += count as u64,
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(self.config.linger_timeout, dropping).await;
    }

    /// Whether a body was read to its end, or what was left of it was small.
    async fn is_read(&self, body: Option<Incoming>, may_not_come: bool) -> bool {
        let Some(mut body) = body else { return true };
        if body.is_end_stream() {
            return true;
        }
        let mut left = self.config.rest_bytes;
        if may_not_come || body.size_hint().lower() > left {
            return false;
        }
        let rest = async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let count = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(count) {
                    Some(fewer) => left = fewer,
                    None => return false,
                }
            }
            true
        };
        tokio::time::timeout(self.config.rest_timeout, rest).await.unwrap_or(false)
    }
}

/// A body that a handler reads, and that can be taken back from it, or from whatever it gave the body to.
#[derive(Clone)]
struct Lent(Arc<Mutex<Option<Incoming>>>);

impl Lent {
    fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    fn take_back(&self) -> Option<Incoming> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self.lock() {
            Some(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            None => Poll::Ready(Some(Err("the request has been answered".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lock().as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}
