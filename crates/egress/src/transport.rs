//! A dialled connection as hyper wants it, plain or in TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::client::TlsStream;

use crate::tls::HTTP_2;

/// A connection to a host.
pub(crate) struct Transport {
    stream: Stream,
    written: Written,
    /// Where connections are counted; free again once it is closed.
    _place: Option<OwnedSemaphorePermit>,
}

enum Stream {
    Plain(TokioIo<TcpStream>),
    Secure(Box<TokioIo<TlsStream<TcpStream>>>),
}

/// How many bytes a connection has taken to be sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written(Arc<AtomicU64>);

impl Written {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn count(&self, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = write {
            self.0.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        write
    }
}

impl Transport {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(TokioIo::new(stream)), written: Written::default(), _place: None }
    }

    pub(crate) fn secure(session: TlsStream<TcpStream>) -> Self {
        Self {
            stream: Stream::Secure(Box::new(TokioIo::new(session))),
            written: Written::default(),
            _place: None,
        }
    }

    /// In this place among its host's connections.
    pub(crate) fn at(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Stays readable when the connection has been handed on.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }
}

impl Connection for Transport {
    fn connected(&self) -> Connected {
        match &self.stream {
            Stream::Secure(io) if io.inner().get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                Connected::new().negotiated_h2()
            }
            Stream::Secure(_) | Stream::Plain(_) => Connected::new(),
        }
    }
}

impl Read for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<Result<(), io::Error>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Secure(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, io::Error>> {
        let this = self.get_mut();
        let write = match &mut this.stream {
            Stream::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Secure(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        };
        this.written.count(write)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(io).poll_flush(cx),
            Stream::Secure(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        match &mut self.get_mut().stream {
            Stream::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Secure(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(io) => io.is_write_vectored(),
            Stream::Secure(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<Result<usize, io::Error>> {
        let this = self.get_mut();
        let write = match &mut this.stream {
            Stream::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Secure(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        };
        this.written.count(write)
    }
}
