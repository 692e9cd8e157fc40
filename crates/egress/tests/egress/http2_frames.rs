//! What HTTP/2 has beside requests and answers, frame by frame: hosts that abuse it, and farewells.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use domain::Retry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http2::{Session, head_of, listen, range_of};
use crate::kit::{content, details, failure_of, open_with, read_all};
use crate::tls::Authority;

/// A frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// `:status: 200`, and `:status: 100` spelled out, in HPACK (RFC 7541).
const STATUS_200: &[u8] = &[0x88];
const STATUS_100: &[u8] = &[0x08, 0x03, b'1', b'0', b'0'];

/// Waits for a request, and sends these bytes: once, or again and again until the other side has enough.
async fn send_raw(mut session: Session, first: Vec<u8>, again: Vec<u8>) {
    let settings = frame(4, 0, 0, &[]);
    if session.write_all(&settings).await.is_err() {
        return;
    }
    let mut preface = [0; 24];
    let mut head = [0; 9];
    if session.read_exact(&mut preface).await.is_err() {
        return;
    }
    while head[3] != HEADERS {
        if session.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if session.read_exact(&mut payload).await.is_err() {
            return;
        }
    }
    let (mut reader, mut writer) = tokio::io::split(session);
    let taken =
        async { while reader.read_buf(&mut Vec::with_capacity(4096)).await.is_ok_and(|read| read > 0) {} };
    let sent = async {
        let mut bytes = first;
        while writer.write_all(&bytes).await.is_ok() && writer.flush().await.is_ok() {
            if again.is_empty() {
                std::future::pending::<()>().await;
            }
            bytes.clone_from(&again);
        }
    };
    tokio::select! {
        () = taken => {}
        () = sent => {}
    }
}

#[tokio::test]
async fn what_http_2_lets_a_host_send_without_end_is_bounded() {
    // A header that is not kept in the table: `x: ` and 1000 letters.
    let header = [&[0x00, 0x01, b'x', 0x7f, 0xe9, 0x06], [b'x'; 1000].as_slice()].concat();
    let many = header.repeat(16);
    let empty = frame(CONTINUATION, 0, 1, &[]);
    type Case = (&'static str, Vec<u8>, Vec<u8>, &'static str);
    let cases: [Case; 7] = [
        (
            "continuations without end",
            frame(HEADERS, 0, 1, STATUS_200),
            frame(CONTINUATION, 0, 1, &many),
            "not HTTP",
        ),
        ("empty continuations without end", frame(HEADERS, 0, 1, STATUS_200), empty, "not HTTP"),
        (
            "a head that is too large",
            [frame(HEADERS, 0, 1, STATUS_200), frame(CONTINUATION, 0, 1, &many).repeat(4)].concat(),
            frame(CONTINUATION, END_HEADERS, 1, &many),
            "not HTTP",
        ),
        (
            "an answer that was not asked for",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], STATUS_200].concat()),
            Vec::new(),
            "not HTTP",
        ),
        ("no HTTP/2", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".to_vec(), Vec::new(), "not HTTP"),
        (
            "interim answers without end",
            Vec::new(),
            frame(HEADERS, END_HEADERS, 1, STATUS_100),
            "did not answer",
        ),
        ("nothing but a farewell", frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]), Vec::new(), "closed"),
    ];
    for (case, first, again, told) in cases {
        let authority = Authority::new();
        let url = listen(&authority, move |session| send_raw(session, first.clone(), again.clone())).await;
        let mut config = authority.trusted();
        config.source.retries = 1;
        config.source.connect_timeout = std::time::Duration::from_millis(500);
        config.source.first_byte_timeout = std::time::Duration::from_millis(500);
        let failure = failure_of(config, &url).await;
        assert!(details(&failure).contains(told), "{case}: {failure}; {:?}", failure.private);
        assert_eq!(failure.retry == Retry::Never, told == "not HTTP", "{case}");
    }
}

/// Serves one file by range, and counts the requests.
async fn serve(session: Session, file: Arc<Vec<u8>>, asked: Arc<AtomicUsize>) {
    let Ok(mut connection) = h2::server::handshake(session).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        asked.fetch_add(1, Ordering::Relaxed);
        let range = range_of(&request, file.len());
        let mut stream = respond.send_response(head_of(range.clone(), file.len()), false).expect("a stream");
        stream.send_data(Bytes::copy_from_slice(&file[range]), true).expect("a stream");
    }
}

#[tokio::test]
async fn what_a_host_has_not_looked_at_is_asked_for_again_and_counts_once() {
    let (authority, file) = (Authority::new(), Arc::new(content(1 << 20)));
    let (served, asked, opened) = (Arc::clone(&file), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let url = listen(&authority, move |session| {
        let (served, counted) = (Arc::clone(&served), Arc::clone(&counted));
        let is_leaving = opened.fetch_add(1, Ordering::Relaxed) < 5;
        async move {
            if is_leaving {
                // The last stream that it has looked at: none. And for no error.
                send_raw(session, frame(GOAWAY, 0, 0, &[0; 8]), Vec::new()).await;
            } else {
                serve(session, served, counted).await;
            }
        }
    })
    .await;
    let mut config = authority.trusted();
    config.source.retries = 0;
    let source = open_with(config, &url).await.expect("a source");
    assert!(read_all(&*source).await.expect("the file") == *file);
    assert_eq!(source.fetched().requests, asked.load(Ordering::Relaxed) as u64);
}
