//! Requests for several ranges: hosts that do not serve them, serve them badly, or in their own way.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use egress::EgressConfig;
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::config;
use crate::source_plan::{PARTS, TAG, is_multi, opened, opened_with, read_planned, sound};

#[tokio::test]
async fn a_host_that_does_not_serve_parts_is_asked_for_them_once() {
    type No = fn(&Seen, &[u8]) -> Reply;
    let refusals: [(&str, No); 20] = [
        ("all of it", |_, file| Reply::new(200, &[TAG], file)),
        ("416", |_, file| {
            Reply::new(416, &[TAG, ("content-range", &format!("bytes */{}", file.len()))], b"")
        }),
        ("416 without a word", |_, _| Reply::new(416, &[TAG], b"")),
        // Errors mostly come without what names the file's version.
        ("416 without a tag", |_, file| {
            Reply::new(416, &[("content-range", &format!("bytes */{}", file.len()))], b"")
        }),
        ("416 without a word or a tag", |_, _| Reply::new(416, &[], b"")),
        ("all of it, without a tag", |_, file| Reply::new(200, &[], file)),
        ("parts without a tag", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            Reply::new(206, &[PARTS], &Reply::parts(&ranges, file))
        }),
        ("400", |_, _| Reply::new(400, &[], b"no")),
        ("431", |_, _| Reply::new(431, &[], b"no")),
        ("the first range alone", |seen, file| {
            let range = seen.ranges(file.len()).expect("ranges")[0].clone();
            let named = format!("bytes {}-{}/{}", range.start, range.end - 1, file.len());
            Reply::new(206, &[TAG, ("content-range", &named)], &file[range])
        }),
        ("all from the first to the last", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            let all = ranges[0].start..ranges[ranges.len() - 1].end;
            let named = format!("bytes {}-{}/{}", all.start, all.end - 1, file.len());
            Reply::new(206, &[TAG, ("content-range", &named)], &file[all])
        }),
        ("only some of the parts", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&ranges[..3], file))
        }),
        ("one part from the first to the last", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            let all = ranges[0].start..ranges[ranges.len() - 1].end;
            Reply::new(206, &[TAG, PARTS], &Reply::parts(std::slice::from_ref(&all), file))
        }),
        ("parts with what lies between", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            let pairs: Vec<_> =
                ranges.chunks(2).map(|pair| pair[0].start..pair[pair.len() - 1].end).collect();
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&pairs, file))
        }),
        ("parts that were not asked for", |_, file| {
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&[0..10, 20..30], file))
        }),
        ("parts of another file", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&ranges, &file[..file.len() - 1]))
        }),
        ("nonsense", |_, _| Reply::new(206, &[TAG, PARTS], b"nonsense, and more of it than a boundary has")),
        ("no boundary", |_, _| Reply::new(206, &[TAG, ("content-type", "multipart/byteranges")], b"x")),
        ("compressed", |seen, file| {
            let ranges = seen.ranges(file.len()).expect("ranges");
            Reply::new(206, &[TAG, PARTS, ("content-encoding", "gzip")], &Reply::parts(&ranges, file))
        }),
        ("an endless head of a part", |_, _| {
            Reply::head(206, &[TAG, PARTS, ("connection", "close")])
                .then(Step::Bytes(b"--00000000000000000007\r\n".to_vec()))
                .then(Step::Forever(b"X-More: of the same\r\n".repeat(100), Duration::ZERO))
        }),
    ];
    for (name, no) in refusals {
        let (host, source, file) =
            opened(
                move |seen, file| {
                    if is_multi(seen) { no(seen, file) } else { Reply::file(seen, file, &[TAG]) }
                },
            )
            .await;
        let plan = sound(&file)[..40].to_vec();
        read_planned(&*source, &file, &plan).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let tried = host.seen().iter().filter(|seen| is_multi(seen)).count();
        // What looks well until its end is found out when others are under way.
        let most =
            if matches!(name, "only some of the parts" | "parts with what lies between") { 4 } else { 1 };
        assert!((1..=most).contains(&tried), "{name}: {tried} requests for parts");
    }
}

#[tokio::test]
async fn parts_may_come_in_any_order_and_joined() {
    type Parts = fn(&[Range<usize>]) -> Vec<Range<usize>>;
    // So close together that what lies between them is less than they are.
    let close = (100..300).map(|at| at * 3_000..at * 3_000 + 2_000).collect::<Vec<_>>();
    let served: [(&str, Parts); 3] = [
        ("backwards", |ranges| ranges.iter().rev().cloned().collect()),
        ("joined", |ranges| ranges.chunks(2).map(|pair| pair[0].start..pair[pair.len() - 1].end).collect()),
        ("twice", |ranges| ranges.iter().flat_map(|range| [range.clone(), range.clone()]).collect()),
    ];
    for (name, parts) in served {
        let (host, source, file) = opened(move |seen, file| {
            if !is_multi(seen) {
                return Reply::file(seen, file, &[TAG]);
            }
            let ranges = parts(&seen.ranges(file.len()).expect("ranges"));
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&ranges, file))
        })
        .await;
        read_planned(&*source, &file, &close).await.expect("the sound");
        assert!(host.seen()[1..].iter().all(is_multi), "{name}: taken as it is");
    }
}

/// The bytes that end a body in parts.
const LAST_BOUNDARY: usize = "\r\n--00000000000000000007--\r\n".len();

/// A whole answer in parts, whose body is made into another one.
fn cut(seen: &Seen, file: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Reply::parts(&seen.ranges(file.len()).expect("ranges"), file);
    change(&mut body);
    body
}

