//! Hosts that misbehave, each with what comes of it. What they make of requests for several ranges is in
//! [`crate::source_parts`], HTTP/2's own in [`crate::http2`], a certificate with a wrong name in [`crate::tls`].

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher as _};
use std::time::Duration;

use domain::Retry;
use testkit::host::{Host, Reply, Seen, Step};

use crate::kit::{config, content, details, open_with, read_all};

const TAG: (&str, &str) = ("etag", "\"v1\"");
const DATE: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

/// What comes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The file, and each of its bytes once.
    Read,
    /// The file, some of it more than once.
    ReadAgain,
    /// A failure that says this, and is one for good.
    Never(&'static str),
    /// A failure that says this, and may pass.
    Later(&'static str),
}

const CHANGED: End = End::Never("it changed while being read");
const COMPRESSED: End = End::Never("the host sent the file compressed, unasked");
const OTHER_BYTES: End = End::Never("the host answered with other bytes than were asked for");

/// A host's answer to a request for the file: to the first as it should, to later ones with something else.
type Script = fn(&Seen, &[u8]) -> Reply;

fn good(seen: &Seen, file: &[u8]) -> Reply {
    Reply::file(seen, file, &[TAG, DATE])
}

/// A good answer, but for this `Content-Range`.
fn named(seen: &Seen, file: &[u8], name: impl Fn(usize, usize, usize) -> String) -> Reply {
    let range = seen.ranges(file.len()).expect("ranges").remove(0);
    let name = name(range.start, range.end - 1, file.len());
    Reply::new(206, &[TAG, DATE, ("content-range", &name)], &file[range])
}

/// A good answer, but for this `Content-Encoding`.
fn coded(seen: &Seen, file: &[u8], codings: &str) -> Reply {
    Reply::file(seen, file, &[TAG, DATE, ("content-encoding", codings)])
}

/// A good answer whose bytes end after so many, and then this.
fn cut(seen: &Seen, file: &[u8], after: usize, then: Step) -> Reply {
    let mut reply = good(seen, file);
    let all: Vec<u8> = reply
        .steps
        .drain(..)
        .flat_map(|step| if let Step::Bytes(bytes) = step { bytes } else { Vec::new() })
        .collect();
    Reply::raw(&all[..after.min(all.len())]).then(then)
}

/// Only each second request is misbehaved to, so that there is a way on.
fn every_other(seen: &Seen, file: &[u8], reply: Reply) -> Reply {
    if seen.number % 2 == 1 { reply } else { good(seen, file) }
}

fn head_len(seen: &Seen, file: &[u8]) -> usize {
    match &good(seen, file).steps[0] {
        Step::Bytes(head) => head.len(),
        _ => 0,
    }
}

const HOSTS: &[(&str, End, Script)] = &[
    ("it answers with the whole file", End::ReadAgain, |_, file| Reply::new(200, &[TAG, DATE], file)),
    ("of another length", CHANGED, |_, file| Reply::new(200, &[TAG, DATE], &file[1..])),
    ("another range", OTHER_BYTES, |seen, file| {
        named(seen, file, |first, last, length| format!("bytes {}-{last}/{length}", first + 1))
    }),
    ("a range that ends before it begins", OTHER_BYTES, |seen, file| {
        named(seen, file, |first, _, length| format!("bytes {first}-{}/{length}", first - 1))
    }),
    ("a range without its length", End::Read, |seen, file| {
        named(seen, file, |first, last, _| format!("bytes {first}-{last}/*"))
    }),
    ("a wrong total length", CHANGED, |seen, file| {
        named(seen, file, |first, last, length| format!("bytes {first}-{last}/{}", length + 1))
    }),
    ("no range at all", OTHER_BYTES, |seen, file| named(seen, file, |_, _, _| "none".to_owned())),
    ("416 half-way", CHANGED, |_, file| {
        Reply::new(416, &[TAG, ("content-range", &format!("bytes */{}", file.len()))], b"")
    }),
    ("416 of a shorter file", CHANGED, |_, _| Reply::new(416, &[TAG, ("content-range", "bytes */10")], b"")),
    ("another tag", CHANGED, |seen, file| Reply::file(seen, file, &[("etag", "\"v2\""), DATE])),
    ("a tag that vanishes", CHANGED, |seen, file| Reply::file(seen, file, &[DATE])),
    ("a tag that turns weak", CHANGED, |seen, file| Reply::file(seen, file, &[("etag", "W/\"v1\""), DATE])),
    ("more than was asked for, as it says", End::ReadAgain, |seen, file| {
        let first = seen.range_start().expect("a range");
        let range = format!("bytes {first}-{}/{}", file.len() - 1, file.len());
        Reply::new(206, &[TAG, DATE, ("content-range", &range)], &file[first..])
    }),
    ("less than was asked for, as it says", End::Read, |seen, file| {
        let range = seen.ranges(file.len()).expect("ranges").remove(0);
        let end = range.end.min(range.start + 70_000);
        let named = format!("bytes {}-{}/{}", range.start, end - 1, file.len());
        Reply::new(206, &[TAG, DATE, ("content-range", &named)], &file[range.start..end])
    }),
    ("a reset instead of an answer", End::Read, |seen, file| {
        every_other(seen, file, Reply::default().then(Step::Reset))
    }),
    ("a connection that is closed instead", End::Read, |seen, file| {
        every_other(seen, file, Reply::default().then(Step::Close))
    }),
    ("a reset within the head", End::Read, |seen, file| {
        every_other(seen, file, cut(seen, file, 20, Step::Reset))
    }),
    ("a close within the head", End::Read, |seen, file| {
        every_other(seen, file, cut(seen, file, 20, Step::Close))
    }),
    ("a close behind the head", End::Read, |seen, file| {
        every_other(seen, file, cut(seen, file, head_len(seen, file), Step::Close))
    }),
    ("a close within the body", End::Read, |seen, file| {
        every_other(seen, file, cut(seen, file, 40_000, Step::Close))
    }),
    ("a connection that is closed after each answer, without a word", End::Read, |seen, file| {
        good(seen, file).then(Step::Close)
    }),
    ("bodies that always end early", End::Later("the host closed the connection"), |seen, file| {
        cut(seen, file, head_len(seen, file) + 100, Step::Close)
    }),
    ("HTTP/1.0", End::Read, |seen, file| {
        let range = seen.ranges(file.len()).expect("ranges").remove(0);
        let head = format!(
            "HTTP/1.0 206 OK\r\netag: \"v1\"\r\ncontent-range: bytes {}-{}/{}\r\n\r\n",
            range.start,
            range.end - 1,
            file.len()
        );
        Reply::raw([head.as_bytes(), &file[range]].concat()).then(Step::Close)
    }),
    ("interim answers", End::Read, |seen, file| {
        let mut reply =
            Reply::raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
        reply.steps.extend(good(seen, file).steps);
        reply
    }),
    ("429 until a while has passed", End::Read, |seen, file| {
        every_other(seen, file, Reply::new(429, &[("retry-after", "1")], b"slow down"))
    }),
    // The clock of these tests stands still at 08:49:37.
    ("503 until some date", End::Read, |seen, file| {
        every_other(seen, file, Reply::new(503, &[("retry-after", "Sun, 06 Nov 1994 09:49:37 GMT")], b""))
    }),
    ("429 for ever", End::Later("the host answered 429"), |_, _| {
        Reply::new(429, &[("retry-after", "3600")], b"")
    }),
    ("a login page from now on", End::Never("the host answered 403"), |_, _| Reply::new(403, &[], b"log in")),
    ("a compressed body", COMPRESSED, |seen, file| coded(seen, file, "gzip")),
    ("a compressed body that came in chunks", COMPRESSED, |seen, file| {
        coded(seen, file, "aws-chunked, gzip")
    }),
    ("no coding, by its name", End::Read, |seen, file| coded(seen, file, "Identity")),
    ("no coding, by another name", End::Read, |seen, file| coded(seen, file, "none")),
    ("no coding, by no name", End::Read, |seen, file| coded(seen, file, "")),
    ("a coding that was taken off on its way in", End::Read, |seen, file| coded(seen, file, "aws-chunked")),
    ("and others beside it", End::Read, |seen, file| coded(seen, file, "aws-chunked,identity, ,")),
    ("redirects in a circle", End::Never("a redirect was not followed: there are more than 3"), |_, _| {
        Reply::new(302, &[("location", "/")], b"")
    }),
    (
        "headers without end",
        End::Never("the host's answer is not HTTP, or its headers are too large"),
        |_, _| {
            Reply::raw("HTTP/1.1 206 OK\r\n")
                .then(Step::Forever(b"x: of the same\r\n".to_vec(), Duration::ZERO))
        },
    ),
    ("silence within a body", End::Later("no data, or next to none, for 0.3 s"), |seen, file| {
        cut(seen, file, head_len(seen, file), Step::Hang)
    }),
    ("a byte now and then", End::Later("no data, or next to none, for 0.3 s"), |seen, file| {
        cut(seen, file, head_len(seen, file), Step::Forever(vec![7], Duration::from_millis(20)))
    }),
];

#[tokio::test]
async fn each_misbehaving_host_has_its_end() {
    let file = content(500_000);
    for (name, end, script) in HOSTS {
        let served = file.clone();
        let host = Host::start(move |seen| match seen.number {
            0 => good(seen, &served),
            _ => script(seen, &served),
        })
        .await;
        let mut config = config();
        config.source.stall_window = Duration::from_millis(300);
        let source = open_with(config, &host.url("/")).await.expect(name);
        let read = read_all(&*source).await;
        let fetched = source.fetched().bytes;
        let found = match &read {
            Ok(read) => {
                assert!(*read == file, "{name}: another file");
                if fetched == file.len() as u64 { End::Read } else { End::ReadAgain }
            }
            Err(failure) => {
                // What is expected, if it is that; else what shows best what came instead.
                let told = details(failure).to_owned().leak();
                if failure.retry == Retry::Never { End::Never(told) } else { End::Later(told) }
            }
        };
        assert_eq!(found, *end, "{name}: {fetched} bytes");
    }
}

#[tokio::test]
async fn a_weak_tag_says_that_a_file_has_changed_and_no_more() {
    let file = content(500_000);
    for (later, is_same) in [
        (&[("etag", "W/\"v1\"")][..], true),
        (&[("etag", "\"v1\"")], true),
        (&[], true),
        (&[("etag", "W/\"v2\"")], false),
    ] {
        let served = file.clone();
        let host = Host::start(move |seen| {
            Reply::file(seen, &served, if seen.number < 2 { &[("etag", "W/\"v1\"")] } else { later })
        })
        .await;
        let mut config = config();
        // So that the second answer comes before the third.
        config.source.max_connections = 1;
        let source = open_with(config, &host.url("/")).await.expect("a source");
        match read_all(&*source).await {
            Ok(read) => assert!(is_same && read == file, "{later:?}"),
            Err(failure) => {
                assert!(!is_same, "{later:?}: {failure}");
                assert_eq!(details(&failure), "it changed while being read");
            }
        }
        assert!(host.seen().iter().all(|seen| seen.header("if-range").is_none()));
    }
}

/// A weak tag of what is sent, as Express has it: the length and a hash.
fn tag_of(body: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    format!("W/\"{:x}-{:x}\"", body.len(), hasher.finish())
}

#[tokio::test]
async fn a_weak_tag_that_is_made_of_each_body_says_nothing_of_the_file() {
    let silent = [content(100_000), vec![0; 2_000_000], content(500_000)].concat();
    for (file, is_silent) in [(content(2_600_000), false), (silent, true)] {
        let served = file.clone();
        let host = Host::start(move |seen| {
            let range = seen.ranges(served.len()).expect("ranges").remove(0);
            Reply::file(seen, &served, &[("etag", &tag_of(&served[range]))])
        })
        .await;
        let mut config = config();
        // Stretches of the same length, so that silent ones have the same tag.
        config.source.window_bytes = 256 << 10;
        let source = open_with(config, &host.url("/")).await.expect("a source");
        assert!(read_all(&*source).await.expect("the file") == file);
        let ranges = host.seen().into_iter().map(|seen| seen.ranges(file.len()).expect("ranges").remove(0));
        let tags: Vec<String> = ranges.map(|range| tag_of(&file[range])).collect();
        let different: HashSet<&String> = tags.iter().collect();
        assert_eq!(different.len() < tags.len(), is_silent, "{tags:?}");
        assert!(different.len() > 2, "{tags:?}");
    }
}

#[tokio::test]
async fn what_says_which_version_it_is_later_than_at_first_is_taken() {
    let file = content(500_000);
    for (first, later) in
        [(&[][..], &[TAG][..]), (&[DATE], &[TAG, DATE]), (&[("etag", "W/\"v1\""), DATE], &[DATE])]
    {
        let served = file.clone();
        let host =
            Host::start(move |seen| Reply::file(seen, &served, if seen.number == 0 { first } else { later }))
                .await;
        let source = open_with(config(), &host.url("/")).await.expect("a source");
        assert!(read_all(&*source).await.expect("the file") == file);
        assert!(host.seen().iter().all(|seen| seen.header("if-range").is_none()), "no strong tag is known");
    }
}
