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

/// The largest rest of a body that is read so that the connection can go on, in bytes.
const MAX_SMALL_BYTES: u64 = 64 << 10;
/// How long such a rest is waited for.
const SMALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How many bytes are dropped after an answer, how long a client may send none of them, and how long it all may take.
const MAX_DROPPED_BYTES: usize = 16 << 20;
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether something was left unread on a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
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
        if !is_read(lent.take_back(), may_not_come).await {
            self.0.store(true, Ordering::Relaxed);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Closes a connection whose last answer is written, such that the client can read it.
    pub(super) async fn close(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        if stream.shutdown().await.is_err() || !self.0.load(Ordering::Relaxed) {
            return;
        }
        let dropping = async {
            let mut buffer = vec![0; 16 << 10];
            let mut dropped = 0;
            while dropped < MAX_DROPPED_BYTES {
                match tokio::time::timeout(SILENCE_TIMEOUT, stream.read(&mut buffer)).await {
                    Ok(Ok(count)) if count > 0 => dropped += count,
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIMEOUT, dropping).await;
    }
}

/// Whether a body was read to its end, or what was left of it was small.
async fn is_read(body: Option<Incoming>, may_not_come: bool) -> bool {
    let Some(mut body) = body else { return true };
    if body.is_end_stream() {
        return true;
    }
    if may_not_come || body.size_hint().lower() > MAX_SMALL_BYTES {
        return false;
    }
    let mut left = MAX_SMALL_BYTES;
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
    tokio::time::timeout(SMALL_TIMEOUT, rest).await.unwrap_or(false)
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
