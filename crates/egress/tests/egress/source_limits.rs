//! What a source may cost, and how a slow, busy or endless host ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::Retry;
use testkit::host::{Host, Reply, Step};

use crate::kit::{config, content, details, failure_of, open, open_with, read_all};

const TAG: (&str, &str) = ("etag", "\"v1\"");

#[tokio::test]
async fn a_file_that_says_it_is_too_large_is_refused_at_once() {
    let mut config = config();
    config.source.max_bytes = 1_000_000;
    for head in [
        Reply::head(200, &[("content-length", "1000001")]),
        Reply::head(206, &[("content-length", "1000001"), ("content-range", "bytes 0-1000000/1000001")]),
    ] {
        let host = Host::start(move |_| head.clone().then(Step::Hang)).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert_eq!(details(&failure), "the source has more than 1 MB");
        assert_eq!(failure.retry, Retry::Never);
    }
}

#[tokio::test]
async fn an_endless_body_is_counted() {
    let mut config = config();
    config.source.max_bytes = 1_000_000;
    for endless in [
        Reply::head(200, &[("connection", "close")]).then(Step::Forever(vec![7; 65_536], Duration::ZERO)),
        Reply::head(200, &[("transfer-encoding", "chunked")])
            .then(Step::Forever([b"1000\r\n", [7; 0x1000].as_slice(), b"\r\n"].concat(), Duration::ZERO)),
    ] {
        let host = Host::start(move |_| endless.clone()).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert_eq!(details(&failure), "the source has more than 1 MB");
        assert_eq!(failure.retry, Retry::Never);
    }
}

#[tokio::test]
async fn reading_again_and_again_is_counted_too() {
    let mut config = config();
    config.source.max_fetched_bytes = 3_000_000;
    let file = content(4_000_000);
    let host = Host::start(move |seen| Reply::file(seen, &file, &[TAG])).await;
    let failure = failure_of(config, &host.url("/")).await;
    assert_eq!(details(&failure), "its parts had to be read again and again, more than 3 MB in all");
}

#[tokio::test]
async fn a_spool_is_bounded_by_what_all_spools_take() {
    let mut config = config();
    config.source.max_spooled_bytes = 100_000;
    let host = Host::start(|_| Reply::new(200, &[], &[7; 200_000])).await;
    let failure = failure_of(config, &host.url("/")).await;
    assert_eq!(failure.retry, Retry::Worthwhile);
    assert!(details(&failure).contains("temporary space"), "{failure}");
}

#[tokio::test]
async fn silence_and_drips_are_stalls() {
    let mut config = config();
    config.source.stall_window = Duration::from_millis(100);
    config.source.retries = 0;
    let head = || Reply::head(200, &[("connection", "close")]);
    for reply in [
        head().then(Step::Hang),
        head().then(Step::Forever(vec![7], Duration::from_millis(5))),
        Reply::head(206, &[("content-length", "9"), ("content-range", "bytes 0-8/9")]).then(Step::Hang),
    ] {
        let host = Host::start(move |_| reply.clone()).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert_eq!(details(&failure), "no data, or next to none, for 0.1 s");
        assert_eq!(failure.retry, Retry::Worthwhile);
    }
}

