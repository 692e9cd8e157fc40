//! Hosts that speak HTTP/2 and break off. What they may send beside answers is in [`crate::http2_frames`].

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domain::SendError;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use testkit::host::{Host, Reply};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::kit::{content, open_with, read_all, read_exact};
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
    /// Nor in any other, or of the connection.
    Death,
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
        if matches!(self.how, Break::Death) {
            // Open, and nobody turns it.
            std::future::pending().await
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
                Break::GoAway | Break::Cut | Break::Death => over.notify_one(),
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
        Break::Death,
    ] {
        let authority = Authority::new();
        let file = content(2 * MB);
        let from = MB;
        let (arrived, asked) = (Notify::new(), Mutex::new(Vec::new()));
        let host = Arc::new(Breaking { file: file.clone(), from, how, arrived, asked });
        let serving = Arc::clone(&host);
        let url = listen(&authority, move |session| Arc::clone(&serving).serve(session)).await;
        let mut config = authority.trusted();
        // That a stream is too slow is what shows that it is silent, and nothing else.
        let (soon, never) = (Duration::from_millis(300), Duration::from_secs(3600));
        config.source.stall_window = if matches!(how, Break::Silence) { soon } else { never };
        config.source.ping_interval = if matches!(how, Break::Death) { soon } else { never };
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
