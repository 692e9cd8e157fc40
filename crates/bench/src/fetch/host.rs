//! A host at the other end of a slow link: a set round trip before each answer, a set rate for each connection.
//!
//! Plain threads, because they sleep to a tenth of a millisecond, and a runtime's timer only to a whole one. What is
//! counted is what was written; the send buffer is small, so that little of that can be on its way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use crate::Outcome;

/// Written at once: at 4 MB/s, 4 ms.
const STEP_BYTES: usize = 16 << 10;
const SEND_BUFFER_BYTES: usize = 32 << 10;
const MOST_HEAD_BYTES: usize = 64 << 10;
const BOUNDARY: &str = "00000000000000000042";

/// The way to the host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) round_trip: Duration,
    /// Of each connection.
    pub(super) bytes_per_sec: f64,
}

impl Link {
    /// As quick as this machine.
    pub(super) const NONE: Self = Self { round_trip: Duration::ZERO, bytes_per_sec: f64::INFINITY };
}

/// What the host makes of the header `Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ranges {
    /// Serves several in one answer.
    Several,
    /// Serves one; of several it knows nothing, and sends the whole file.
    Single,
}

/// What a client has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// Of bodies, with what stands between parts.
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// The most at once.
    pub(super) connections: u64,
}

impl Counted {
    /// Of each, the larger.
    pub(super) fn most(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.max(other.bytes),
            requests: self.requests.max(other.requests),
            connections: self.connections.max(other.connections),
        }
    }
}

struct Served {
    file: File,
    length: u64,
    link: Link,
    ranges: Ranges,
    bytes: AtomicU64,
    requests: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
    most_open: AtomicU64,
    is_over: AtomicBool,
}

/// A running host of one file; it takes no more connections when it is dropped.
pub(super) struct Host {
    address: SocketAddr,
    served: Arc<Served>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.served.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections; if it has gone, there is nobody to wake.
        let _ = TcpStream::connect(self.address);
    }
}

impl Host {
    pub(super) fn start(file: &Path, link: Link, ranges: Ranges) -> Outcome<Self> {
        let file = File::open(file)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        setsockopt(&listener, sockopt::SndBuf, &SEND_BUFFER_BYTES)?;
        let address = listener.local_addr()?;
        let served = Arc::new(Served {
            length: file.metadata()?.len(),
            file,
            link,
            ranges,
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
            most_open: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&served);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let serving = Arc::clone(&serving);
                serving.opened(&stream);
                // That the other side goes away is its right.
                thread::spawn(move || serving.converse(stream));
            }
        });
        Ok(Self { address, served })
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            bytes: self.served.bytes.load(Ordering::SeqCst),
            requests: self.served.requests.load(Ordering::SeqCst),
            connections: self.served.most_open.load(Ordering::SeqCst),
        }
    }
}

impl Served {
    /// Counts the connections that the other side has not closed.
    fn opened(&self, stream: &TcpStream) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|stream| !is_closed(stream));
        open.extend(stream.try_clone());
        self.most_open.fetch_max(open.len() as u64, Ordering::SeqCst);
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // The handshake.
        thread::sleep(self.link.round_trip);
        let mut arrived = Vec::new();
        while let Some(head) = read_head(&mut stream, &mut arrived)? {
            let asked = Instant::now();
            self.requests.fetch_add(1, Ordering::SeqCst);
            let answer = Answer::to(&head, self.length, self.ranges);
            sleep_until(asked + self.link.round_trip);
            stream.write_all(answer.head.as_bytes())?;
            self.send(&mut stream, &answer.body)?;
        }
        stream.shutdown(Shutdown::Both)
    }

    /// Each step is written when its last byte would be there.
    fn send(&self, stream: &mut TcpStream, body: &[Piece]) -> io::Result<()> {
        let (begun, mut sent, mut step) = (Instant::now(), 0_u64, Vec::with_capacity(STEP_BYTES));
        let mut write = |step: &mut Vec<u8>| {
            sent += step.len() as u64;
            sleep_until(begun + Duration::from_secs_f64(sent as f64 / self.link.bytes_per_sec));
            stream.write_all(step)?;
            self.bytes.fetch_add(step.len() as u64, Ordering::SeqCst);
            step.clear();
            io::Result::Ok(())
        };
        for piece in body {
            let mut at = 0;
            while at < piece.len() {
                let room =
                    (STEP_BYTES - step.len()).min(usize::try_from(piece.len() - at).unwrap_or(usize::MAX));
                piece.append(at, room, &self.file, &mut step)?;
                at += room as u64;
                if step.len() == STEP_BYTES {
                    write(&mut step)?;
                }
            }
        }
        if step.is_empty() { Ok(()) } else { write(&mut step) }
    }
}

