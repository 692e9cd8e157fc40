//! Connections: how many, how long a client may take over them, and how they end.
//!
//! axum's own `serve` has no timer for request heads and no bound on connections, so this is hyper's HTTP/1 directly.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use engine::CancellationToken;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::timed_writes::TimedWrites;

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
    let connections = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(config.header_read_timeout);
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = TokioIo::new(TimedWrites::new(stream, config.write_stall_timeout));
        let connection = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(cause) = connection.await {
                tracing::debug!(%cause, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(config.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some answers were cut off: they took longer than drain_timeout");
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
