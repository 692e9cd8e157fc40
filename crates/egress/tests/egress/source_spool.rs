//! Bodies that come once, from the first byte to the last: read while they arrive, and what ends them.

use std::time::Duration;

use domain::{Access, FailureCode, Retry};
use testkit::host::{Host, Reply, Step};

use crate::kit::{content, details, open, read_all, read_exact};

const MB: usize = 1024 * 1024;

/// The head of an answer whose length is not said, and these bytes of it.
fn chunked(bytes: &[u8]) -> Reply {
    chunked_with(&[], bytes)
}

fn chunked_with(headers: &[(&str, &str)], bytes: &[u8]) -> Reply {
    let head = Reply::head(200, &[&[("transfer-encoding", "chunked")], headers].concat());
    bytes.chunks(65_000).fold(head, |reply, chunk| {
        let size = format!("{:x}\r\n", chunk.len()).into_bytes();
        reply.then(Step::Bytes([size.as_slice(), chunk, b"\r\n"].concat()))
    })
}

/// And its end.
fn whole(reply: Reply) -> Reply {
    reply.then(Step::Bytes(b"0\r\n\r\n".to_vec()))
}

#[tokio::test]
async fn a_host_without_ranges_is_spooled_and_read_while_it_arrives() {
    let file = content(2 * MB);
    for is_sized in [true, false] {
        let served = file[..MB].to_vec();
        let host = Host::start(move |_| {
            let length = (2 * MB).to_string();
            let sized = || Reply::head(200, &[("content-length", &length)]).then(Step::Bytes(served.clone()));
            let reply = if is_sized { sized() } else { chunked(&served) };
            reply.then(Step::Hang)
        })
        .await;
        let source = open(&host.url("/")).await.expect("a source");
        assert_eq!(source.access(), Access::InOrder { is_sized });
        assert_eq!(source.known_size(), is_sized.then_some(2 * MB as u64));
        assert!(read_exact(&*source, 0, MB).await.expect("what has arrived") == file[..MB]);
        assert!(read_exact(&*source, 1000, 1000).await.expect("what is behind") == file[1000..2000]);
        // The rest is waited for, not failed.
        let waiting = tokio::time::timeout(Duration::from_millis(50), source.read_at(MB as u64, 10)).await;
        assert!(waiting.is_err());
    }
}

#[tokio::test]
async fn a_chunked_body_without_length_is_spooled_to_its_end() {
    let file = content(300_000);
    let served = file.clone();
    let host = Host::start(move |_| whole(chunked(&served))).await;
    let source = open(&host.url("/")).await.expect("a source");
    assert!(read_exact(&*source, 299_000, 1000).await.expect("the end, first") == file[299_000..]);
    assert!(read_all(&*source).await.expect("the file") == file);
    assert_eq!(source.size().await, Ok(300_000));
    assert_eq!((source.known_size(), source.access()), (Some(300_000), Access::Random));
    assert_eq!((source.fetched().bytes, source.fetched().requests), (300_000, 1));
}

#[tokio::test]
async fn a_chunked_body_that_breaks_off_has_not_come_to_its_end() {
    let file = content(300_000);
    let served = file.clone();
    for end in [Step::Close, Step::Reset] {
        let served = served.clone();
        let host = Host::start(move |_| chunked(&served).then(end.clone())).await;
        let source = open(&host.url("/")).await.expect("a source");
        let failure = read_all(&*source).await.expect_err("it was taken for whole");
        assert_eq!((failure.public.code, failure.retry), (FailureCode::DownloadFailed, Retry::Worthwhile));
        assert_eq!(details(&failure), "the host closed the connection");
        assert_eq!(source.size().await, Err(failure));
        assert_eq!((source.known_size(), source.access()), (None, Access::InOrder { is_sized: false }));
    }
}

#[tokio::test]
async fn a_body_that_has_another_length_than_the_ranges_said_is_of_another_file() {
    let file = content(2 * MB);
    for later in [file[..MB].to_vec(), file[..2 * MB - 1].to_vec(), [file.as_slice(), &file].concat()] {
        let served = file.clone();
        let host = Host::start(move |seen| match seen.number {
            0 => Reply::file(seen, &served, &[]),
            _ => whole(chunked(&later)),
        })
        .await;
        let source = open(&host.url("/")).await.expect("a source");
        assert_eq!(source.known_size(), Some(2 * MB as u64));
        let failure = read_all(&*source).await.expect_err("it was taken for the same file");
        assert_eq!((details(&failure), failure.retry), ("it changed while being read", Retry::Never));
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_the_bodys() {
    let file = content(300_000);
    for named in [100_000, 1_000_000] {
        let served = file.clone();
        let host = Host::start(move |_| {
            let length = named.to_string();
            whole(chunked_with(&[("content-length", &length)], &served))
        })
        .await;
        let source = open(&host.url("/")).await.expect("a source");
        assert!(read_all(&*source).await.expect("the file") == file, "{named}");
        assert_eq!(source.known_size(), Some(300_000), "{named}");
    }
}
