//! Hosts that speak HTTP/2 and break off, or abuse what HTTP/2 has beside requests and answers.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use domain::{Retry, SendError};
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use testkit::host::{Host, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::kit::{content, details, failure_of, open_with, read_all, read_exact};
use crate::notify::post_with;
use crate::tls::Authority;

const MB: usize = 1 << 20;

impl Authority {
    /// A host's side of TLS that speaks these protocols.
    fn speaking(&self, protocols: &[&[u8]]) -> TlsAcceptor {
        let mut config = self.server(&["127.0.0.1"]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(crate) type Session = TlsStream<TcpStream>;

/// Listens in TLS for HTTP/2, and has each connection served by this until the test ends.
pub(crate) async fn listen<F: Future<Output = ()> + Send + 'static>(
    authority: &Authority,
    serve: impl Fn(Session) -> F + Send + 'static,
) -> String {
    let acceptor = authority.speaking(&[b"h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(session) = acceptor.accept(stream).await {
                tokio::spawn(serve(session));
            }
        }
    });
    format!("https://{address}/v")
}

/// The one range that is asked for of a file of so many bytes.
pub(crate) fn range_of(request: &Request<h2::RecvStream>, length: usize) -> Range<usize> {
    let range = request.headers()["range"].to_str().expect("a range").trim_start_matches("bytes=");
    let (first, last) = range.split_once('-').expect("a range");
    let end = (last.parse::<usize>().expect("one range") + 1).min(length);
    first.parse().expect("a number")..end
}

/// The head of the answer.
pub(crate) fn head_of(range: Range<usize>, length: usize) -> Response<()> {
    let head = Response::builder()
        .status(206)
        .header("etag", "\"v1\"")
        .header("content-range", format!("bytes {}-{}/{length}", range.start, range.end - 1));
    head.body(()).expect("a head")
}

/// How a host breaks off within an answer.
#[derive(Debug, Clone, Copy)]
enum Break {
    /// The stream, for its own reasons.
    Reset(h2::Reason),
    /// The connection, with a word.
    GoAway,
    /// The connection, without one.
    Cut,
    /// It says nothing more in this stream, which it leaves open.
    Silence,
}

/// Serves one file by range. The first answer to a range that begins at or behind `from` stops half-way, until
/// `arrived` says that this half is there, and then breaks off.
struct Breaking {
    file: Vec<u8>,
    from: usize,
    how: Break,
    arrived: Notify,
    /// The ranges that were asked for, each with the bytes that were sent of it.
    asked: Mutex<Vec<(usize, usize)>>,
}

impl Breaking {
    async fn serve(self: Arc<Self>, session: Session) {
        let Ok(mut connection) = h2::server::handshake(session).await else { return };
        let over = Arc::new(Notify::new());
        loop {
            let accepted = tokio::select! {
                accepted = connection.accept() => accepted,
                () = over.notified() => return self.break_off(connection).await,
            };
            let Some(Ok((request, respond))) = accepted else { return };
            let (this, over) = (Arc::clone(&self), Arc::clone(&over));
            tokio::spawn(async move { this.answer(&request, respond, &over).await });
        }
    }

    async fn break_off(&self, mut connection: Connection<Session, Bytes>) {
        if matches!(self.how, Break::GoAway) {
            connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
            while connection.accept().await.is_some() {}
        }
    }

    async fn answer(
        &self,
        request: &Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
        over: &Notify,
    ) {
        let Range { start: first, end } = range_of(request, self.file.len());
        let breaks =
            first >= self.from && !self.asked.lock().expect("a list").iter().any(|(at, _)| *at >= self.from);
        let sent = if breaks { (end - first) / 2 } else { end - first };
        self.asked.lock().expect("a list").push((first, sent));
        let head = head_of(first..end, self.file.len());
        let mut stream = respond.send_response(head, false).expect("a stream");
        let bytes = Bytes::copy_from_slice(&self.file[first..first + sent]);
        stream.send_data(bytes, !breaks).expect("a stream");
        if breaks {
            self.arrived.notified().await;
            match self.how {
                Break::Reset(reason) => stream.send_reset(reason),
                Break::GoAway | Break::Cut => over.notify_one(),
                Break::Silence => std::future::pending().await,
            }
        }
    }
}

#[tokio::test]
async fn what_breaks_off_is_resumed_from_the_byte_reached() {
    for how in [
        Break::Reset(h2::Reason::INTERNAL_ERROR),
        Break::Reset(h2::Reason::REFUSED_STREAM),
        Break::Reset(h2::Reason::NO_ERROR),
        Break::GoAway,
        Break::Cut,
        Break::Silence,
    ] {
        let authority = Authority::new();
        let file = content(2 * MB);
        let from = MB;
        let (arrived, asked) = (Notify::new(), Mutex::new(Vec::new()));
        let host = Arc::new(Breaking { file: file.clone(), from, how, arrived, asked });
        let serving = Arc::clone(&host);
        let url = listen(&authority, move |session| Arc::clone(&serving).serve(session)).await;
        let mut config = authority.trusted();
        config.source.stall_window = std::time::Duration::from_millis(300);
        let source = open_with(config, &url).await.expect("a source");
        let mut read = Vec::new();
        let half = loop {
            let breaking = host.asked.lock().expect("a list").iter().find(|(at, _)| *at >= from).copied();
            match breaking {
                Some((at, sent)) => break at + sent,
                None => read.extend(source.read_at(read.len() as u64, 16_384).await.expect("bytes")),
            }
        };
        read.extend(read_exact(&*source, read.len(), half - read.len()).await.expect("the first half"));
        host.arrived.notify_one();
        read.extend(read_exact(&*source, half, file.len() - half).await.expect("the rest"));
        assert!(read == file, "{how:?}");
        assert_eq!(source.fetched().bytes, file.len() as u64, "{how:?}: nothing is fetched twice");
    }
}

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

#[tokio::test]
async fn each_side_is_heard_about_the_version() {
    let authority = Authority::new();
    for (protocols, is_read) in
        [(&[b"http/1.1".as_slice()][..], true), (&[], true), (&[b"h2".as_slice(), b"http/1.1"], false)]
    {
        let script = |seen: &testkit::host::Seen| Reply::file(seen, b"the file", &[]);
        // It speaks HTTP/1.1, whatever it says.
        let host = Host::start_at("127.0.0.1:0", Some(authority.speaking(protocols)), script).await;
        let mut config = authority.trusted();
        config.source.retries = 0;
        match open_with(config.clone(), &host.url("/")).await {
            Ok(source) => {
                assert!(is_read);
                assert_eq!(read_all(&*source).await, Ok(b"the file".to_vec()));
            }
            Err(failure) => assert!(!is_read, "{failure}"),
        }
        // Webhooks never offer HTTP/2, so the same host is well for them.
        let posted = post_with(&crate::kit::egress(config), &host.url("/hook"), 1).await;
        assert!(posted.error != Some(SendError::Tls) && posted.status.is_some(), "{posted:?}");
    }
}
