//! Hosts without ranges: what they send is extracted while it arrives.

use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use axum::routing::get;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use testkit::host::{Host, Reply, Step};
use testkit::samples::sample;
use tokio::sync::Semaphore;
use tower_http::services::ServeDir;

use crate::app::{Options, TestApp};
use crate::files::FileHost;

/// One of each kind that can be heard before its end.
const SAMPLES: [&str; 12] = [
    "faststart.mp4",
    "fragments.mp4",
    "aac.mkv",
    "opus.webm",
    "wide.avi",
    "long.ts",
    "long.flv",
    "sound.mp3",
    "sound.aac",
    "sound.ogg",
    "sound.flac",
    "sound.wav",
];

/// Serves a folder in three ways: under `/ranged` as most hosts do; under `/sized` and `/chunked` from the first byte to
/// the last whatever is asked for, and what comes behind three fifths of a file waits for the gate.
async fn host_of(folder: &FilePath, gate: Arc<Semaphore>) -> FileHost {
    let held = folder.to_owned();
    let held = move |Path((way, name)): Path<(String, String)>| {
        let (path, gate) = (held.join(name), Arc::clone(&gate));
        async move {
            let mut first = Bytes::from(tokio::fs::read(path).await.expect("a sample"));
            let mut headers = HeaderMap::new();
            if way == "sized" {
                headers.insert(CONTENT_LENGTH, first.len().into());
            }
            let rest = first.split_off(first.len() * 3 / 5);
            let rest = futures_util::stream::once(async move {
                drop(gate.acquire().await.expect("the gate"));
                rest
            });
            let pieces = futures_util::stream::iter([first]).chain(rest);
            (headers, Body::from_stream(pieces.map(Ok::<_, std::io::Error>)))
        }
    };
    let routes =
        Router::new().nest_service("/ranged", ServeDir::new(folder)).route("/{way}/{name}", get(held));
    FileHost::serving(routes).await
}

fn to_wav(url: String) -> Value {
    json!({"source": {"type": "url", "url": url}, "output": {"format": "wav"}})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_without_ranges_sends_is_extracted_while_it_arrives() {
    let made = tokio::task::spawn_blocking(|| SAMPLES.map(sample)).await.expect("the samples");
    let gate = Arc::new(Semaphore::new(0));
    let host = host_of(made[0].parent().expect("a folder"), Arc::clone(&gate)).await;
    let app = TestApp::start_with(Options::default().with("WORKERS", (2 * SAMPLES.len()).to_string())).await;
    let mut jobs = Vec::new();
    for name in SAMPLES {
        for way in ["sized", "chunked"] {
            jobs.push((name, way, app.submit(&to_wav(host.url(&format!("{way}/{name}")))).await));
        }
    }
    // None has its last bytes yet.
    for (name, way, job) in &jobs {
        let status = app
            .wait_until(job, |status| {
                status["currentStep"] == "extracting_audio" || status["status"] != "processing"
            })
            .await;
        assert_eq!(status["status"], "processing", "{name}, {way}: {status}");
    }
    gate.add_permits(1);
    for (name, way, job) in &jobs {
        let status = app.wait_for_end(job).await;
        assert_eq!(status["status"], "completed", "{name}, {way}: {status}");
        let plain = app.submit(&to_wav(host.url(&format!("ranged/{name}")))).await;
        app.wait_for_end(&plain).await;
        assert!(app.download(job).await == app.download(&plain).await, "{name}, {way}: other sound");
    }
    app.stop().await;
}

/// The head of an answer whose length is not said, and all of its body.
fn chunked(bytes: &[u8]) -> Reply {
    let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n0\r\n\r\n"].concat();
    Reply::head(200, &[("transfer-encoding", "chunked")]).then(Step::Bytes(chunk))
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_file_is_not_taken_for_one_whose_length_was_said() {
    let app = TestApp::start().await;
    for name in ["faststart.mp4", "long.ts", "sound.mp3"] {
        let file = tokio::task::spawn_blocking(move || std::fs::read(sample(name)).expect("a sample")).await;
        let file = file.expect("a sample");
        let host = Host::start(move |seen| match seen.number {
            0 => Reply::file(seen, &file, &[]),
            _ => chunked(&file[..file.len() / 2]),
        })
        .await;
        let status = app.wait_for_end(&app.submit(&to_wav(host.url(&format!("/{name}")))).await).await;
        assert!(host.seen().len() > 1, "{name}: it was read at once");
        assert_eq!(
            (&status["error"]["code"], &status["error"]["details"]),
            (&json!("DOWNLOAD_FAILED"), &json!("it changed while being read")),
            "{name}: {status}"
        );
    }
    app.stop().await;
}
