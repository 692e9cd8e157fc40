//! A customer: submits a job until it is accepted, however often the service dies meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use domain::JobId;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::Outcome;
use crate::service::API_KEY;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// A job that the service has answered for.
pub(crate) struct Accepted {
    pub(crate) job: JobId,
    pub(crate) at: Instant,
}

/// What is asked for.
pub(crate) fn job(source: &str, webhook: &str) -> Bytes {
    let job = json!({
        "source": {"type": "url", "url": source},
        "output": {"format": "mp3"},
        "options": {"webhook": webhook},
    });
    Bytes::from(job.to_string())
}

/// Tries until there is an answer; the same job however often.
pub(crate) async fn submit(to: SocketAddr, number: usize, body: Bytes) -> Accepted {
    loop {
        if let Ok(Ok(job)) = tokio::time::timeout(PATIENCE, post(to, number, body.clone())).await {
            return Accepted { job, at: Instant::now() };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn post(to: SocketAddr, number: usize, body: Bytes) -> Outcome<JobId> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/audio-extract/v1/extract")
        .header("host", to.to_string())
        .header("x-api-key", API_KEY)
        .header("idempotency-key", format!("job-{number}"))
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    driving.abort();
    let answer: Value = serde_json::from_slice(&answer)?;
    let job = answer.pointer("/data/jobId").and_then(Value::as_str).ok_or("not accepted")?;
    Ok(JobId::parse(job)?)
}
