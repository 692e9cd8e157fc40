//! Connections: how many, how long a client may take over them, and how they end.
//!
//! axum's own `serve` has no timer for request heads and no bound on connections, so this is hyper's HTTP/1 directly.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use engine::CancellationToken;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::timed_writes::TimedWrites;
use super::unread::Unread;
pub(crate) use super::unread::UnreadConfig;

/// How long to wait when the system has no descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of serving.
#[derive(Debug, Clone)]
pub(crate) struct ServeConfig {
    /// Open connections at once; further ones wait in the listener's backlog.
    pub(crate) max_connections: usize,
    /// How long a client may take over a request's head, and how long an idle connection is kept.
    pub(crate) header_read_timeout: Duration,
    /// How long a client may take none of what is sent to it.
    pub(crate) write_stall_timeout: Duration,
    /// How much is still read of a request whose answer is known.
    pub(crate) unread: UnreadConfig,
    /// How long answers under way may go on after the stop.
    pub(crate) drain_timeout: Duration,
}

/// Serves until `stop`, then lets answers under way end within the configured time.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let unread = Arc::new(config.unread);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(config.header_read_timeout);
    loop {
        let accepted = async {
            let permit = Arc::clone(&slots).acquire_owned().await;
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = TimedWrites::new(stream, config.write_stall_timeout);
        let connection =
            converse(http.clone(), stream, router.clone(), Unread::new(Arc::clone(&unread)), stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(config.drain_timeout, connections.wait()).await.is_err() {
        tracing::warn!("some answers were cut off: they took longer than drain_timeout");
    }
}

/// Answers the requests of one connection. After the stop, the answer under way is the last.
async fn converse(
    http: http1::Builder,
    stream: TimedWrites<TcpStream>,
    router: Router,
    unread: Unread,
    stop: CancellationToken,
) {
    let answering = unread.clone();
    let service = service_fn(move |request| Box::pin(answering.clone().answer(router.clone(), request)));
    let mut connection = http.serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        () = stop.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    match ended {
        Ok(()) => unread.close(connection.into_parts().io.into_inner()).await,
        Err(cause) => tracing::debug!(%cause, "a connection broke"),
    }
}

/// The next connection. Errors here are the client's, or pass: out of descriptors, out of memory.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written whole; waiting for more only delays them.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(cause) => {
                tracing::warn!(%cause, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
