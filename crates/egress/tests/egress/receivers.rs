//! Every kind of receiver, and what is recorded of an attempt at it: status, error, what is known of the receiver, and
//! the phases that were reached.

use std::net::SocketAddr;
use std::time::Duration;

use domain::{BoxFuture, SendOutcome};
use egress::{Egress, EgressConfig, Resolve, ResolveError};
use testkit::host::{Host, Reply, Step};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::kit::{Names, Sending, clock, config, egress, egress_with, hurried};
use crate::notify::receiver;
use crate::tls::Authority;

/// An attempt as a line, e.g. `200 delivered: connect answer body`.
fn recorded(outcome: &SendOutcome) -> String {
    let status = outcome.status.map(|status| status.to_string());
    let error = outcome.error.map(|error| error.as_str().to_owned());
    let known = outcome.disposition().as_str().to_owned();
    let what: Vec<String> = [status, error, Some(known)].into_iter().flatten().collect();
    let phases = &outcome.phases;
    let all = [
        (" dns", phases.dns),
        (" connect", phases.connect),
        (" tls", phases.tls),
        (" answer", phases.answer),
        (" body", phases.body),
    ];
    let reached = all.iter().filter(|(_, took)| took.is_some());
    let sum: Duration = all.iter().filter_map(|(_, took)| *took).sum();
    assert!(sum <= outcome.took, "the phases are longer than the whole: {outcome:?}");
    format!("{}:{}", what.join(" "), reached.map(|(name, _)| *name).collect::<String>())
}

async fn post(config: EgressConfig, url: &str) -> SendOutcome {
    Sending::default().to(&egress(config), url).await
}

/// Posts to a receiver that replies like this; it must have been asked once.
async fn reply_comes_to(reply: Reply) -> (String, SendOutcome) {
    let host = receiver(reply).await;
    let outcome = post(hurried(), &host.url("/")).await;
    assert_eq!(host.seen().len(), 1, "{outcome:?}");
    (recorded(&outcome), outcome)
}

#[tokio::test]
async fn each_status_is_recorded_and_no_redirect_is_followed() {
    for (statuses, expected) in [
        (&[200, 201, 202, 204, 299][..], "delivered"),
        (&[300, 301, 302, 303, 304, 307, 308], "rejected"),
        (&[400, 401, 404, 410, 429], "rejected"),
        (&[500, 502, 503, 504, 599], "rejected"),
    ] {
        for status in statuses {
            let elsewhere = receiver(Reply::new(200, &[], b"")).await;
            let location = elsewhere.url("/");
            let reply = match status {
                204 | 304 => Reply::head(*status, &[("location", &location)]),
                _ => Reply::new(*status, &[("location", &location)], b"said"),
            };
            let (line, outcome) = reply_comes_to(reply).await;
            assert_eq!(line, format!("{status} {expected}: connect answer body"));
            assert_eq!(outcome.is_gone(), *status == 410, "{status}");
            assert_eq!(outcome.answer, if matches!(status, 204 | 304) { b"".as_slice() } else { b"said" });
            assert!(elsewhere.seen().is_empty(), "{status}: followed");
        }
    }
}

#[tokio::test]
async fn one_that_asks_for_patience_is_recorded_with_it() {
    for status in [429, 503] {
        let (line, outcome) = reply_comes_to(Reply::new(status, &[("retry-after", "20")], b"later")).await;
        assert_eq!(line, format!("{status} rejected: connect answer body"));
        assert_eq!(outcome.retry_after, Some(Duration::from_secs(20)));
    }
}

#[tokio::test]
async fn one_that_dawdles_is_a_timeout_until_its_status_is_there() {
    let drip = |bytes: &[u8]| Step::Forever(bytes.to_vec(), Duration::from_millis(20));
    let close = [("connection", "close")];
    for (reply, expected) in [
        (Reply::default().then(Step::Hang), "timeout maybe_delivered: connect answer"),
        (Reply::raw("HTTP/1.1 200 OK\r\nx: ").then(Step::Hang), "timeout maybe_delivered: connect answer"),
        (
            Reply::raw("HTTP/1.1 200 OK\r\n").then(drip(b"a: b\r\n")),
            "timeout maybe_delivered: connect answer",
        ),
        (
            Reply::raw("HTTP/1.1 100 Continue\r\n\r\n").then(Step::Hang),
            "timeout maybe_delivered: connect answer",
        ),
        (Reply::head(200, &[("content-length", "9")]).then(Step::Hang), "200 delivered: connect answer body"),
        (Reply::head(500, &[("content-length", "9")]).then(Step::Hang), "500 rejected: connect answer body"),
        (Reply::head(200, &close).then(drip(b"x")), "200 delivered: connect answer body"),
        (
            Reply::head(200, &close).then(Step::Forever(vec![b'x'; 65_536], Duration::ZERO)),
            "200 delivered: connect answer body",
        ),
    ] {
        let (line, outcome) = reply_comes_to(reply.clone()).await;
        assert_eq!(line, expected, "{reply:?}");
        assert!(outcome.answer.len() <= 4096, "{} bytes kept", outcome.answer.len());
    }
}

