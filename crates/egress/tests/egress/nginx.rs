//! The real nginx as the host of a source, by HTTP/1.1 and by HTTP/2, set up in the ways that people set it up.

use std::sync::Arc;

use domain::Source;
use testkit::host::{Host, Reply, Step};
use testkit::nginx::{Nginx, Served};
use tokio::sync::Notify;

use crate::kit::{content, open_with, read_all, read_exact};
use crate::tls::Authority;

const MB: usize = 1 << 20;

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Http1,
    Http1InTls,
    Http2,
}

/// An nginx that serves a file at `/v`, and its URL.
fn start(by: By, server: &str, file: &[u8], authority: &Authority) -> (Nginx, String) {
    let (certificate, key) = authority.certificate(&["127.0.0.1"]);
    let listen = match by {
        By::Http1 => "",
        By::Http1InTls => "ssl",
        By::Http2 => "ssl http2",
    };
    let in_tls = "ssl_certificate certificate.pem; ssl_certificate_key key.pem;";
    let server = if by == By::Http1 { server.to_owned() } else { format!("{in_tls} {server}") };
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let files: [(&str, &[u8]); 3] =
        [("v", file), ("certificate.pem", certificate.as_bytes()), ("key.pem", key.as_bytes())];
    let nginx = Nginx::start(listen, &server, &files);
    let scheme = if by == By::Http1 { "http" } else { "https" };
    let url = format!("{scheme}://{}/v", nginx.address);
    (nginx, url)
}

/// One nginx and one source of it.
struct Serving {
    nginx: Nginx,
    source: Arc<dyn Source>,
}

impl Serving {
    async fn start(by: By, server: &str, file: &[u8]) -> Self {
        let authority = Authority::new();
        let (nginx, url) = start(by, server, file, &authority);
        let source = open_with(authority.trusted(), &url).await.expect("a source");
        Self { nginx, source }
    }

    /// What nginx has answered to the source so far; all of it was counted.
    async fn served(&self) -> Vec<Served> {
        let fetched = self.source.fetched();
        let served = self.nginx.served(usize::try_from(fetched.requests).expect("a number")).await;
        assert_eq!(served.len() as u64, fetched.requests, "{served:?}");
        served
    }

