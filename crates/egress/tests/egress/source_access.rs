//! Random access: how reads become requests, and what is noticed when a host does not play along.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Retry, SourceOpener};
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::{config, content, details, egress, failure_of, open, open_with, read_all, read_exact, spec};

const MB: usize = 1024 * 1024;
const TAG: (&str, &str) = ("etag", "\"v1\"");

/// A host that serves a file by ranges, as it should.
async fn ranged(file: &[u8]) -> Host {
    let file = file.to_vec();
    Host::start(move |seen| Reply::file(seen, &file, &[TAG])).await
}

#[tokio::test]
async fn reading_through_fetches_every_byte_once() {
    let file = content(3 * MB);
    let host = ranged(&file).await;
    let source = open(&host.url("/v.mp4")).await.expect("a source");
    assert_eq!(source.known_size(), Some(file.len() as u64));
    assert_eq!(source.size().await, Ok(file.len() as u64));
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(source.fetched().bytes, file.len() as u64);
    let seen = host.seen();
    assert_eq!(source.fetched().requests, seen.len() as u64);
    // How large the pieces get depends on the rate and the round trip that were measured.
    let in_least_pieces = file.len() / (64 << 10);
    assert!(
        seen.len() < in_least_pieces,
        "what is read on and on is asked for in larger pieces: {}",
        seen.len()
    );
    assert!(seen.iter().map(|seen| seen.connection).max() < Some(5), "and over a few connections");
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/v.mp4"));
    assert_eq!(seen[0].header("range"), Some("bytes=0-65535"));
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
    assert!(seen[0].header("user-agent").is_some_and(|agent| agent.starts_with("audio-extract/")));
    assert!(seen[0].header("if-range").is_none());
    assert!(seen[1..].iter().all(|seen| seen.header("if-range") == Some("\"v1\"")));
}

/// Local addresses of this machine's sockets that are connected to a port, or about to be.
fn sockets_to(port: u16) -> HashSet<String> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("the system's table");
    let port = format!(":{port:04X}");
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        // ESTABLISHED or SYN_SENT.
        (remote.ends_with(&port) && matches!(state, "01" | "02")).then(|| local.to_owned())
    };
    table.lines().filter_map(socket).collect()
}