#[tokio::test]
async fn one_that_breaks_off_is_recorded_by_where() {
    for (reply, expected) in [
        (Reply::default().then(Step::Reset), "broken maybe_delivered: connect answer"),
        (Reply::default().then(Step::Close), "broken maybe_delivered: connect answer"),
        (Reply::raw("HTTP/1.1 200 O").then(Step::Reset), "broken maybe_delivered: connect answer"),
        (Reply::raw("HTTP/1.1 200 OK\r\nx: y").then(Step::Close), "broken maybe_delivered: connect answer"),
        (
            Reply::head(200, &[("content-length", "9")]).then(Step::Reset),
            "200 broken maybe_delivered: connect answer body",
        ),
        (
            Reply::head(200, &[("transfer-encoding", "chunked")])
                .then(Step::Bytes(b"3\r\nabc\r\n".to_vec()))
                .then(Step::Close),
            "200 broken maybe_delivered: connect answer body",
        ),
        (
            Reply::head(500, &[("content-length", "9")]).then(Step::Close),
            "500 broken rejected: connect answer body",
        ),
        (Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then(Step::Hang), "protocol maybe_delivered: connect answer"),
        (Reply::raw("HTTP/1.1 banana\r\n\r\n").then(Step::Hang), "protocol maybe_delivered: connect answer"),
        (
            Reply::head(200, &[("transfer-encoding", "chunked")]).then(Step::Bytes(b"zebra\r\n".to_vec())),
            "200 broken maybe_delivered: connect answer body",
        ),
    ] {
        assert_eq!(reply_comes_to(reply.clone()).await.0, expected, "{reply:?}");
    }
}

/// Accepts, waits for the first bytes, and resets.
async fn resetting() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _first = stream.read(&mut [0; 16]).await;
            stream.set_zero_linger().expect("a socket");
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_reset_at_each_phase_is_recorded_as_that_phases() {
    let closed = receiver(Reply::default()).await;
    let (closed_url, _) = (closed.url("/"), closed.stop().await);
    assert_eq!(recorded(&post(config(), &closed_url).await), "connect not_sent: connect");
    let (address, serving) = resetting().await;
    let in_tls = post(config(), &format!("https://{address}/")).await;
    assert_eq!(recorded(&in_tls), "tls not_sent: connect tls");
    let in_request = post(config(), &format!("http://{address}/")).await;
    assert_eq!(recorded(&in_request), "broken maybe_delivered: connect answer");
    serving.abort();
}

/// Never answers.
struct SilentNames;

impl Resolve for SilentNames {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<std::net::IpAddr>, ResolveError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn one_that_is_never_reached_has_been_sent_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let in_handshake = format!("https://{}/", silent.local_addr().expect("an address"));
    let names = Names::of(&[("private.example", &[&["10.0.0.1"]])]);
    let with_names = egress_with(hurried(), names);
    let unnamed =
        Egress::with_resolver(hurried(), clock(), std::sync::Arc::new(SilentNames)).expect("egress");
    for (egress, url, expected) in [
        (&with_names, "http://nowhere.example/", "dns not_sent: dns"),
        (&unnamed, "http://nowhere.example/", "timeout not_sent: dns"),
        (&with_names, "http://private.example/", "address_refused not_sent: dns"),
        (&with_names, "http://10.0.0.1/", "address_refused not_sent:"),
        (&with_names, &in_handshake, "timeout not_sent: connect tls"),
    ] {
        assert_eq!(recorded(&Sending::default().to(egress, url).await), expected, "{url}");
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_recorded_as_no_session() {
    let authority = Authority::new();
    let wrong_name = authority.host(&["other.example"]).await;
    let outcome = post(authority.trusted(), &wrong_name.url("/")).await;
    assert_eq!(recorded(&outcome), "tls not_sent: connect tls");
    assert!(wrong_name.seen().is_empty(), "something was sent");
}

#[tokio::test]
async fn each_phase_is_timed_where_it_is_needed() {
    let authority = Authority::new();
    let host = authority.host(&["hook.example"]).await;
    let names = Names::of(&[("hook.example", &[&["127.0.0.1"]])]);
    let egress = egress_with(authority.trusted(), names);
    let url = format!("https://hook.example:{}/", host.address.port());
    let sending = Sending::default();
    assert_eq!(recorded(&sending.to(&egress, &url).await), "200 delivered: dns connect tls answer body");
    assert_eq!(
        recorded(&sending.to(&egress, &url).await),
        "200 delivered: answer body",
        "on the same connection"
    );
}

#[tokio::test]
async fn old_http_and_ipv6_are_fine() {
    let (line, outcome) =
        reply_comes_to(Reply::raw("HTTP/1.0 200 OK\r\n\r\nold but well").then(Step::Close)).await;
    assert_eq!(
        (line.as_str(), outcome.answer.as_slice()),
        ("200 delivered: connect answer body", &b"old but well"[..])
    );
    let host = Host::start_at("[::1]:0", None, |_| Reply::new(200, &[], b"")).await;
    assert_eq!(recorded(&post(config(), &host.url("/")).await), "200 delivered: connect answer body");
    assert_eq!(host.seen()[0].header("host"), Some(host.address.to_string().as_str()));
}
