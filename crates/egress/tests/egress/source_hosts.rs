//! Which hosts are asked: credentials, names, the guard on each hop. Where redirects lead is in [`crate::source_redirects`].

use std::sync::Arc;

use domain::{AddressPolicy, Retry, SourceOpener, WebUrl};
use testkit::host::{Host, Reply, Step};

use crate::kit::{
    Names, config, details, egress, egress_with, failure_of, open_with, read_all, spec, spec_with,
};
use crate::source_redirects::to;

#[tokio::test]
async fn each_redirect_passes_the_guard() {
    let mut config = config();
    config.guard.allow_networks = vec!["127.0.0.1/32".parse().expect("a network")];
    for forbidden in [
        // Of each class of addresses one.
        "http://0.0.0.0/",
        "http://127.0.0.2/",
        "http://10.0.0.1/",
        "http://172.16.0.1/",
        "//192.168.0.1/x",
        "http://100.100.100.200/latest/meta-data/",
        "http://168.63.129.16/",
        "http://169.254.169.254/latest/meta-data/",
        "http://192.0.0.192/opc/v2/",
        "http://192.0.2.1/",
        "http://192.88.99.1/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://240.0.0.1/",
        "http://255.255.255.255/",
        "http://[::]/",
        "http://[::1]/",
        "http://[::10.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[::ffff:0:10.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[100::1]/",
        "http://[2001::1]/",
        "http://[2001:db8::1]/",
        "http://[2002:a00:1::]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        // In other spellings, by name, by port.
        "http://0x7f000002/",
        "http://2130706434/",
        "http://0177.0.0.2/",
        "http://metadata.google.internal/",
        "http://metadata./",
        "http://127.0.0.1:22/",
    ] {
        let host = Host::start(move |_| to(forbidden)).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert_eq!(failure.public.message, "Use a source URL that is reachable on the public internet.");
        assert_eq!(failure.retry, Retry::Never, "{forbidden}");
        assert_eq!(host.seen().len(), 1, "{forbidden}");
    }
}

#[tokio::test]
async fn credentials_and_headers_go_to_the_first_host_alone() {
    let other = Host::start(|seen| Reply::file(seen, b"the file", &[])).await;
    let location = format!("http://ours:too@{}/file", other.address);
    let first = Host::start(move |seen| match seen.target.as_str() {
        "/start?token=t" => to("/here"),
        _ => to(&location),
    })
    .await;
    let url = format!("http://us%65r:p%40ss@{}/start?token=t", first.address);
    let headers = [("x-api-key", "k"), ("cookie", "c=1"), ("user-agent", "mine")];
    let source = egress(config())
        .sources
        .open(&spec_with(&url, &headers), None, Arc::default())
        .await
        .expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));

    for seen in first.seen() {
        assert_eq!(seen.header("authorization"), Some("Basic dXNlcjpwQHNz"), "user:p@ss");
        assert_eq!(seen.header("x-api-key"), Some("k"));
        assert_eq!(seen.header("cookie"), Some("c=1"));
        assert_eq!(seen.header("user-agent"), Some("mine"));
        assert_eq!(seen.header("host"), Some(first.address.to_string().as_str()));
    }
    assert_eq!(first.seen().len(), 2);
    let seen = &other.seen()[0];
    for name in ["authorization", "x-api-key", "cookie", "referer"] {
        assert_eq!(seen.header(name), None, "{name} was sent on");
    }
    assert!(seen.header("user-agent").is_some_and(|agent| agent.starts_with("audio-extract/")));
}

