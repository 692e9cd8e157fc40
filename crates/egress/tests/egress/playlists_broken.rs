//! Playlists whose hosts break off, go on with something else, or serve no ranges.

use domain::{FailureCode, Retry};
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::{config, content, details, open, open_with, read_all};
use crate::playlists::{failure, hls};
use crate::source_redirects::to;

/// These bytes as a chunk of a body.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[tokio::test]
async fn what_breaks_off_goes_on_where_it_broke() {
    let all = content(300_000);
    let bytes = all.clone();
    let host = Host::start(move |seen| match (seen.target.as_str(), seen.range_start()) {
        ("/list", _) => Reply::file(seen, hls("#EXTINF:1.0,\n/a\n").as_bytes(), &[]),
        (_, Some(start)) if start > 0 => Reply::file(seen, &bytes, &[("etag", "\"1\"")]),
        _ => {
            let head = Reply::head(200, &[("content-length", "300000"), ("etag", "\"1\"")]);
            head.then(Step::Bytes(bytes[..100_000].to_vec())).then(Step::Reset)
        }
    })
    .await;
    let source = open(&host.url("/list")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(all));
    let second = host.seen().into_iter().filter(|seen| seen.target == "/a").nth(1).expect("a second request");
    assert!(second.range_start().is_some_and(|start| start > 0), "{second:?}");
    assert_eq!(second.header("if-range"), Some("\"1\""));
}

#[tokio::test]
async fn what_breaks_off_without_a_length_is_asked_for_anew_and_without_condition() {
    let all = content(300_000);
    let bytes = all.clone();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let host = Host::start(move |seen| {
        if seen.target == "/list" {
            return Reply::file(seen, hls("#EXTINF:1.0,\n/a\n").as_bytes(), &[]);
        }
        let head = Reply::head(200, &[("transfer-encoding", "chunked"), ("etag", "\"1\"")]);
        match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => head.then(Step::Bytes(chunk(&bytes[..100_000]))).then(Step::Reset),
            _ => head.then(Step::Bytes([chunk(&bytes), chunk(b"")].concat())),
        }
    })
    .await;
    let source = open(&host.url("/list")).await.expect("a source");
    assert_eq!(read_all(&*source).await, Ok(all));
    let asked: Vec<Seen> = host.seen().into_iter().filter(|seen| seen.target == "/a").collect();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|seen| seen.header("range").is_none() && seen.header("if-range").is_none()),
        "{asked:?}"
    );
}

#[tokio::test]
async fn parts_of_one_file_have_to_be_of_one_version() {
    let bytes = content(3000);
    let host = Host::start(move |seen| match (seen.target.as_str(), seen.range_start()) {
        ("/list", _) => {
            let part = |at: usize| format!("#EXTINF:1.0,\n#EXT-X-BYTERANGE:1000@{at}\n/all\n");
            Reply::file(seen, hls(&[0, 1000, 2000].map(part).concat()).as_bytes(), &[])
        }
        (_, Some(2000)) => Reply::file(seen, &bytes, &[("etag", "\"2\"")]),
        _ => Reply::file(seen, &bytes, &[("etag", "\"1\"")]),
    })
    .await;
    let failure = failure(config(), &host.url("/list")).await;
    assert_eq!(failure.public.code, FailureCode::DownloadFailed);
    assert!(details(&failure).contains("it changed while being read"), "{failure}");
}

/// A whole answer that breaks off, and what then comes of the rest.
#[tokio::test]
async fn what_goes_on_with_something_else_is_refused() {
    type Rest = fn(usize, &[u8]) -> Reply;
    let rests: [(&str, &str, Rest); 3] = [
        ("a longer file, whole", "it changed while being read", |_, longer| {
            let head = Reply::head(200, &[("transfer-encoding", "chunked")]);
            head.then(Step::Bytes([chunk(longer), chunk(b"")].concat()))
        }),
        ("a longer file, by its name", "it changed while being read", |first, longer| {
            let range = format!("bytes {first}-299999/{}", longer.len());
            Reply::new(206, &[("content-range", &range)], &longer[first..300_000])
        }),
        (
            "more than the range that it names",
            "the host answered with other bytes than were asked for",
            |first, longer| {
                let range = format!("bytes {first}-299999/300000");
                let head = Reply::head(206, &[("transfer-encoding", "chunked"), ("content-range", &range)]);
                head.then(Step::Bytes([chunk(&longer[first..]), chunk(b"")].concat()))
            },
        ),
    ];
    for (name, told, rest) in rests {
        let longer = content(300_001);
        let host = Host::start(move |seen| match (seen.target.as_str(), seen.range_start()) {
            ("/list", _) => Reply::file(seen, hls("#EXTINF:1.0,\n/a\n").as_bytes(), &[]),
            (_, Some(start)) => rest(start, &longer),
            _ => {
                let head = Reply::head(200, &[("content-length", "300000")]);
                head.then(Step::Bytes(longer[..100_000].to_vec())).then(Step::Close)
            }
        })
        .await;
        let failure = failure(config(), &host.url("/list")).await;
        let told = format!("segment 1 of 1: {told}");
        assert_eq!((details(&failure), failure.retry), (told.as_str(), Retry::Never), "{name}");
    }
}

