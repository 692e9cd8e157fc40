//! `audio-extract webhooks listen`: a receiver for trying things out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use clap::Args;
use domain::{Clock as _, Secret};
use egress::sign;
use engine::CancellationToken;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Stop, block_on, print};
use crate::clock::SystemClock;
use crate::config::parse_duration;
use crate::http::serve::{ServeConfig, UnreadConfig, serve};
use crate::lifecycle;

/// No event of ours is larger.
const MAX_EVENT_BYTES: usize = 1 << 20;

#[derive(Args)]
pub(super) struct ListenArgs {
    /// Port on 127.0.0.1; 0 picks a free one, which stderr names
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The signing secret of the API key: `whsec_…`
    #[arg(long)]
    secret: String,
    /// Print each event's body as it came, one a line
    #[arg(long)]
    json: bool,
    /// Answer the first N events with an error, as a receiver that is down does, and then with 200
    #[arg(long, value_name = "N")]
    fail: Option<u32>,
    /// Answer with this status: every event, or with --fail the first N (which otherwise get 500)
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// Wait this long before each answer, like 20s
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    delay: Duration,
}

/// What the handler works with.
struct Receiver {
    secret: Secret,
    json: bool,
    temper: Temper,
}

/// How it answers what is genuine.
struct Temper {
    delay: Duration,
    on_purpose: StatusCode,
    /// How many more are answered on purpose; none where there is no end.
    left: Option<AtomicU32>,
}

impl Temper {
    fn of(args: &ListenArgs) -> Self {
        let default = if args.fail.is_some() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        // Within the range that clap saw to, every number is a status.
        let on_purpose = args.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(default);
        let left = match (args.fail, args.status) {
            (None, Some(_)) => None,
            (fail, _) => Some(AtomicU32::new(fail.unwrap_or(0))),
        };
        Self { delay: args.delay, on_purpose, left }
    }

    /// The answer to the next event.
    fn next(&self) -> StatusCode {
        let take = |left: u32| left.checked_sub(1);
        let is_on_purpose = match &self.left {
            None => true,
            Some(left) => left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok(),
        };
        if is_on_purpose { self.on_purpose } else { StatusCode::OK }
    }
}

pub(super) fn run(args: ListenArgs) -> Result<(), Stop> {
    let temper = Temper::of(&args);
    let secret = Secret::new(args.secret);
    sign::SigningSecret::parse(&secret).map_err(|cause| Stop::Usage(format!("--secret: {cause}")))?;
    let receiver = Arc::new(Receiver { secret, json: args.json, temper });
    block_on(async move {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
        let cannot = |cause| Stop::Failed(format!("cannot listen on {address}: {cause}"));
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        eprintln!("listening on http://{}/", listener.local_addr().map_err(cannot)?);
        let router = Router::new()
            .fallback(receive)
            .layer(DefaultBodyLimit::max(MAX_EVENT_BYTES))
            .with_state(receiver);
        let config = ServeConfig {
            max_connections: 256,
            header_read_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(10),
            unread: UnreadConfig {
                rest_bytes: MAX_EVENT_BYTES as u64,
                rest_timeout: Duration::from_secs(1),
                linger_bytes: MAX_EVENT_BYTES as u64,
                linger_pause: Duration::from_secs(1),
                linger_timeout: Duration::from_secs(10),
            },
            drain_timeout: Duration::from_secs(1),
        };
        let stop = CancellationToken::new();
        let signals = lifecycle::stop_on_signal(stop.clone())?;
        serve(listener, router, config, stop).await;
        signals.abort();
        Ok(())
    })
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Err(reason) = verify(&receiver.secret, &headers, &body) {
        eprintln!("refused: {reason}");
        return StatusCode::BAD_REQUEST;
    }
    let status = receiver.temper.next();
    tokio::time::sleep(receiver.temper.delay).await;
    if !status.is_success() {
        // It is sent again, and printed when it is taken.
        eprintln!("answered {} on purpose: {}", status.as_u16(), describe(&headers, &body));
        return status;
    }
    let line =
        if receiver.json { String::from_utf8_lossy(&body).into_owned() } else { describe(&headers, &body) };
    match print(&line) {
        Ok(()) => status,
        // What could not be shown is sent again.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn verify(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| format!("the header {name} is missing"))
    };
    let timestamp = header("webhook-timestamp")?;
    let timestamp = timestamp.parse().map_err(|_| "webhook-timestamp is no number".to_owned())?;
    let (id, signature) = (header("webhook-id")?, header("webhook-signature")?);
    sign::verify(id, timestamp, body, signature, secret, SystemClock.now()).map_err(|cause| cause.to_string())
}