#[tokio::test]
async fn a_host_that_breaks_on_parts_alone_is_asked_for_single_ranges() {
    type Break = fn(&Seen, &[u8]) -> Reply;
    let breaks: [(&str, Break); 3] = [
        ("bodies that break off", |seen, file| {
            let whole = cut(seen, file, |_| ()).len().to_string();
            let head = Reply::head(206, &[TAG, PARTS, ("content-length", &whole)]);
            head.then(Step::Bytes(cut(seen, file, |body| body.truncate(15_000)))).then(Step::Close)
        }),
        ("the first of the parts, without a last boundary", |seen, file| {
            let some = &seen.ranges(file.len()).expect("ranges")[..8];
            let mut body = Reply::parts(some, file);
            body.truncate(body.len() - LAST_BOUNDARY);
            Reply::new(206, &[TAG, PARTS], &body)
        }),
        ("503 for parts alone", |_, _| Reply::new(503, &[], b"")),
    ];
    for (name, broken) in breaks {
        let mut config = config();
        // One more would fail the job.
        config.source.retries = 1;
        let (host, source, file) = opened_with(config, move |seen, file| {
            if is_multi(seen) { broken(seen, file) } else { Reply::file(seen, file, &[TAG]) }
        })
        .await;
        let plan = sound(&file);
        read_planned(&*source, &file, &plan).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let seen = host.seen();
        let in_parts = seen.iter().filter(|seen| is_multi(seen)).count();
        // Twice as many as there are connections: those that break together are one failure.
        assert!((2..=8).contains(&in_parts), "{name}: {in_parts} requests for parts");
        assert!(seen.len() <= in_parts + plan.len() + 1, "{name}: {} requests", seen.len());
    }
}

#[tokio::test]
async fn parts_that_all_came_are_well_without_a_last_boundary() {
    let mut config = config();
    // Any failure would be the last.
    config.source.retries = 0;
    let (host, source, file) = opened_with(config, |seen, file| {
        if !is_multi(seen) {
            return Reply::file(seen, file, &[TAG]);
        }
        let body = cut(seen, file, |body| body.truncate(body.len() - LAST_BOUNDARY));
        Reply::new(206, &[TAG, PARTS], &body)
    })
    .await;
    read_planned(&*source, &file, &sound(&file)).await.expect("the sound");
    assert!(host.seen()[1..].iter().all(is_multi), "taken as it is");
}

/// One request after the other, each for few parts.
fn one_by_one() -> EgressConfig {
    let mut config = config();
    (config.source.max_connections, config.source.max_parts) = (1, 10);
    config
}

#[tokio::test]
async fn a_host_that_is_away_for_a_while_goes_on_with_parts() {
    type Away = fn() -> Reply;
    let outages: [(&str, Away); 4] = [
        ("closed", || Reply::default().then(Step::Close)),
        ("reset", || Reply::default().then(Step::Reset)),
        ("502", || Reply::new(502, &[], b"")),
        ("503", || Reply::new(503, &[], b"")),
    ];
    for (name, away) in outages {
        let (host, source, file) = opened_with(one_by_one(), move |seen, file| match seen.number {
            4..=6 => away(),
            _ if is_multi(seen) => {
                let ranges = seen.ranges(file.len()).expect("ranges");
                Reply::new(206, &[TAG, PARTS], &Reply::parts(&ranges, file))
            }
            _ => Reply::file(seen, file, &[TAG]),
        })
        .await;
        read_planned(&*source, &file, &sound(&file))
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let seen = host.seen();
        assert!(seen.len() > 10 && seen[1..].iter().all(is_multi), "{name}: {} requests", seen.len());
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_at_first_is_asked_for_parts_all_the_same() {
    let mut config = one_by_one();
    config.source.retries = 1_000;
    let (host, source, file) = opened_with(config, |seen, file| Reply::file(seen, file, &[TAG])).await;
    let (address, served) = (host.address.to_string(), file.clone());
    host.stop().await;
    let (plan, before) = (sound(&file), source.fetched().requests);
    let comes_back = async {
        while source.fetched().requests < before + 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Host::start_at(&address, None, move |seen| {
            let ranges = seen.ranges(served.len()).expect("ranges");
            Reply::new(206, &[TAG, PARTS], &Reply::parts(&ranges, &served))
        })
        .await
    };
    let (read, host) = tokio::join!(read_planned(&*source, &file, &plan), comes_back);
    read.expect("the sound");
    assert!(host.seen().iter().all(is_multi));
}

#[tokio::test]
async fn a_host_that_refuses_parts_is_left_alone_for_as_long_as_it_asks() {
    let asked_to_wait = Duration::from_millis(200);
    let mut config = one_by_one();
    // Of the hour that the host asks for.
    config.source.max_back_off = asked_to_wait;
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let (host, source, file) = opened_with(config, move |seen, file| {
        noted.lock().expect("times").push(Instant::now());
        if is_multi(seen) {
            Reply::new(503, &[("retry-after", "3600")], b"")
        } else {
            Reply::file(seen, file, &[TAG])
        }
    })
    .await;
    read_planned(&*source, &file, &sound(&file)).await.expect("the sound");
    assert_eq!(host.seen().iter().map(is_multi).collect::<Vec<_>>()[..4], [false, true, true, false]);
    // However slow this machine is, it does not come earlier.
    let times = times.lock().expect("times");
    assert!(times[2] - times[1] >= asked_to_wait && times[3] - times[2] >= asked_to_wait);
}