#[tokio::test]
async fn time_in_which_nobody_reads_is_not_the_hosts() {
    let mut config = config();
    config.source.stall_window = Duration::from_millis(500);
    let file = content(10_000_000);
    let served = file.clone();
    let host = Host::start(move |seen| Reply::file(seen, &served, &[TAG])).await;
    let source = open_with(config, &host.url("/")).await.expect("a source");
    source.read_at(0, 1000).await.expect("the head");
    // Longer than the window, and the body is not through.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(source.fetched().bytes, file.len() as u64);
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up() {
    let mut config = config();
    config.source.connect_timeout = Duration::from_millis(250);
    config.source.first_byte_timeout = Duration::from_millis(250);
    config.source.retries = 1;
    let host = Host::start(|_| Reply::default().then(Step::Hang)).await;
    let failure = failure_of(config, &host.url("/")).await;
    assert_eq!(details(&failure), "the host did not answer within 0.5 s");
    assert_eq!(failure.retry, Retry::Worthwhile);
    assert_eq!(host.seen().len(), 2);
}

#[tokio::test]
async fn the_total_time_ends_what_is_never_slow_enough_to_stall() {
    let mut config = config();
    config.source.total_timeout = Duration::from_millis(200);
    let drip = Step::Forever(vec![7; 1000], Duration::from_millis(5));
    for reply in [
        Reply::head(200, &[("connection", "close")]).then(drip.clone()),
        Reply::head(206, &[("content-length", "90000000"), ("content-range", "bytes 0-89999999/90000000")])
            .then(drip),
    ] {
        let host = Host::start(move |_| reply.clone()).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert_eq!(details(&failure), "the source took more than 0.2 s");
        assert_eq!(failure.retry, Retry::Never);
    }
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_told() {
    let host = Host::start(|_| Reply::default()).await;
    let url = host.url("/");
    host.stop().await;
    let failure = failure_of(config(), &url).await;
    assert_eq!(details(&failure), "the host refused the connection");
    assert_eq!(failure.retry, Retry::Worthwhile);
}

#[tokio::test]
async fn statuses_are_told_and_only_passing_ones_are_tried_again() {
    for (status, tries) in [
        (204, 1),
        (304, 1),
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (408, 5),
        (410, 1),
        (425, 5),
        (429, 5),
        (451, 1),
        (500, 5),
        (502, 5),
        (503, 5),
        (504, 5),
    ] {
        let host =
            Host::start(move |_| Reply::head(status, &[("connection", "close")]).then(Step::Close)).await;
        let failure = failure_of(config(), &host.url("/")).await;
        assert_eq!(details(&failure), format!("the host answered {status}"));
        assert_eq!(host.seen().len(), tries, "{status}");
        assert_eq!(failure.retry == Retry::Worthwhile, tries > 1, "{status}");
    }
}

#[tokio::test]
async fn a_busy_host_is_asked_again_when_it_said() {
    let file = content(1000);
    let served = file.clone();
    let refusals = AtomicUsize::new(2);
    let host = Host::start(move |seen| {
        let left = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Reply::new(429, &[("retry-after", "3600")], b"slow down"),
            Err(_) => Reply::file(seen, &served, &[TAG]),
        }
    })
    .await;
    let mut config = config();
    config.source.max_back_off = Duration::from_millis(60);
    let started = Instant::now();
    let source = open_with(config, &host.url("/")).await.expect("a source");
    assert!(started.elapsed() >= Duration::from_millis(120), "the bounded wait, twice");
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(source.fetched().requests, 3);
}

#[tokio::test]
async fn an_encoded_body_is_refused_before_it_is_unpacked() {
    for status in [200, 206] {
        let host = Host::start(move |_| {
            Reply::new(
                status,
                &[("content-encoding", "gzip"), ("content-range", "bytes 0-3/4")],
                b"\x1f\x8b..",
            )
        })
        .await;
        let failure = failure_of(config(), &host.url("/")).await;
        assert_eq!(details(&failure), "the host sent the file compressed, unasked");
    }
    let plain = Host::start(|_| Reply::new(200, &[("content-encoding", "Identity")], b"abc")).await;
    let source = open(&plain.url("/")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(b"abc".to_vec()));
}

#[tokio::test]
async fn what_is_not_http_or_has_too_much_head_is_refused() {
    let mut config = config();
    config.source.stall_window = Duration::from_secs(1);
    let header = || Step::Forever(b"x-more: of the same\r\n".to_vec(), Duration::ZERO);
    for reply in [
        Reply::raw("SSH-2.0-OpenSSH_9.2\r\n").then(Step::Hang),
        Reply::raw("HTTP/1.1 200 OK\r\n").then(header()),
        Reply::raw(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(300_000))).then(Step::Hang),
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200))).then(Step::Hang),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd").then(Step::Hang),
    ] {
        let host = Host::start(move |_| reply.clone()).await;
        let failure = failure_of(config.clone(), &host.url("/")).await;
        assert!(details(&failure).contains("not HTTP"), "{failure}");
        assert_eq!(failure.retry, Retry::Never);
    }
}
