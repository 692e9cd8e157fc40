//! Somebody's webhook endpoint: notes when each event's first byte was there, and answers at once or never.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::Outcome;

/// What an endpoint does with a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// 200 at once.
    Quick,
    /// Takes it, and never says a word.
    Mute,
}

/// One POST.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// `webhook-id`.
    pub(crate) event: String,
    pub(crate) at: Instant,
}

struct Log {
    arrivals: Mutex<Vec<Arrival>>,
    /// The head of the first POST.
    head: Mutex<Option<HeaderMap>>,
    count: AtomicUsize,
    /// How many POSTs are waited for. Only this one wakes who waits: a wake for each would be measured too.
    awaited: AtomicUsize,
    is_there: Notify,
}

/// A running endpoint; it ends when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    log: Arc<Log>,
    listening: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Receiver {
    pub(crate) async fn start(manner: Manner) -> Outcome<Self> {
        // One that never answers stands for many: it is behind its port at every address of this machine.
        let host = if manner == Manner::Mute { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let listener = TcpListener::bind((host, 0)).await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()));
        let log = Arc::new(Log {
            arrivals: Mutex::default(),
            head: Mutex::default(),
            count: AtomicUsize::new(0),
            awaited: AtomicUsize::new(usize::MAX),
            is_there: Notify::new(),
        });
        let listening = tokio::spawn(listen(listener, manner, Arc::clone(&log)));
        Ok(Self { address, log, listening })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    /// How many POSTs have come.
    pub(crate) fn count(&self) -> usize {
        self.log.count.load(Ordering::SeqCst)
    }

    /// Waits for so many POSTs; whether they came in time.
    pub(crate) async fn wait_for(&self, count: usize, patience: Duration) -> bool {
        let is_there = self.log.is_there.notified();
        self.log.awaited.store(count, Ordering::SeqCst);
        self.count() >= count || tokio::time::timeout(patience, is_there).await.is_ok()
    }

    /// Every POST so far, in order.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.log.arrivals).clone()
    }

    /// Every POST after so many.
    pub(crate) fn arrivals_after(&self, count: usize) -> Vec<Arrival> {
        lock(&self.log.arrivals).get(count..).unwrap_or_default().to_vec()
    }

    /// The head of the first POST.
    pub(crate) fn head(&self) -> Option<HeaderMap> {
        lock(&self.log.head).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(listener: TcpListener, manner: Manner, log: Arc<Log>) {
    // Connections end with the endpoint: the set aborts them when it is dropped.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, manner, Arc::clone(&log)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, manner: Manner, log: Arc<Log>) {
    // A small answer must not wait for the acknowledgement of the one before; where it cannot be set, it is slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| take(request, manner, &log));
    // That the other side goes away is its right.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn take(
    request: Request<Incoming>,
    manner: Manner,
    log: &Log,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let at = Instant::now();
    let event = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let first = {
        let mut arrivals = lock(&log.arrivals);
        arrivals.push(Arrival { event: event.to_owned(), at });
        arrivals.len() == 1
    };
    if first {
        *lock(&log.head) = Some(request.headers().clone());
    }
    // A body that breaks off was never the whole of it; there is nothing to answer differently.
    let _ = request.into_body().collect().await;
    if log.count.fetch_add(1, Ordering::SeqCst) + 1 == log.awaited.load(Ordering::SeqCst) {
        // Kept for who has not begun to wait yet.
        log.is_there.notify_one();
    }
    match manner {
        Manner::Quick => Ok(Response::new(Empty::new())),
        Manner::Mute => std::future::pending().await,
    }
}
