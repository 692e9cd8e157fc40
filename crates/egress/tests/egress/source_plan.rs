//! Planned reading: which requests a plan becomes, and in which order. What hosts make of requests for several ranges
//! is in [`crate::source_parts`].

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Retry, Source, SourceOpener as _};
use egress::EgressConfig;
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::{config, content, details, egress, open_with, read_all, read_exact, spec};

const MB: usize = 1024 * 1024;
pub(crate) const TAG: (&str, &str) = ("etag", "\"v1\"");
pub(crate) const PARTS: (&str, &str) =
    ("content-type", "multipart/byteranges; boundary=00000000000000000007");

/// A piece of sound of 2 KB in every 40 KB.
pub(crate) fn sound(file: &[u8]) -> Vec<Range<u64>> {
    (2..file.len() as u64 / 40_000).map(|at| at * 40_000..at * 40_000 + 2_000).collect()
}

fn len(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Reads all that is planned, as it is in the file.
pub(crate) async fn read_planned(
    source: &dyn Source,
    file: &[u8],
    plan: &[Range<u64>],
) -> Result<(), domain::Failure> {
    source.plan(plan.to_vec());
    for range in plan {
        let (start, end) = (range.start as usize, range.end as usize);
        let read = read_exact(source, start, end - start).await?;
        assert!(read == file[start..end], "other bytes at {range:?}");
    }
    Ok(())
}

/// A host and a source of 8 MB from it.
pub(crate) async fn opened(
    script: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Host, Arc<dyn Source>, Vec<u8>) {
    opened_with(config(), script).await
}

pub(crate) async fn opened_with(
    mut config: EgressConfig,
    script: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Host, Arc<dyn Source>, Vec<u8>) {
    let file = content(8 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| script(seen, &served)).await;
    // So that gaps of 38 KB are worth a request, however quick this machine is.
    config.source.window_bytes = 512 << 10;
    let source = open_with(config, &host.url("/")).await.expect("a source");
    (host, source, file)
}

pub(crate) fn is_multi(seen: &Seen) -> bool {
    seen.header("range").is_some_and(|range| range.contains(','))
}

#[tokio::test]
async fn a_plan_is_fetched_in_few_requests_and_nothing_else_is() {
    let (host, source, file) = opened(|seen, file| Reply::file(seen, file, &[TAG])).await;
    let plan = sound(&file);
    read_planned(&*source, &file, &plan).await.expect("the sound");
    let seen = host.seen();
    assert!(seen.len() < 12, "{} requests for {} ranges", seen.len(), plan.len());
    assert!(seen[1..].iter().all(is_multi));
    let parts = |seen: &Seen| seen.header("range").map_or(0, |range| range.split(',').count());
    assert!(seen.iter().all(|seen| parts(seen) <= 100), "hosts refuse more");
    let fetched = source.fetched().bytes;
    assert!(fetched < (65_536 + len(&plan)) * 108 / 100, "{fetched} bytes for {}", len(&plan));
}

#[tokio::test]
async fn a_file_that_changes_is_noticed_in_every_mode() {
    type Change = fn(&Seen, &[u8]) -> Reply;
    let changes: [(&str, Change); 5] = [
        ("parts", |seen, file| Reply::file(seen, file, &[("etag", "\"v2\"")])),
        ("parts of which one is of another version", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            Reply::new(206, &[PARTS], &Reply::parts(&ranges, file))
        }),
        ("all of the new one", |_, file| Reply::new(200, &[("etag", "\"v2\"")], file)),
        ("shorter", |_, _| Reply::new(416, &[TAG, ("content-range", "bytes */1000")], b"")),
        ("shorter, without a tag", |_, _| Reply::new(416, &[("content-range", "bytes */1000")], b"")),
    ];
    for max_parts in [100, 1] {
        for (name, change) in changes {
            let file = content(2 * MB);
            let served = file.clone();
            let host = Host::start(move |seen| match seen.number {
                0 => Reply::file(seen, &served, &[TAG]),
                _ => change(seen, &served),
            })
            .await;
            let mut config = config();
            config.source.max_parts = max_parts;
            let source = open_with(config, &host.url("/")).await.expect("a source");
            let failure = read_planned(&*source, &file, &sound(&file)).await.expect_err(name);
            let told = (details(&failure), failure.retry);
            assert_eq!(told, ("it changed while being read", Retry::Never), "{name}, {max_parts}");
            let conditions = host.seen()[1..].iter().all(|seen| seen.header("if-range") == Some("\"v1\""));
            assert!(conditions, "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_broken_connection_brought_is_not_fetched_again() {
    let broken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&broken);
    let (host, source, file) = opened(move |seen, file| {
        let mut reply = Reply::file(seen, file, &[TAG]);
        // Now and then one breaks: with two in a row the host would be taken for one that cannot give parts.
        if seen.number % 4 != 2 || !is_multi(seen) {
            return reply;
        }
        count.fetch_add(1, Ordering::SeqCst);
        if let Some(Step::Bytes(body)) = reply.steps.pop() {
            reply = reply.then(Step::Bytes(body[..body.len() / 2].to_vec())).then(Step::Close);
        }
        reply
    })
    .await;
    let plan = sound(&file);
    read_planned(&*source, &file, &plan).await.expect("the sound");
    assert!(broken.load(Ordering::SeqCst) > 0 && host.seen()[1..].iter().all(is_multi));
    let fetched = source.fetched().bytes;
    assert!(fetched < (65_536 + len(&plan)) * 109 / 100, "{fetched} bytes for {}", len(&plan));
}

#[tokio::test]
async fn a_busy_host_is_left_alone_for_a_while_and_asked_for_less_at_once() {
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let (host, source, file) = opened(move |seen, file| {
        if seen.number > 0 && count.fetch_add(1, Ordering::SeqCst) < 2 {
            return Reply::new(429, &[("retry-after", "1")], b"slow down");
        }
        Reply::file(seen, file, &[TAG])
    })
    .await;
    let plan = sound(&file);
    read_planned(&*source, &file, &plan).await.expect("the sound");
    assert!(refused.load(Ordering::SeqCst) > 2);
    let connections = host.seen().iter().map(|seen| seen.connection).max();
    assert!(connections < Some(4), "{connections:?}");
}

#[tokio::test]
async fn nothing_is_fetched_beyond_the_window() {
    let (host, source, file) = opened(|seen, file| Reply::file(seen, file, &[TAG])).await;
    source.plan(vec![100_000..MB as u64, MB as u64..file.len() as u64]);
    read_exact(&*source, 100_000, 1000).await.expect("the first bytes");
    // One more request would be made if the window were wider: the reader's next step shows that none was under way.
    read_exact(&*source, 101_000, 1000).await.expect("the next bytes");
    let end =
        host.seen().iter().filter_map(|seen| seen.ranges(file.len())?.last().map(|range| range.end)).max();
    assert!(end.is_some_and(|end| end <= 102_000 + (512 << 10)), "{end:?}");
}

#[tokio::test]
async fn a_plan_that_is_replaced_is_not_followed_and_one_that_lies_is_harmless() {
    let (_host, source, file) = opened(|seen, file| Reply::file(seen, file, &[TAG])).await;
    source.plan(vec![7 * MB as u64..8 * MB as u64, 0..u64::MAX, 5..5]);
    source.plan(vec![]);
    let plan = sound(&file);
    read_planned(&*source, &file, &plan).await.expect("the sound");
    // Outside of every plan, and back.
    assert!(
        read_exact(&*source, 3 * MB + 17, 50_000).await.expect("bytes") == file[3 * MB + 17..3 * MB + 50_017]
    );
    let again = plan[5].start as usize;
    assert!(read_exact(&*source, again, 2_000).await.expect("bytes") == file[again..again + 2_000]);
}

#[tokio::test]
async fn what_is_not_read_next_does_not_hold_up_what_is() {
    // All that is planned first hangs, on as many connections as there may be.
    let hanging = MB..5 * MB;
    let serve = {
        let hanging = hanging.clone();
        move |seen: &Seen, file: &[u8]| {
            let reply = Reply::file(seen, file, &[TAG]);
            if seen.range_start().is_some_and(|start| hanging.contains(&start)) {
                return Reply::default().then(Step::Hang);
            }
            reply
        }
    };
    for is_planned in [true, false] {
        let (host, source, file) = opened(serve.clone()).await;
        source.plan(std::iter::once(hanging.start as u64..hanging.end as u64).collect());
        host.wait_for(5).await;
        let at = 6 * MB;
        if is_planned {
            source.plan(std::iter::once(at as u64..7 * MB as u64).collect());
        }
        let read = tokio::time::timeout(Duration::from_secs(20), read_exact(&*source, at, 50_000)).await;
        assert!(read.expect("no hanging").expect("bytes") == file[at..at + 50_000], "{is_planned}");
    }
}

/// The bytes of bodies that a host has sent, as it was asked for them.
fn asked_bytes(host: &Host, file: &[u8]) -> usize {
    host.seen()
        .iter()
        .flat_map(|seen| seen.ranges(file.len()).unwrap_or_default())
        .map(|range| range.len())
        .sum()
}

#[tokio::test]
async fn a_second_reading_fetches_nothing_again() {
    for max_parts in [100, 1] {
        let file = content(8 * MB);
        let served = file.clone();
        let host = Host::start(move |seen| Reply::file(seen, &served, &[TAG])).await;
        let mut config = config();
        config.source.window_bytes = 512 << 10;
        config.source.max_parts = max_parts;
        let source = open_with(config, &host.url("/")).await.expect("a source");
        let plan: Vec<Range<u64>> = (1..75).map(|at| at * 100_000..at * 100_000 + 50_000).collect();
        assert!(read_exact(&*source, 0, 50_000).await.expect("the head") == file[..50_000]);
        read_planned(&*source, &file, &plan).await.expect("the sound");
        let (asked, requests) = (asked_bytes(&host, &file), host.seen().len());
        assert!(asked as u64 >= len(&plan), "{asked}");
        assert!(read_exact(&*source, 0, 50_000).await.expect("the head again") == file[..50_000]);
        read_planned(&*source, &file, &plan).await.expect("the sound again");
        assert_eq!((asked_bytes(&host, &file), host.seen().len()), (asked, requests), "{max_parts}");
    }
}

#[tokio::test]
async fn a_second_reading_fetches_again_what_had_no_room() {
    let file = content(8 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| Reply::file(seen, &served, &[TAG])).await;
    let mut config = config();
    config.source.window_bytes = 512 << 10;
    config.source.max_spooled_bytes = 1_000_000;
    let egress = egress(config);
    let source = egress.sources.open(&spec(&host.url("/")), None, Arc::default()).await.expect("a source");
    let plan = [100_000..MB as u64, MB as u64..5 * MB as u64];
    read_planned(&*source, &file, &plan).await.expect("the sound");
    let asked = asked_bytes(&host, &file);
    read_planned(&*source, &file, &plan).await.expect("the sound again");
    let again = asked_bytes(&host, &file) - asked;
    assert!((3 * MB..=5 * MB).contains(&again), "{again}");
}

#[tokio::test]
async fn what_is_read_once_takes_no_disk() {
    let file = content(4 * MB);
    let served = file.clone();
    let host = Host::start(move |seen| match seen.target.as_str() {
        "/spooled" => Reply::new(200, &[], &served[..800_000]),
        _ => Reply::file(seen, &served, &[TAG]),
    })
    .await;
    let mut config = config();
    config.source.max_spooled_bytes = 1_000_000;
    let egress = egress(config);
    let source = egress.sources.open(&spec(&host.url("/")), None, Arc::default()).await.expect("a source");
    source.once();
    read_planned(&*source, &file, &[100_000..MB as u64, MB as u64..4 * MB as u64]).await.expect("the sound");
    let other = egress
        .sources
        .open(&spec(&host.url("/spooled")), None, Arc::default())
        .await
        .expect("another source");
    assert!(read_all(&*other).await.expect("all of it, for there is room") == file[..800_000]);
}
