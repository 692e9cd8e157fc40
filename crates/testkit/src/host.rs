//! A scripted HTTP host on raw TCP: what no well-behaved server would do can be asked of it.
//!
//! A script answers each request with a [`Reply`], a list of steps: bytes, drips, silence, a reset. The host
//! records what it was asked, and tests wait for that instead of sleeping.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// Which request this is of all, from 0.
    pub number: usize,
    /// `GET`, `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// As long as `content-length` says.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of this name, written in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of a `Range: bytes=N-` or `bytes=N-M`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }

    /// The ranges that it asks for of a file of `length` bytes, without those that lie behind its end; `None` where it
    /// asks for none.
    pub fn ranges(&self, length: usize) -> Option<Vec<Range<usize>>> {
        let list = self.header("range")?.strip_prefix("bytes=")?;
        let range = |text: &str| {
            let (first, last) = text.trim().split_once('-')?;
            let first: usize = first.parse().ok()?;
            let end = if last.is_empty() { length } else { last.parse::<usize>().ok()? + 1 };
            Some(first..end.min(length))
        };
        let ranges: Option<Vec<_>> = list.split(',').map(range).collect();
        Some(ranges?.into_iter().filter(|range| range.start < range.end).collect())
    }
}

/// A part of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these.
    Bytes(Vec<u8>),
    /// Sends these again and again, with a pause after each, until the other side goes.
    Forever(Vec<u8>, Duration),
    /// Says nothing until it is told to go on.
    Wait(Arc<Notify>),
    /// Says nothing until the other side goes.
    Hang,
    /// Ends the connection with a reset.
    Reset,
    /// Ends the connection as usual.
    Close,
}

/// An answer. The connection is kept for the next request unless a step ends it.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// Taken one after another.
    pub steps: Vec<Step>,
}

