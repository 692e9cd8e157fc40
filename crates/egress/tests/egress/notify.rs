//! Webhooks: what is sent, and what each kind of receiver comes to.

use std::time::Duration;

use domain::{
    Event, EventId, EventKind, JobId, KeyId, Notice, Notifier, Secret, SendError, SendOutcome, SigningKeys,
    Timestamp, WebhookUrl,
};
use egress::{Egress, EgressConfig};
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::{NOW, Names, config, egress, egress_with};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &[u8] = br#"{"event":"job.completed","jobId":"job_0000000000000001"}"#;

fn event() -> Event {
    Event {
        id: EventId::from_random([1; 8]),
        key: KeyId::from_random([2; 8]),
        sequence: 42,
        job: JobId::from_random([3; 8]),
        kind: EventKind::Completed,
        body: BODY.to_vec(),
        created_at: NOW,
    }
}

/// Posts once, over an egress that stays (its pool with it).
pub(crate) async fn post_with(egress: &Egress, url: &str, attempt: u32) -> SendOutcome {
    post_at(egress, url, attempt, NOW).await
}

async fn post_at(egress: &Egress, url: &str, attempt: u32, at: Timestamp) -> SendOutcome {
    let (event, url) = (event(), WebhookUrl::parse(url).expect(url));
    let signing = SigningKeys { secrets: vec![Secret::new(SECRET)], private_keys: Vec::new(), header: None };
    egress
        .webhooks
        .send(Notice {
            event: &event,
            url: &url,
            attempt,
            at,
            signing: &signing,
            is_replay: false,
            is_file_gone: false,
        })
        .await
}

async fn post(url: &str) -> SendOutcome {
    post_with(&egress(config()), url, 1).await
}

/// Deadlines short enough to wait for.
fn hurried() -> EgressConfig {
    let mut config = config();
    config.notify.total_timeout = Duration::from_millis(500);
    config
}

async fn receiver(reply: Reply) -> Host {
    Host::start(move |_| reply.clone()).await
}

#[tokio::test]
async fn an_event_arrives_byte_for_byte() {
    let host = receiver(Reply::new(200, &[], b"thanks")).await;
    let outcome = post_with(&egress(config()), &host.url("/hook?a=b"), 3).await;
    assert!(outcome.is_delivered(), "{outcome:?}");
    assert_eq!((outcome.status, outcome.answer.as_slice()), (Some(200), b"thanks".as_slice()));
    assert!(outcome.took > Duration::ZERO);

    let seen = &host.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/hook?a=b"));
    assert_eq!(seen.body, BODY);
    for (name, value) in [
        ("content-type", "application/json"),
        ("webhook-id", event().id.as_str()),
        ("webhook-timestamp", "784111777"),
        ("webhook-attempt", "3"),
        ("webhook-sequence", "42"),
        ("content-length", &BODY.len().to_string()),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("audio-extract/")));
}

#[tokio::test]
async fn the_official_library_verifies_ours() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    // The library compares with the system's clock, and with no other.
    let millis = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_millis();
    let now = Timestamp::from_millis(i64::try_from(millis).expect("a time before the end"));
    post_at(&egress(config()), &host.url("/"), 1, now).await;
    let seen = &host.seen()[0];
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, seen.header(name).expect(name).parse().expect(name));
    }
    let verifier = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    verifier.verify(&seen.body, &headers).expect("genuine");
    assert!(verifier.verify(b"{}", &headers).is_err(), "the library believes anything");
}