/// Whether the other side has closed it, which a thread that sleeps has not noticed yet.
fn is_closed(stream: &TcpStream) -> bool {
    let looked = recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
    !matches!(looked, Ok(1) | Err(nix::errno::Errno::EAGAIN))
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// The next request's head; `None` when the other side has gone.
fn read_head(stream: &mut TcpStream, arrived: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = arrived.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = arrived.drain(..end + 4).collect();
            return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            _ if arrived.len() > MOST_HEAD_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            count => arrived.extend_from_slice(&piece[..count]),
        }
    }
}

/// A stretch of a body.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    File(Range<u64>),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(range) => range.end - range.start,
        }
    }

    fn append(&self, at: u64, count: usize, file: &File, step: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Text(text) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                step.extend_from_slice(text.as_bytes().get(at..at + count).unwrap_or_default());
                Ok(())
            }
            Self::File(range) => {
                let filled = step.len();
                step.resize(filled + count, 0);
                file.read_exact_at(&mut step[filled..], range.start + at)
            }
        }
    }
}

struct Answer {
    head: String,
    body: Vec<Piece>,
}

impl Answer {
    fn to(head: &str, length: u64, ranges: Ranges) -> Self {
        let asked = asked(head, length).filter(|asked| asked.len() == 1 || ranges == Ranges::Several);
        let named = |range: &Range<u64>| {
            format!("Content-Range: bytes {}-{}/{length}\r\n", range.start, range.end - 1)
        };
        let (status, headers, body) = match asked.as_deref() {
            None => ("200 OK", String::new(), vec![Piece::File(0..length)]),
            Some([]) => {
                ("416 Range Not Satisfiable", format!("Content-Range: bytes */{length}\r\n"), Vec::new())
            }
            Some([range]) => ("206 Partial Content", named(range), vec![Piece::File(range.clone())]),
            Some(ranges) => {
                let part = |range: &Range<u64>| {
                    let head = format!("\r\n--{BOUNDARY}\r\nContent-Type: video/mp4\r\n{}\r\n", named(range));
                    [Piece::Text(head), Piece::File(range.clone())]
                };
                let mut body: Vec<Piece> = ranges.iter().flat_map(part).collect();
                body.push(Piece::Text(format!("\r\n--{BOUNDARY}--\r\n")));
                let kind = format!("Content-Type: multipart/byteranges; boundary={BOUNDARY}\r\n");
                ("206 Partial Content", kind, body)
            }
        };
        let bytes: u64 = body.iter().map(Piece::len).sum();
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: {bytes}\r\n{headers}\r\n"
        );
        Self { head, body }
    }
}

/// The ranges that a request asks for, without those behind the end; `None` where it asks for the whole.
fn asked(head: &str, length: u64) -> Option<Vec<Range<u64>>> {
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim())
    })?;
    let range = |text: &str| {
        let (first, last) = text.trim().split_once('-')?;
        let first: u64 = first.parse().ok()?;
        let end = if last.is_empty() { length } else { last.parse::<u64>().ok()? + 1 };
        Some(first..end.min(length))
    };
    let ranges: Option<Vec<_>> = value.strip_prefix("bytes=")?.split(',').map(range).collect();
    Some(ranges?.into_iter().filter(|range| range.start < range.end).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(range: &str, ranges: Ranges) -> (String, Vec<Piece>) {
        let Answer { head, body } =
            Answer::to(&format!("GET / HTTP/1.1\r\nrange: {range}\r\n\r\n"), 100, ranges);
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    #[test]
    fn ranges_are_served_as_the_host_can() {
        let partial = || "HTTP/1.1 206 Partial Content".to_owned();
        assert_eq!(answer("bytes=10-19", Ranges::Single), (partial(), vec![Piece::File(10..20)]));
        assert_eq!(answer("bytes=90-", Ranges::Several), (partial(), vec![Piece::File(90..100)]));
        assert_eq!(answer("bytes=100-", Ranges::Several).0, "HTTP/1.1 416 Range Not Satisfiable");
        assert_eq!(answer("bytes=1-2,5-6", Ranges::Single).1, [Piece::File(0..100)]);
        let (status, body) = answer("bytes=1-2,5-6", Ranges::Several);
        assert_eq!((status, body.len(), &body[3]), (partial(), 5, &Piece::File(5..7)));
    }
}
