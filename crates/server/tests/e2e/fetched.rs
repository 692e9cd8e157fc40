//! What a job's source has cost is told: in status, by the command line, and summed in the metrics.

use serde_json::{Value, json};
use testkit::host::{Host, Reply, Step};
use testkit::nginx::Nginx;
use testkit::samples::sample;

use crate::app::{Options, TestApp};

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

    assert_eq!(counter(&app, "audio_extract_source_requests_total").await, requests);
    assert_eq!(counter(&app, "audio_extract_source_size_bytes_total").await, size);
    app.stop().await;
}

/// A whole answer that breaks off.
fn broken() -> Reply {
    Reply::head(200, &[("content-length", "100000")]).then(Step::Bytes(vec![b'#'; 1000])).then(Step::Close)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_has_cost_is_told_of_one_that_failed_too_and_is_no_saving() {
    let app =
        TestApp::start_with(Options::default().with("SOURCE_RETRIES", "0").with("MAX_ATTEMPTS", "1")).await;
    let hosts = [
        (
            "a missing file",
            Host::start(|_| Reply::new(404, &[], b"not here")).await,
            "DOWNLOAD_FAILED",
            0..=0,
        ),
        ("one that breaks off", Host::start(|_| broken()).await, "DOWNLOAD_FAILED", 1000..=1000),
        ("no media", host_of(vec![b'x'; 100_000]).await, "INVALID_VIDEO", 65_536..=100_000),
        ("a playlist of nothing", host_of(b"#EXTM3U\n".to_vec()).await, "INVALID_VIDEO", 8..=8),
    ];
    let (mut bytes, mut requests) = (0, 0);
    for (case, host, code, expected) in hosts {
        let status = run(&app, &host).await;
        assert_eq!(status["error"]["code"], code, "{case}: {status}");
        let fetched = status["inputFile"]["fetched"].as_u64().expect("a number");
        let asked = host.seen().len();
        assert_eq!(
            status["inputFile"],
            json!({"name": "talk.wav", "fetched": fetched, "requests": asked}),
            "{case}"
        );
        assert!(asked > 0 && expected.contains(&fetched), "{case}: {status}");
        (bytes, requests) = (bytes + fetched, requests + asked as u64);
        assert_eq!(counter(&app, "audio_extract_source_bytes_total").await, bytes, "{case}");
        assert_eq!(counter(&app, "audio_extract_source_requests_total").await, requests, "{case}");
    }
    assert_eq!(counter(&app, "audio_extract_source_size_bytes_total").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_late_part_of_a_long_mp4_only_that_is_transferred() {
    let app = TestApp::start().await;
    let file = tokio::task::spawn_blocking(|| std::fs::read(sample("long.mp4")).expect("a sample")).await;
    let file = file.expect("a sample");
    let nginx = Nginx::start("", "", &[("long.mp4", &file)]);
    let source = json!({"type": "url", "url": format!("http://{}/long.mp4", nginx.address)});
    let output = json!({"format": "wav", "start": 30, "end": 34});
    let status = app.wait_for_end(&app.submit(&json!({"source": source, "output": output})).await).await;
    assert_eq!(status["outputFile"]["duration"], 4.0, "{status}");

    let number = |name: &str| status["inputFile"][name].as_u64().expect("a number");
    let served = nginx.served(usize::try_from(number("requests")).expect("a number")).await;
    let sent: u64 = served.iter().map(|served| served.body_bytes).sum();
    assert_eq!(sent, number("fetched"), "{served:?}");
    // The first 64 KiB, what is read before there is a plan, four seconds at 128 kbit/s, one to run in, and what stands
    // between parts. Read from its beginning, the sound alone would be 34 seconds, and the picture a hundred times that.
    let (part, until_then) = (4 * 16_000, 34 * 16_000);
    assert!((65_536 + part..until_then * 3 / 4).contains(&sent), "{sent}: {served:?}");
    app.stop().await;
}
