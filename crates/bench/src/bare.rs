//! What the machine can do at most: the same requests over bare connections, without a store, a pool or a signature.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;

/// Connections at once.
const CONNECTIONS: usize = 32;

/// POSTs a second of this body under this head.
pub(crate) async fn posts_per_second(
    to: SocketAddr,
    head: &HeaderMap,
    body: &Bytes,
    count: usize,
) -> Outcome<f64> {
    let started = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut posting = JoinSet::new();
    for _ in 0..CONNECTIONS {
        posting.spawn(post(to, head.clone(), body.clone(), Arc::clone(&started), count));
    }
    while let Some(ended) = posting.join_next().await {
        ended??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn post(
    to: SocketAddr,
    head: HeaderMap,
    body: Bytes,
    started: Arc<AtomicUsize>,
    count: usize,
) -> Outcome<()> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    while started.fetch_add(1, Ordering::Relaxed) < count {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/webhook".parse()?;
        *request.headers_mut() = head.clone();
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        if !answer.status().is_success() {
            return Err(format!("the receiver answered {}", answer.status()).into());
        }
        answer.into_body().collect().await?;
    }
    drop(sender);
    // It ends with the sender; how the receiver takes that is no matter.
    let _ = driving.await;
    Ok(())
}