#[tokio::test]
async fn the_status_is_the_verdict() {
    for (status, delivered, gone) in [
        (200, true, false),
        (201, true, false),
        (204, true, false),
        (301, false, false),
        (302, false, false),
        (307, false, false),
        (308, false, false),
        (400, false, false),
        (404, false, false),
        (410, false, true),
        (429, false, false),
        (500, false, false),
        (502, false, false),
        (503, false, false),
        (504, false, false),
    ] {
        let elsewhere = receiver(Reply::new(200, &[], b"")).await;
        let location = elsewhere.url("/");
        let reply = match status {
            204 => Reply::head(204, &[]),
            _ => Reply::new(status, &[("location", &location)], b"said"),
        };
        let host = receiver(reply).await;
        let outcome = post(&host.url("/")).await;
        assert_eq!(outcome.status, Some(status));
        assert_eq!((outcome.is_delivered(), outcome.is_gone()), (delivered, gone), "{status}");
        assert_eq!(outcome.error, None, "{status}");
        assert_eq!(host.seen().len(), 1, "{status}: sent once");
        assert!(elsewhere.seen().is_empty(), "{status}: followed");
    }
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    for (value, secs) in [("20", Some(20)), ("Sun, 06 Nov 1994 08:51:17 GMT", Some(100)), ("whenever", None)]
    {
        let host = receiver(Reply::new(429, &[("retry-after", value)], b"")).await;
        assert_eq!(post(&host.url("/")).await.retry_after, secs.map(Duration::from_secs), "{value}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_a_timeout() {
    for reply in [
        Reply::default().then(Step::Hang),
        Reply::raw("HTTP/1.1 200 OK\r\nx-half: ").then(Step::Hang),
        Reply::raw("HTTP/1.1 200 OK\r\n")
            .then(Step::Forever(b"a: b\r\n".to_vec(), Duration::from_millis(20))),
    ] {
        let host = receiver(reply).await;
        let outcome = post_with(&egress(hurried()), &host.url("/"), 1).await;
        assert_eq!((outcome.error, outcome.status), (Some(SendError::Timeout), None));
        assert!(outcome.took >= Duration::from_millis(500), "{outcome:?}");
    }
}

#[tokio::test]
async fn after_the_status_a_receiver_may_dawdle_within_bounds() {
    let head = || Reply::head(200, &[("connection", "close")]);
    for (reply, kept) in [
        (Reply::head(200, &[("content-length", "10")]).then(Step::Hang), 0..1),
        (head().then(Step::Forever(b"x".to_vec(), Duration::from_millis(10))), 1..100),
        (head().then(Step::Forever(vec![b'x'; 8192], Duration::ZERO)), 4096..4097),
    ] {
        let host = receiver(reply).await;
        let outcome = post_with(&egress(hurried()), &host.url("/"), 1).await;
        assert!(outcome.is_delivered(), "{outcome:?}");
        assert!(kept.contains(&outcome.answer.len()), "{} bytes kept", outcome.answer.len());
    }
}

#[tokio::test]
async fn an_endless_answer_is_left_long_before_the_deadline() {
    let endless = Step::Forever(vec![b'x'; 65_536], Duration::ZERO);
    let host = receiver(Reply::head(500, &[("connection", "close")]).then(endless)).await;
    let outcome = post(&host.url("/")).await;
    assert_eq!((outcome.status, outcome.error, outcome.answer.len()), (Some(500), None, 4096));
    assert!(outcome.took < config().notify.total_timeout, "read to the deadline");
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_and_nothing_is_sent_twice() {
    for (reply, status) in [
        (Reply::default().then(Step::Reset), None),
        (Reply::default().then(Step::Close), None),
        (Reply::raw("HTTP/1.1 200 O").then(Step::Reset), None),
        (Reply::raw("HTTP/1.1 200 OK\r\nx: y").then(Step::Close), None),
        (
            Reply::head(200, &[("content-length", "10")])
                .then(Step::Bytes(b"abc".to_vec()))
                .then(Step::Close),
            Some(200),
        ),
        (Reply::head(500, &[("content-length", "10")]).then(Step::Close), Some(500)),
    ] {
        let host = receiver(reply.clone()).await;
        let outcome = post(&host.url("/")).await;
        assert_eq!((outcome.error, outcome.status), (Some(SendError::Broken), status), "{reply:?}");
        assert!(!outcome.is_delivered());
        assert_eq!(host.seen().len(), 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_reset_on_a_kept_connection_is_not_sent_again() {
    // The second request on the connection was sent in full: only its receiver knows what became of it.
    let host = Host::start(|seen: &Seen| match seen.number {
        0 => Reply::new(200, &[], b"ok"),
        _ => Reply::default().then(Step::Reset),
    })
    .await;
    let egress = egress(config());
    assert!(post_with(&egress, &host.url("/"), 1).await.is_delivered());
    assert_eq!(post_with(&egress, &host.url("/"), 2).await.error, Some(SendError::Broken));
    let seen = host.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].connection, 0, "it was the kept connection");
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_closed_is_replaced() {
    let host = Host::start(|seen: &Seen| match seen.number {
        0 | 1 => Reply::new(200, &[], b"ok"),
        _ => Reply::new(200, &[], b"ok").then(Step::Close),
    })
    .await;
    let egress = egress(config());
    for attempt in 1..=6 {
        let outcome = post_with(&egress, &host.url("/"), attempt).await;
        assert!(outcome.is_delivered(), "{attempt}: {outcome:?}");
    }
    let connections: Vec<_> = host.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 2, 3]);
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    for text in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 banana\r\n\r\n", "\0\0\0\0\0\0\0\0\r\n\r\n"] {
        let host = receiver(Reply::raw(text).then(Step::Hang)).await;
        assert_eq!(post(&host.url("/")).await.error, Some(SendError::Protocol), "{text:?}");
    }
    let big = receiver(Reply::raw(format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(300_000))).then(Step::Hang));
    assert_eq!(post(&big.await.url("/")).await.error, Some(SendError::Protocol));
}

#[tokio::test]
async fn http_1_0_and_ipv6_are_fine() {
    let host = receiver(Reply::raw("HTTP/1.0 200 OK\r\n\r\nold but well").then(Step::Close)).await;
    let outcome = post(&host.url("/")).await;
    assert!(outcome.is_delivered(), "{outcome:?}");
    assert_eq!(outcome.answer, b"old but well");

    let host = Host::start_at("[::1]:0", None, |_| Reply::new(200, &[], b"")).await;
    assert!(post(&host.url("/")).await.is_delivered());
}

#[tokio::test]
async fn what_keeps_an_attempt_from_being_sent_has_a_class() {
    let host = receiver(Reply::default()).await;
    let closed = host.url("/");
    host.stop().await;
    let names = Names::of(&[("private.example", &[&["10.0.0.1"]])]);
    let egress = egress_with(config(), names);
    for (url, error) in [
        (closed.as_str(), SendError::Connect),
        ("http://nowhere.example/", SendError::Dns),
        ("http://private.example/", SendError::AddressRefused),
        ("http://10.0.0.1/", SendError::AddressRefused),
        ("http://127.0.0.1:25/", SendError::AddressRefused),
        ("http://169.254.169.254/", SendError::AddressRefused),
    ] {
        let outcome = post_with(&egress, url, 1).await;
        assert_eq!((outcome.error, outcome.status), (Some(error), None), "{url}");
    }
}

#[tokio::test]
async fn credentials_in_the_url_become_a_header() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    let url = host.url("/hook").replace("http://", "http://user:p%40ss@");
    assert!(post(&url).await.is_delivered());
    let seen = &host.seen()[0];
    assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpwQHNz"));
    assert_eq!(seen.header("host"), Some(host.address.to_string().as_str()));
}