/// One event in a line for people.
fn describe(headers: &HeaderMap, body: &[u8]) -> String {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("?").to_owned();
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer: &str| match event.pointer(pointer) {
        Some(Value::String(text)) => plain(text),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    let outcome = if event.get("outputFile").is_some() {
        format!(
            "{} ({} bytes, {} s, {}) {}",
            text("/outputFile/filename"),
            text("/outputFile/size"),
            text("/outputFile/duration"),
            text("/outputFile/bitrate"),
            text("/outputFile/url"),
        )
    } else if event.get("error").is_some() {
        format!("{}: {}", text("/error/code"), text("/error/message"))
    } else {
        text("/status")
    };
    let (id, attempt) = (header("webhook-id"), header("webhook-attempt"));
    let replay = if headers.contains_key("webhook-replay") { ", replay" } else { "" };
    let (event, job) = (text("/event"), text("/jobId"));
    format!("{event} {job}: {outcome} [{id}, attempt {attempt}{replay}, signature verified]")
}

/// Without what would move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().expect("a value"));
        headers.insert("webhook-attempt", "2".parse().expect("a value"));
        let failed = br#"{"event":"job.failed","jobId":"job_1","status":"failed","error":{"code":"X","message":"a\nb"}}"#;
        assert_eq!(
            describe(&headers, failed),
            "job.failed job_1: X: ab [msg_1, attempt 2, signature verified]"
        );
        let completed = br#"{"event":"job.completed","jobId":"job_1","outputFile":
            {"filename":"a.mp3","size":12,"duration":1.5,"bitrate":"192k","url":"http://a/b"}}"#;
        assert_eq!(
            describe(&headers, completed),
            "job.completed job_1: a.mp3 (12 bytes, 1.5 s, 192k) http://a/b [msg_1, attempt 2, signature verified]"
        );
        assert!(!describe(&HeaderMap::new(), b"no json").contains('\n'));
        headers.insert("webhook-replay", "true".parse().expect("a value"));
        assert!(describe(&headers, failed).ends_with("[msg_1, attempt 2, replay, signature verified]"));
    }

    #[test]
    fn only_a_signed_body_is_believed() {
        let secret = sign::generate_secret().expect("a secret");
        let now = SystemClock.now().as_secs();
        let signature = sign::sign("msg_1", now, b"{}", std::slice::from_ref(&secret)).expect("a signature");
        let mut headers = HeaderMap::new();
        assert!(verify(&secret, &headers, b"{}").expect_err("no headers").contains("missing"));
        headers.insert("webhook-id", "msg_1".parse().expect("a value"));
        headers.insert("webhook-timestamp", now.to_string().parse().expect("a value"));
        headers.insert("webhook-signature", signature.parse().expect("a value"));
        assert_eq!(verify(&secret, &headers, b"{}"), Ok(()));
        assert!(verify(&secret, &headers, b"{ }").is_err());
    }

    #[test]
    fn answers_are_as_they_were_asked_for() {
        for (fail, status, answers) in [
            (None, None, [200, 200, 200]),
            (Some(2), None, [500, 500, 200]),
            (Some(2), Some(503), [503, 503, 200]),
            (None, Some(410), [410, 410, 410]),
            (Some(0), Some(410), [200, 200, 200]),
        ] {
            let delay = Duration::ZERO;
            let args = ListenArgs { port: 0, secret: String::new(), json: false, fail, status, delay };
            let temper = Temper::of(&args);
            assert_eq!(answers.map(|_| temper.next().as_u16()), answers, "{fail:?} {status:?}");
        }
    }
}
