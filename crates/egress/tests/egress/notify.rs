//! Webhooks: what is sent, and what each kind of receiver comes to.

use std::time::Duration;

use domain::{Secret, SecretHeader, SendError, SendOutcome, Timestamp};
use egress::Egress;
use testkit::host::{Host, Reply, Seen, Step};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::kit::{BODY, Names, SECRET, Sending, config, egress, egress_with, event, hurried};

/// Posts once, over an egress that stays (its pool with it).
pub(crate) async fn post_with(egress: &Egress, url: &str, attempt: u32) -> SendOutcome {
    Sending { attempt, ..Sending::default() }.to(egress, url).await
}

async fn post(url: &str) -> SendOutcome {
    post_with(&egress(config()), url, 1).await
}

pub(crate) async fn receiver(reply: Reply) -> Host {
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
    Sending { at: now, ..Sending::default() }.to(&egress(config()), &host.url("/")).await;
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
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    for (value, secs) in [("20", Some(20)), ("Sun, 06 Nov 1994 08:51:17 GMT", Some(100)), ("whenever", None)]
    {
        let host = receiver(Reply::new(429, &[("retry-after", value)], b"")).await;
        assert_eq!(post(&host.url("/")).await.retry_after, secs.map(Duration::from_secs), "{value}");
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
async fn a_notice_can_ask_for_less_time_and_not_for_more() {
    let long = Duration::from_secs(3600);
    for (total, at_most) in [(long, Duration::from_millis(200)), (Duration::from_millis(200), long)] {
        let host = receiver(Reply::default().then(Step::Hang)).await;
        let mut config = config();
        config.notify.total_timeout = total;
        let sending = Sending { at_most: Some(at_most), ..Sending::default() };
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            sending.to(&egress(config), &host.url("/")).await.error
        });
        assert_eq!(ended.await.expect("it ends"), Some(SendError::Timeout));
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

#[tokio::test]
async fn what_was_written_is_recorded_without_its_secrets() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    let url = host.url("/hook?a=b").replace("http://", "http://user:pa55@");
    let mut sending = Sending { is_replay: true, is_file_gone: true, ..Sending::default() };
    sending.signing.header = Some(SecretHeader::parse("X-Token", "t0ken").expect("a header"));
    let outcome = sending.to(&egress(config()), &url).await;
    assert!(outcome.is_delivered(), "{outcome:?}");

    let seen = &host.seen()[0];
    for (name, value) in [
        ("x-token", "t0ken"),
        ("authorization", "Basic dXNlcjpwYTU1"),
        ("webhook-replay", "true"),
        ("webhook-file-expired", "true"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let masked = |(name, value): &(String, String)| match name.as_str() {
        "x-token" | "authorization" => (name.clone(), "[secret]".to_owned()),
        _ => (name.clone(), value.clone()),
    };
    assert_eq!(outcome.request, seen.headers.iter().map(masked).collect());
}

#[tokio::test]
async fn a_secret_header_for_authorization_goes_before_the_urls_credentials() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    let url = host.url("/").replace("http://", "http://user:pa55@");
    let mut sending = Sending::default();
    sending.signing.header = Some(SecretHeader::parse("Authorization", "Bearer t0ken").expect("a header"));
    assert!(sending.to(&egress(config()), &url).await.is_delivered());
    assert_eq!(host.seen()[0].header("authorization"), Some("Bearer t0ken"));
}

#[tokio::test]
async fn what_webhooks_say_themselves_cannot_be_replaced() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    let mut sending = Sending::default();
    sending.signing.header =
        Some(SecretHeader { name: "webhook-id".to_owned(), value: Secret::new("another") });
    let outcome = sending.to(&egress(config()), &host.url("/")).await;
    assert_eq!((outcome.error, outcome.was_sent), (Some(SendError::Interrupted), false));
    assert!(host.seen().is_empty());
}

#[tokio::test]
async fn what_is_neither_a_replay_nor_expired_says_nothing_of_it() {
    let host = receiver(Reply::new(200, &[], b"")).await;
    post(&host.url("/")).await;
    let seen = &host.seen()[0];
    assert_eq!((seen.header("webhook-replay"), seen.header("webhook-file-expired")), (None, None));
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(BODY) {
            stream.read_buf(&mut request).await.expect("the request");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("the answer is sent");
        // Until the other side hangs up.
        stream.read_to_end(&mut request).await
    });
    let egress = egress(config());
    assert!(post_with(&egress, &url, 1).await.is_delivered());
    let hung_up = tokio::time::timeout(Duration::from_secs(30), served).await.expect("closed in time");
    assert_eq!(hung_up.expect("the receiver ran").expect("an orderly end"), 0);
}

#[tokio::test]
async fn as_many_connections_are_kept_as_were_used_at_once() {
    let host = receiver(Reply::new(200, &[], b"ok")).await;
    let (egress, url) = (egress(config()), host.url("/"));
    for _ in 0..2 {
        let posts = (0..48).map(|_| post_with(&egress, &url, 1));
        let outcomes = futures_util::future::join_all(posts).await;
        assert!(outcomes.iter().all(SendOutcome::is_delivered));
    }
    let connections = host.seen().iter().map(|seen| seen.connection).max();
    assert_eq!(connections, Some(47), "the second round needed new ones");
}