#[tokio::test]
async fn headers_that_say_how_we_speak_are_not_the_customers() {
    for (name, value) in [
        ("host", "internal"),
        ("range", "bytes=0-1"),
        ("if-range", "\"tag\""),
        ("if-match", "\"tag\""),
        ("if-none-match", "\"tag\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("transfer-encoding", "chunked"),
        ("bad name", "x"),
        ("x", "a\r\nb: c"),
    ] {
        let spec = spec_with("http://127.0.0.1:9999/", &[(name, value)]);
        let Err(failure) = egress(config()).sources.open(&spec, None, Arc::default()).await else {
            panic!("{name} was taken")
        };
        assert_eq!(failure.retry, Retry::Never);
        assert!(details(&failure).contains(name), "{failure}");
        assert!(!failure.to_string().contains(value) || value == "x", "{failure}");
    }
}

#[tokio::test]
async fn forbidden_addresses_are_refused_at_once() {
    for url in ["http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://127.1/", "http://localhost/"] {
        let failure = failure_of(egress::EgressConfig::default(), url).await;
        assert_eq!(failure.retry, Retry::Never, "{url}");
        let parsed = WebUrl::parse(url).expect(url);
        assert!(egress(egress::EgressConfig::default()).guard.check(parsed.url()).is_err(), "{url}");
    }
}

#[tokio::test]
async fn all_addresses_of_a_name_must_be_allowed() {
    let host = Host::start(|seen| Reply::file(seen, b"the file", &[])).await;
    let port = host.address.port();
    let names = Names::of(&[
        ("good.example", &[&["127.0.0.1"]]),
        ("mixed.example", &[&["127.0.0.1", "10.0.0.1"]]),
        ("mixed6.example", &[&["127.0.0.1", "fd00::1"]]),
        ("mapped.example", &[&["::ffff:10.0.0.1"]]),
        ("private.example", &[&["192.168.1.1"]]),
    ]);
    let egress = egress_with(config(), names);
    let open = |name: &str| spec(&format!("http://{name}:{port}/v"));
    let source = egress.sources.open(&open("good.example"), None, Arc::default()).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
    assert_eq!(host.seen()[0].header("host"), Some(format!("good.example:{port}").as_str()));
    for name in ["mixed.example", "mixed6.example", "mapped.example", "private.example"] {
        let Err(failure) = egress.sources.open(&open(name), None, Arc::default()).await else {
            panic!("{name} was fetched")
        };
        assert_eq!(details(&failure), "the name leads to an address that may not be reached", "{name}");
        assert_eq!(failure.retry, Retry::Never);
        assert!(!failure.to_string().contains("10.0.0.1"), "{failure}");
    }
    assert_eq!(host.seen().len(), 1);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let closing = [("connection", "close")];
    let host = Host::start(move |seen| Reply::file(seen, &[7; 2_000_000], &closing).then(Step::Close)).await;
    let url = format!("http://rebind.example:{}/", host.address.port());
    // A second look-up, by the guard or the dialer, would get the forbidden answer.
    let names = Names::of(&[("rebind.example", &[&["127.0.0.1"], &["10.0.0.1"]])]);
    let egress = egress_with(config(), names);
    let source =
        egress.sources.open(&spec(&url), None, Arc::default()).await.expect("the first look-up is allowed");
    // Another connection is another look-up, and it is checked again.
    let failure = source.read_at(1_500_000, 5).await.expect_err("rebound");
    assert_eq!(details(&failure), "the name leads to an address that may not be reached");
    assert_eq!(host.seen().len(), 1);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told() {
    let failure = failure_of(config(), "http://nowhere.example/v?token=t0ken").await;
    assert_eq!(details(&failure), "the host's name does not resolve");
    assert_eq!(failure.retry, Retry::Never);
    assert!(!failure.to_string().contains("t0ken"));
}

#[tokio::test]
async fn the_next_address_is_tried_where_one_refuses() {
    let host = Host::start(|seen| Reply::file(seen, b"the file", &[])).await;
    let names = Names::of(&[("two.example", &[&["127.0.0.77", "127.0.0.1"]])]);
    let egress = egress_with(config(), names);
    let url = format!("http://two.example:{}/", host.address.port());
    let source = egress.sources.open(&spec(&url), None, Arc::default()).await.expect("by the second address");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
}

#[tokio::test]
async fn localhost_means_what_the_operator_opened() {
    let host = Host::start(|seen| Reply::file(seen, b"the file", &[])).await;
    let mut config = config();
    config.guard.allow_networks = vec!["127.0.0.0/8".parse().expect("a network")];
    let url = format!("http://localhost:{}/", host.address.port());
    let source = open_with(config, &url).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
}
