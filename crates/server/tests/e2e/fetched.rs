//! What a job's source has cost is told: in status, by the command line, and summed in the metrics.

use serde_json::{Value, json};
use testkit::host::{Host, Reply};
use testkit::samples::sample;

use crate::app::TestApp;

/// A host of one file.
async fn host_of(file: Vec<u8>) -> Host {
    Host::start(move |seen| Reply::file(seen, &file, &[("etag", "\"v1\"")])).await
}

/// A counter of `/metrics`; one that never rose is not there.
async fn counter(app: &TestApp, name: &str) -> u64 {
    let answer = app.get("/metrics").send().await.expect("an answer");
    let text = answer.text().await.expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a number"))
}

async fn run(app: &TestApp, host: &Host) -> Value {
    let url = host.url("/talk.wav");
    let job = app.submit(&json!({"source": {"type": "url", "url": url}, "output": {"format": "wav"}})).await;
    app.wait_for_end(&job).await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metrics_say_what_was_transferred() {
    let app = TestApp::start().await;
    let file = tokio::task::spawn_blocking(|| std::fs::read(sample("sound.wav")).expect("a sample")).await;
    let file = file.expect("a sample");
    let size = file.len() as u64;
    let host = host_of(file).await;
    let status = run(&app, &host).await;
    let requests = host.seen().len() as u64;
    assert_eq!(status["status"], "completed");
    let input = &status["inputFile"];
    assert_eq!(
        (&input["fetched"], &input["requests"], &input["size"]),
        (&json!(size), &json!(requests), &json!(size)),
        "{status}"
    );

    assert_eq!(counter(&app, "audio_extract_source_bytes_total").await, size);

    // One that is given up counts too, and is no saving.
    let other = host_of(vec![b'x'; 100_000]).await;
    let status = run(&app, &other).await;
    assert_eq!((&status["status"], &status["error"]["code"]), (&json!("failed"), &json!("INVALID_VIDEO")));
    assert_eq!(status["inputFile"], Value::Null, "{status}");
    let fetched = counter(&app, "audio_extract_source_bytes_total").await - size;
    assert!((65_536..=100_000).contains(&fetched), "{status}");

    assert_eq!(
        counter(&app, "audio_extract_source_requests_total").await,
        requests + other.seen().len() as u64
    );
    assert_eq!(counter(&app, "audio_extract_source_size_bytes_total").await, size);
    app.stop().await;
}