impl Reply {
    /// A complete answer with a `content-length`.
    pub fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        headers.push(("content-length", &length));
        Self::head(status, &headers).then(Step::Bytes(body.to_vec()))
    }

    /// Only the head of an answer; what follows is up to the script.
    pub fn head(status: u16, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self::raw(head.into_bytes())
    }

    /// Bytes that may be anything.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::default().then(Step::Bytes(bytes.into()))
    }

    /// And then this.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// What a host that serves ranges answers for a file: 206 with the bytes that are asked for, in parts if they are
    /// of several ranges; 416 past its end; 200 without a range.
    pub fn file(seen: &Seen, file: &[u8], headers: &[(&str, &str)]) -> Self {
        let Some(ranges) = seen.ranges(file.len()) else { return Self::new(200, headers, file) };
        let mut headers = headers.to_vec();
        match ranges.as_slice() {
            [] => {
                let range = format!("bytes */{}", file.len());
                headers.push(("content-range", &range));
                Self::new(416, &headers, b"")
            }
            [range] => {
                let named = format!("bytes {}-{}/{}", range.start, range.end - 1, file.len());
                headers.push(("content-range", &named));
                Self::new(206, &headers, &file[range.clone()])
            }
            ranges => {
                headers.push(("content-type", "multipart/byteranges; boundary=00000000000000000007"));
                Self::new(206, &headers, &Self::parts(ranges, file))
            }
        }
    }

    /// A body in parts, as nginx writes it.
    pub fn parts(ranges: &[Range<usize>], file: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for range in ranges {
            let head = format!(
                "\r\n--00000000000000000007\r\nContent-Type: video/mp4\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
                range.start,
                range.end - 1,
                file.len()
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(&file[range.clone()]);
        }
        body.extend_from_slice(b"\r\n--00000000000000000007--\r\n");
        body
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A running host; it ends when it is dropped.
pub struct Host {
    /// Where it listens.
    pub address: SocketAddr,
    scheme: &'static str,
    seen: watch::Receiver<Vec<Seen>>,
    listening: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Host {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", None, script).await
    }

    /// Listens here, in TLS if there is an acceptor.
    pub async fn start_at(
        bind: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(bind).await.expect("a free port");
        let address = listener.local_addr().expect("a local address");
        let (sender, seen) = watch::channel(Vec::new());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listening = tokio::spawn(listen(listener, tls, Arc::new(script), Arc::new(sender)));
        Self { address, scheme, seen, listening }
    }

    /// Stops listening; when this returns, the port is closed and so is every connection.
    pub async fn stop(mut self) {
        self.listening.abort();
        // It ends by being cancelled, which is what was asked for.
        let _cancelled = (&mut self.listening).await;
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until so many requests have come, and gives them.
    pub async fn wait_for(&self, requests: usize) -> Vec<Seen> {
        let mut seen = self.seen.clone();
        let seen = seen.wait_for(|seen| seen.len() >= requests).await.expect("a running host");
        seen.clone()
    }
}

async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: Arc<Script>,
    seen: Arc<watch::Sender<Vec<Seen>>>,
) {
    // Connections end with the host: the set aborts them when it is dropped.
    let mut connections = tokio::task::JoinSet::new();
    let count = AtomicUsize::new(0);
    while let Ok((stream, _)) = listener.accept().await {
        let (script, seen, tls) = (Arc::clone(&script), Arc::clone(&seen), tls.clone());
        let connection = count.fetch_add(1, Ordering::Relaxed);
        connections.spawn(async move {
            let wire = match tls {
                None => Wire::Plain(stream),
                Some(tls) => match tls.accept(stream).await {
                    Ok(session) => Wire::Secure(Box::new(session)),
                    Err(_) => return,
                },
            };
            // That the other side goes away is part of many scripts.
            let _gone = serve(wire, connection, &*script, &seen).await;
        });
    }
}

enum Wire {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Wire {
    fn reset(self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.set_zero_linger(),
            Self::Secure(session) => session.get_ref().0.set_zero_linger(),
        }
    }

    fn reader(&mut self) -> &mut (dyn AsyncRead + Unpin + Send) {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(session) => session,
        }
    }

    fn writer(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        match self {
            Self::Plain(stream) => stream,
            Self::Secure(session) => session,
        }
    }
}

async fn serve(
    mut wire: Wire,
    connection: usize,
    script: &Script,
    seen: &watch::Sender<Vec<Seen>>,
) -> io::Result<()> {
    let mut buffered = Vec::new();
    while let Some(mut request) = read_request(&mut wire, &mut buffered, connection).await? {
        seen.send_modify(|all| {
            request.number = all.len();
            all.push(request.clone());
        });
        for step in script(&request).steps {
            match step {
                Step::Bytes(bytes) => write(&mut wire, &bytes).await?,
                Step::Forever(bytes, pause) => loop {
                    write(&mut wire, &bytes).await?;
                    tokio::time::sleep(pause).await;
                },
                Step::Wait(gate) => gate.notified().await,
                Step::Hang => {
                    wire.reader().read_to_end(&mut Vec::new()).await?;
                    return Ok(());
                }
                Step::Reset => return wire.reset(),
                Step::Close => return wire.writer().shutdown().await,
            }
        }
    }
    Ok(())
}

async fn write(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    wire.writer().write_all(bytes).await?;
    wire.writer().flush().await
}

/// The next request of a connection, or `None` when the other side has gone.
async fn read_request(
    wire: &mut Wire,
    buffered: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Seen>> {
    let head_end = loop {
        if let Some(at) = buffered.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if wire.reader().read_buf(buffered).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffered[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut seen = Seen { connection, number: 0, method, target, headers, body: Vec::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while buffered.len() < head_end + length {
        if wire.reader().read_buf(buffered).await? == 0 {
            return Ok(None);
        }
    }
    seen.body = buffered[head_end..head_end + length].to_vec();
    buffered.drain(..head_end + length);
    Ok(Some(seen))
}
