//! A host of sources: one tiny recording, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::Outcome;

const RECORDING: &str = "/tiny.wav";
const SAMPLE_RATE: u32 = 8_000;
/// A fifth of a second.
const SAMPLES: u32 = SAMPLE_RATE / 5;

/// The running host; it ends when it is dropped.
pub(crate) struct Sources {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Drop for Sources {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Sources {
    pub(crate) async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { address, listening: tokio::spawn(listen(listener)) })
    }

    /// What becomes audio.
    pub(crate) fn recording(&self) -> String {
        format!("http://{}{RECORDING}", self.address)
    }

    /// What is not there.
    pub(crate) fn missing(&self) -> String {
        format!("http://{}/missing.mp4", self.address)
    }
}

async fn listen(listener: TcpListener) {
    let recording = Bytes::from(recording());
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let recording = recording.clone();
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&request, &recording);
                async { Ok::<_, Infallible>(answer) }
            });
            // That the other side goes away is its right.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn answer(request: &Request<Incoming>, recording: &Bytes) -> Response<Full<Bytes>> {
    let is_there = request.uri().path() == RECORDING;
    let body = if is_there { recording.clone() } else { Bytes::new() };
    let mut answer = Response::new(Full::new(body));
    if !is_there {
        *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
    }
    answer
}

/// A square wave as a wav of 16 bits and one channel.
fn recording() -> Vec<u8> {
    let bytes = SAMPLES * 2;
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // PCM, mono.
    wav.extend([1, 0, 1, 0]);
    wav.extend(SAMPLE_RATE.to_le_bytes());
    wav.extend((SAMPLE_RATE * 2).to_le_bytes());
    // Bytes and bits a sample.
    wav.extend([2, 0, 16, 0]);
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    for sample in 0..SAMPLES {
        wav.extend(if sample / 9 % 2 == 0 { 8_000_i16 } else { -8_000 }.to_le_bytes());
    }
    wav
}