    async fn connections(&self) -> usize {
        let mut connections: Vec<u64> = self.served().await.iter().map(|served| served.connection).collect();
        connections.sort_unstable();
        connections.dedup();
        connections.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_nginx_is_set_up_every_byte_comes_and_comes_once() {
    let file = content(3 * MB);
    for (by, server) in [
        (By::Http1, ""),
        (By::Http1InTls, ""),
        (By::Http2, ""),
        (By::Http1, "gzip on; gzip_types *; gzip_min_length 1; default_type text/plain;"),
        (By::Http2, "gzip on; gzip_types *; gzip_min_length 1; default_type text/plain;"),
        (By::Http1, "max_ranges 1;"),
        (By::Http1, "keepalive_requests 3;"),
        (By::Http2, "keepalive_requests 3;"),
        (By::Http2, "http2_max_concurrent_streams 1;"),
        (By::Http1, "keepalive_timeout 0;"),
        (By::Http1, "etag off;"),
        // It serves all of the file, and no range.
        (By::Http1, "max_ranges 0;"),
        (By::Http2, "max_ranges 0;"),
    ] {
        let serving = Serving::start(by, server, &file).await;
        let case = format!("{by:?} {server}");
        assert_eq!(serving.source.known_size(), Some(file.len() as u64), "{case}");
        assert!(read_all(&*serving.source).await.expect(&case) == file, "{case}");
        assert_eq!(serving.source.fetched().bytes, file.len() as u64, "{case}");
        let served = serving.served().await;
        assert_eq!(served.iter().map(|served| served.body_bytes).sum::<u64>(), file.len() as u64, "{case}");
        let protocol = if by == By::Http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert!(served.iter().all(|served| served.protocol == protocol), "{case}: {served:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_connections_that_end_all_the_time_nothing_is_lost_or_comes_twice() {
    let (authority, file) = (Authority::new(), content(MB));
    let (nginx, url) = start(By::Http2, "keepalive_requests 3;", &file, &authority);
    let readings = (0..12).map(|_| {
        let (mut config, url, file) = (authority.trusted(), url.clone(), file.clone());
        // So that there are many requests. None may fail.
        (config.source.window_bytes, config.source.retries) = (256 << 10, 0);
        tokio::spawn(async move {
            let source = open_with(config, &url).await.expect("a source");
            assert!(read_all(&*source).await.expect("the file") == file);
            usize::try_from(source.fetched().requests).expect("a number")
        })
    });
    let mut requests = 0;
    for reading in readings.collect::<Vec<_>>() {
        requests += reading.await.expect("a reading");
    }
    let served = nginx.served(requests).await;
    assert_eq!(served.len(), requests);
    assert_eq!(served.iter().map(|served| served.body_bytes).sum::<u64>(), 12 * MB as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_http_2_are_streams_of_one_connection() {
    let file = content(8 * MB);
    let serving = Serving::start(By::Http2, "", &file).await;
    serving.source.plan(vec![0..4 * MB as u64, 4 * MB as u64..8 * MB as u64]);
    assert!(read_all(&*serving.source).await.expect("the file") == file);
    assert!(serving.served().await.len() > 4);
    assert_eq!(serving.connections().await, 1);
}

/// A chunk of 4 KB in every 40 KB, as audio lies between pictures.
async fn read_planned(serving: &Serving, file: &[u8]) {
    let chunks: Vec<_> = (0..100).map(|n| n * 40_000..n * 40_000 + 4_000).collect();
    serving.source.plan(chunks.iter().map(|chunk| chunk.start as u64..chunk.end as u64).collect());
    for chunk in chunks {
        let read = read_exact(&*serving.source, chunk.start, chunk.len()).await.expect("a chunk");
        assert!(read == file[chunk.clone()], "{chunk:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_chunks_come_in_parts_where_nginx_serves_several_ranges() {
    let file = content(4 * MB);
    for by in [By::Http1, By::Http2] {
        let serving = Serving::start(by, "", &file).await;
        read_planned(&serving, &file).await;
        let served = serving.served().await;
        assert!(served.iter().all(|served| served.status == 206), "{by:?}: {served:?}");
        let bytes: u64 = served.iter().map(|served| served.body_bytes).sum();
        // The first 64 KiB, 100 chunks and what stands between parts.
        assert!((400_000..520_000).contains(&bytes), "{by:?}: {bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_chunks_come_one_by_one_where_nginx_serves_one_range() {
    let file = content(4 * MB);
    for by in [By::Http1, By::Http2] {
        let serving = Serving::start(by, "max_ranges 1;", &file).await;
        read_planned(&serving, &file).await;
        let served = serving.served().await;
        let whole = served.iter().filter(|served| served.status == 200).count();
        assert_eq!(whole, 1, "it is asked for several once, and answers all: {by:?}: {served:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_without_length_comes_through_nginx_as_it_arrives() {
    let file = content(MB);
    let (served, gate) = (file.clone(), Arc::new(Notify::new()));
    let opened = Arc::clone(&gate);
    let upstream = Host::start(move |_| {
        let chunked = |reply: Reply, bytes: &[u8]| {
            bytes.chunks(65_000).fold(reply, |reply, chunk| {
                let size = format!("{:x}\r\n", chunk.len()).into_bytes();
                reply.then(Step::Bytes([size.as_slice(), chunk, b"\r\n"].concat()))
            })
        };
        let head = Reply::head(200, &[("transfer-encoding", "chunked")]);
        let half = chunked(head, &served[..MB / 2]).then(Step::Wait(Arc::clone(&gate)));
        chunked(half, &served[MB / 2..]).then(Step::Bytes(b"0\r\n\r\n".to_vec())).then(Step::Close)
    })
    .await;
    let server = format!(
        "location / {{ proxy_pass {}; proxy_http_version 1.1; proxy_buffering off; }}",
        upstream.url("")
    );
    for by in [By::Http1, By::Http2] {
        let serving = Serving::start(by, &server, b"").await;
        let half = read_exact(&*serving.source, 0, MB / 2).await.expect("what was sent");
        assert!(half == file[..MB / 2], "{by:?}");
        assert_eq!(serving.source.known_size(), None, "{by:?}");
        opened.notify_one();
        assert!(read_all(&*serving.source).await.expect("the file") == file, "{by:?}");
        assert_eq!(serving.source.size().await, Ok(MB as u64), "{by:?}");
    }
}