#[tokio::test]
async fn a_segment_that_goes_on_at_another_host_is_of_the_same_version_or_of_another_attempt() {
    for (tag, is_same) in [("\"1\"", true), ("\"2\"", false)] {
        let all = content(300_000);
        let (old, new) = (all.clone(), all.clone());
        let first = Host::start(move |seen| match seen.range_start() {
            None => {
                let head = Reply::head(200, &[("content-length", "300000"), ("etag", "\"1\"")]);
                head.then(Step::Bytes(old[..100_000].to_vec())).then(Step::Close)
            }
            Some(_) => Reply::new(404, &[], b""),
        })
        .await;
        let second = Host::start(move |seen| Reply::file(seen, &new, &[("etag", tag)])).await;
        let places = [first.url("/"), second.url("/")];
        let host = Host::start(move |seen| match (seen.target.as_str(), seen.number) {
            ("/list", _) => Reply::file(seen, hls("#EXTINF:1.0,\n/a\n").as_bytes(), &[]),
            (_, 1) => to(&places[0]),
            _ => to(&places[1]),
        })
        .await;
        let source = open(&host.url("/list")).await.expect("a source");
        match read_all(&*source).await {
            Ok(read) => assert!(is_same && read == all, "{tag}"),
            Err(failure) => {
                let told = "segment 1 of 1: another host of this source has another version of it";
                assert_eq!((details(&failure), failure.retry), (told, Retry::Worthwhile));
                assert!(!is_same);
            }
        }
    }
}

/// A host of `/list` and of one file, which it sends whole to whoever asks for a part of it.
async fn without_ranges(list: String, file: Vec<u8>, breaks_at: Option<usize>) -> Host {
    Host::start(move |seen| match (seen.target.as_str(), breaks_at) {
        ("/list", _) => Reply::file(seen, list.as_bytes(), &[]),
        (_, Some(at)) if seen.range_start().is_some_and(|start| start < at) => {
            let head = Reply::head(200, &[("content-length", &file.len().to_string())]);
            head.then(Step::Bytes(file[..at].to_vec())).then(Step::Close)
        }
        _ => Reply::new(200, &[], &file),
    })
    .await
}

/// So many bytes of `/all` from there on.
fn part(start: usize, count: usize) -> String {
    format!("#EXTINF:1.0,\n#EXT-X-BYTERANGE:{count}@{start}\n/all\n")
}

#[tokio::test]
async fn parts_of_a_file_whose_host_serves_no_ranges_come_out_of_one_body() {
    let all = content(1_000_000);
    let every = |step: usize| (0..20).step_by(step).map(|at| at * 50_000).collect::<Vec<_>>();
    // How often the file may be read: where its parts are not in order it has to be begun with again, as where it broke.
    for (name, parts, breaks_at, readings) in [
        ("one behind the other", every(1), None, 1),
        ("with something between them", every(3), None, 1),
        ("backwards once", [every(4), every(5)].concat(), None, 2),
        ("breaking off", every(1), Some(620_000), 2),
    ] {
        for connections in [1, 4] {
            let header = "#EXT-X-MAP:URI=\"/all\",BYTERANGE=\"100@0\"\n";
            let lines = parts.iter().map(|start| part(*start + 100, 49_900)).collect::<String>();
            let host = without_ranges(hls(&format!("{header}{lines}")), all.clone(), breaks_at).await;
            let mut config = config();
            config.source.max_connections = connections;
            let source = open_with(config, &host.url("/list")).await.expect("a source");
            let media = parts.iter().map(|start| &all[*start + 100..*start + 50_000]);
            let expected = [&all[..100]].into_iter().chain(media).collect::<Vec<_>>().concat();
            assert!(read_all(&*source).await.expect(name) == expected, "{name}");
            let fetched = source.fetched();
            let most = readings * all.len() as u64 + 10_000;
            assert!(fetched.bytes <= most, "{name}: {} bytes at {connections}", fetched.bytes);
            // The list, those that were under way when it turned out, and one for each reading.
            let most = 1 + connections as u64 + readings;
            assert!(fetched.requests <= most, "{name}: {} requests at {connections}", fetched.requests);
        }
    }
}

#[tokio::test]
async fn whoever_has_but_one_connection_lets_go_of_a_body_for_another_file() {
    let all = content(200_000);
    let lines = [part(0, 50_000), "#EXTINF:1.0,\n/more\n".to_owned(), part(50_000, 50_000)].concat();
    let host = without_ranges(hls(&lines), all.clone(), None).await;
    let mut config = config();
    config.source.max_connections = 1;
    let source = open_with(config, &host.url("/list")).await.expect("a source");
    let expected = [&all[..50_000], &all[..], &all[50_000..100_000]].concat();
    assert!(read_all(&*source).await.expect("all of it") == expected);
}