/// How many of them there are at once. The system writes its table piece by piece, so that one which goes meanwhile and one
/// which takes its place may both be in it: those that are in two tables were there together in between.
fn connections_to(port: u16) -> usize {
    sockets_to(port).intersection(&sockets_to(port)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn however_the_reader_jumps_a_source_has_no_more_connections_than_it_may() {
    let file = content(16 * MB);
    let (served, most) = (file.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&most);
    let host = Host::start(move |seen| {
        // A way as long as to another town: requests are under way at once.
        std::thread::sleep(Duration::from_millis(10));
        let port = seen.header("host").and_then(|host| host.rsplit(':').next()?.parse().ok());
        count.fetch_max(connections_to(port.expect("a port")), Ordering::SeqCst);
        Reply::file(seen, &served, &[TAG])
    })
    .await;
    let source = open(&host.url("/v.mp4")).await.expect("a source");
    source.plan(vec![0..8 * MB as u64, 8 * MB as u64 + 1..16 * MB as u64]);
    for jump in 0..30 {
        let offset = jump * 7919 * 1009 % (12 * MB);
        for step in 0..6 {
            read_exact(&*source, offset + step * 100_000, 100_000).await.expect("what lies there");
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn an_index_at_the_end_costs_one_more_request() {
    let file = content(8 * MB);
    let host = ranged(&file).await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_exact(&*source, 0, 4096).await.expect("the head") == file[..4096]);
    let end = file.len() - 100_000;
    assert!(read_exact(&*source, end, 100_000).await.expect("the index") == file[end..]);
    // Back to what the first answer brought.
    assert!(read_exact(&*source, 48, 4096).await.expect("the media") == file[48..48 + 4096]);
    let seen = host.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].range_start(), Some(end));
    assert_eq!(source.fetched().bytes, 65_536 + 100_000);
}

#[tokio::test]
async fn small_steps_are_served_without_a_request() {
    let file = content(4 * MB);
    let host = ranged(&file).await;
    let source = open(&host.url("/")).await.expect("a source");
    for offset in [2 * MB, 2 * MB + 20_000, 2 * MB, 2 * MB + 10_000, 2 * MB + 60_000] {
        assert!(read_exact(&*source, offset, 1000).await.expect("bytes") == file[offset..offset + 1000]);
    }
    let jumps = host.seen().iter().filter(|seen| seen.range_start() == Some(2 * MB)).count();
    assert_eq!(jumps, 1, "{:?}", host.seen());
    assert_eq!(source.read_at(file.len() as u64, 10).await, Ok(Vec::new()));
    assert_eq!(source.read_at(u64::MAX, 10).await, Ok(Vec::new()));
}

#[tokio::test]
async fn overlapping_reads_each_get_their_bytes() {
    let file = content(2 * MB);
    let host = ranged(&file).await;
    let source = open(&host.url("/")).await.expect("a source");
    let read = |offset| {
        let source = Arc::clone(&source);
        tokio::spawn(async move { (offset, read_exact(&*source, offset, 10_000).await) })
    };
    let reads: Vec<_> = (0..20).map(|n| read((n * 700_001) % (2 * MB - 10_000))).collect();
    for read in reads {
        let (offset, bytes) = read.await.expect("a read");
        assert!(bytes.expect("bytes") == file[offset..offset + 10_000]);
    }
}

#[tokio::test]
async fn an_empty_file_is_empty() {
    for reply in [
        Reply::new(416, &[("content-range", "bytes */0")], b""),
        Reply::new(200, &[], b""),
        Reply::head(200, &[("transfer-encoding", "chunked")]).then(Step::Bytes(b"0\r\n\r\n".to_vec())),
    ] {
        let host = Host::start(move |_| reply.clone()).await;
        let source = open(&host.url("/")).await.expect("a source");
        assert_eq!(source.read_at(0, 10).await, Ok(Vec::new()));
        assert_eq!(source.size().await, Ok(0));
        assert_eq!(source.known_size(), Some(0));
    }
}

#[tokio::test]
async fn a_host_that_refuses_ranges_altogether_is_asked_without() {
    let file = content(100_000);
    let served = file.clone();
    let host = Host::start(move |seen| match seen.range_start() {
        Some(_) => Reply::new(416, &[], b""),
        None => Reply::new(200, &[], &served),
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == file);
}

#[tokio::test]
async fn a_dropped_connection_is_resumed_from_the_byte_reached() {
    let file = content(2 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| {
        let mut reply = Reply::file(seen, &served, &[TAG]);
        let range = seen.ranges(served.len()).expect("ranges").remove(0);
        if seen.number % 2 == 0 {
            return reply;
        }
        reply.steps.truncate(1);
        let half = range.start + range.len() / 2;
        reply.then(Step::Bytes(served[range.start..half].to_vec())).then(Step::Close)
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(source.fetched().bytes, file.len() as u64, "what was fetched is not fetched again");
}

#[tokio::test]
async fn a_host_may_serve_a_large_file_in_parts() {
    let file = content(3 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| {
        let start = seen.range_start().unwrap_or(0);
        let end = (start + 100_000).min(served.len());
        let range = format!("bytes {start}-{}/{}", end - 1, served.len());
        Reply::new(206, &[TAG, ("content-range", &range)], &served[start..end])
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == file);
}

#[tokio::test]
async fn a_host_that_stops_to_serve_ranges_is_read_whole() {
    let file = content(2 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| match seen.number {
        0 => Reply::file(seen, &served, &[TAG]),
        _ => Reply::new(200, &[TAG], &served),
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_exact(&*source, MB, 10).await.expect("bytes") == file[MB..MB + 10]);
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(host.seen().len(), 2, "it is not asked for ranges again");
}

/// What a host says to the second request of a source, and what is noticed.
async fn second_answer(second: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static) -> (String, Retry) {
    let file = content(2 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| match seen.number {
        0 => Reply::file(seen, &served, &[TAG, ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]),
        _ => second(seen, &served),
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    let failure = read_exact(&*source, MB, 10).await.expect_err("a failure");
    (details(&failure).to_owned(), failure.retry)
}

#[tokio::test]
async fn a_file_that_changes_while_being_read_is_never_mixed() {
    type Second = fn(&Seen, &[u8]) -> Reply;
    let cases: [(&str, Second); 6] = [
        ("all of it, of another length", |_, file| Reply::new(200, &[TAG], &file[1..])),
        ("another tag", |seen, file| Reply::file(seen, file, &[("etag", "\"v2\"")])),
        ("no tag", |seen, file| Reply::file(seen, file, &[])),
        ("another length", |seen, file| Reply::file(seen, &file[..file.len() - 1], &[TAG])),
        ("shorter than the range", |seen, file| Reply::file(seen, &file[..10], &[TAG])),
        ("all of the new one", |_, file| Reply::new(200, &[("etag", "\"v2\"")], file)),
    ];
    for (case, second) in cases {
        let (details, retry) = second_answer(second).await;
        assert_eq!((details.as_str(), retry), ("it changed while being read", Retry::Never), "{case}");
    }
}

#[tokio::test]
async fn another_range_than_was_asked_for_is_noticed() {
    type Second = fn(&Seen, &[u8]) -> Reply;
    let cases: [(&str, Second); 4] = [
        ("no range named", |_, file| Reply::new(206, &[TAG], &file[MB..])),
        ("another start", |_, file| {
            let range = format!("bytes 0-{}/{}", file.len() - 1, file.len());
            Reply::new(206, &[TAG, ("content-range", &range)], file)
        }),
        ("more bytes than named", |_, file| {
            let range = format!("bytes {MB}-{}/{}", MB + 4, file.len());
            Reply::new(206, &[TAG, ("content-range", &range)], &file[MB..MB + 100])
        }),
        ("several parts", |_, _| {
            Reply::new(206, &[TAG, ("content-type", "multipart/byteranges; boundary=x")], b"--x--")
        }),
    ];
    for (case, second) in cases {
        let (details, retry) = second_answer(second).await;
        assert_eq!(retry, Retry::Never, "{case}");
        assert_eq!(details, "the host answered with other bytes than were asked for", "{case}");
    }
}

#[tokio::test]
async fn a_date_is_compared_where_there_is_no_strong_tag() {
    let file = content(2 * MB);
    let changed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&changed);
    let host = Host::start(move |seen| {
        let date = if flag.load(Ordering::SeqCst) { "Mon, 07 Nov" } else { "Sun, 06 Nov" };
        Reply::file(
            seen,
            &file,
            &[("etag", "W/\"v1\""), ("last-modified", &format!("{date} 1994 08:49:37 GMT"))],
        )
    })
    .await;
    let source = open(&host.url("/")).await.expect("a source");
    read_exact(&*source, MB, 10).await.expect("the same date");
    assert!(host.seen()[1].header("if-range").is_none(), "a weak tag is no condition for a range");
    changed.store(true, Ordering::SeqCst);
    let failure = read_exact(&*source, 2 * MB - 10, 10).await.expect_err("another date");
    assert_eq!(details(&failure), "it changed while being read");
}

#[tokio::test]
async fn a_body_that_always_ends_early_fails_as_such() {
    let file = content(200_000);
    let served = file.clone();
    let host = Host::start(move |seen| {
        let mut reply = Reply::file(seen, &served, &[TAG]);
        let start = seen.range_start().unwrap_or(0).min(199_000);
        reply.steps.truncate(1);
        reply.then(Step::Bytes(served[start..start + 100].to_vec())).then(Step::Close)
    })
    .await;
    let failure = failure_of(config(), &host.url("/")).await;
    assert_eq!(failure.retry, Retry::Worthwhile);
    assert_eq!(host.seen().len(), 6, "the opening, one try and four retries");

    let short = Host::start(|_| Reply::head(200, &[("content-length", "1000")]).then(Step::Close)).await;
    assert_eq!(failure_of(config(), &short.url("/")).await.retry, Retry::Worthwhile);
}

#[tokio::test]
async fn a_spool_goes_away_with_its_source_and_gives_its_space_back() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut config = config();
    config.source.scratch_dir = scratch.path().to_owned();
    config.source.max_spooled_bytes = 150_000;
    let host = Host::start(|_| Reply::new(200, &[], &content(100_000))).await;
    let egress = egress(config);
    let spec = spec(&host.url("/"));

    let first = egress.sources.open(&spec, None, Arc::default()).await.expect("a source");
    read_all(&*first).await.expect("the file");
    let entries = std::fs::read_dir(scratch.path()).expect("the folder").count();
    assert_eq!(entries, 0, "the spool has no name");

    let second = egress.sources.open(&spec, None, Arc::default()).await.expect("a source");
    let failure = read_all(&*second).await.expect_err("no room for two");
    assert_eq!(failure.retry, Retry::Worthwhile);
    drop((first, second));
    // The space comes back when the tasks that held it have ended, which is soon but not at once.
    let third = async {
        loop {
            let source = egress.sources.open(&spec, None, Arc::default()).await.expect("a source");
            if read_all(&*source).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), third).await.expect("room again");
}

#[tokio::test]
async fn a_source_of_ranges_without_a_total_length_is_spooled() {
    let file = content(50_000);
    let served = file.clone();
    let host = Host::start(move |seen| match seen.range_start() {
        Some(_) => Reply::new(206, &[("content-range", "bytes 0-49999/*")], &served),
        None => Reply::new(200, &[], &served),
    })
    .await;
    let source = open_with(config(), &host.url("/")).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == file);
}
