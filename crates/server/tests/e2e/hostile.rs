//! Bad inputs: each gets its code and a message that helps, and the service is afterwards what it was before.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use serde_json::{Value, json};
use testkit::host::{Host, Reply};

use crate::app::{Options, PATIENCE, TestApp, json};
use crate::files::FileHost;

const SAMPLES: [&str; 8] = [
    "faststart.mp4",
    "no-audio.mp4",
    "truncated-faststart.mp4",
    "noise.mp4",
    "empty.mp4",
    "page.mp4",
    "playlist.mp4",
    "concat.mp4",
];

/// What a bad input is, and how it must end.
struct Case {
    name: &'static str,
    body: Value,
    end: End,
}

enum End {
    /// Refused at once: HTTP status, code, and a part of `details`.
    Refused(u16, &'static str, &'static str),
    /// Accepted, then failed: code, and a part of `message` or `details`.
    Failed(&'static str, &'static str),
}

fn source(url: &str) -> Value {
    json!({"source": {"type": "url", "url": url}, "output": {"format": "mp3"}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = json!({"source": {"type": "url", "url": "https://media.example/v.mp4"}, "output": {"format": "mp3"}, "options": {}});
    let (parent, field) = pointer.rsplit_once('/').expect("a path");
    body.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("an object")
        .insert(field.to_owned(), value);
    body
}

/// Hosts that misbehave.
fn bad_host() -> Router {
    let endless = || async {
        // An mp4 whose media data never ends, so that its index is never reached.
        let head = Bytes::from_static(
            b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\x01mdat\0\0\x7f\xff\xff\xff\xff\xff",
        );
        let noise = Bytes::from(vec![0x5a; 64 * 1024]);
        let pieces = futures_util::stream::unfold(0_u64, move |count| {
            let piece = if count == 0 { head.clone() } else { noise.clone() };
            async move { Some((Ok::<_, Infallible>(piece), count + 1)) }
        });
        Body::from_stream(pieces).into_response()
    };
    let stalls = || async {
        let pieces = futures_util::stream::unfold(false, |has_begun| async move {
            if has_begun {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, Infallible>(Bytes::from_static(b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2")), true))
        });
        Body::from_stream(pieces).into_response()
    };
    Router::new()
        .route("/endless.mp4", get(endless))
        .route("/stalls.mp4", get(stalls))
        .route("/forbidden.mp4", get(|| async { StatusCode::FORBIDDEN }))
        .route("/to-private.mp4", get(|| async { Redirect::temporary("http://10.0.0.1/video.mp4") }))
        .route(
            "/to-metadata.mp4",
            get(|| async { Redirect::temporary("http://169.254.169.254/latest/meta-data/") }),
        )
        .route("/to-file.mp4", get(|| async { Redirect::temporary("file:///etc/passwd") }))
        .route("/loop.mp4", get(|| async { Redirect::temporary("/loop.mp4") }))
}

fn cases(samples: &FileHost, bad: &FileHost) -> Vec<Case> {
    use End::{Failed, Refused};
    let sample = |name: &str| source(&samples.url(name));
    let bad = |name: &str| source(&bad.url(name));
    let long = format!("https://media.example/{}", "a".repeat(2048));
    let eleven = json!({"jobs": vec![source("https://media.example/v.mp4"); 11]});
    [
        ("no audio track", sample("no-audio.mp4"), Failed("EXTRACTION_FAILED", "no audio")),
        ("truncated", sample("truncated-faststart.mp4"), Failed("INVALID_VIDEO", " of ")),
        ("not a video", sample("noise.mp4"), Failed("INVALID_VIDEO", "")),
        ("empty", sample("empty.mp4"), Failed("INVALID_VIDEO", "")),
        ("an HTML page", sample("page.mp4"), Failed("INVALID_VIDEO", "")),
        (
            "an HLS playlist in disguise",
            sample("playlist.mp4"),
            Failed("DOWNLOAD_FAILED", "segment 1 of 1: port 9"),
        ),
        ("an ffconcat script in disguise", sample("concat.mp4"), Failed("INVALID_VIDEO", "")),
        ("404", sample("missing.mp4"), Failed("DOWNLOAD_FAILED", "404")),
        ("403", bad("forbidden.mp4"), Failed("DOWNLOAD_FAILED", "403")),
        ("endless body", bad("endless.mp4"), Failed("DOWNLOAD_FAILED", "more than 20 MB")),
        ("a host that stalls", bad("stalls.mp4"), Failed("DOWNLOAD_FAILED", "")),
        ("redirect to a private address", bad("to-private.mp4"), Failed("DOWNLOAD_FAILED", "address")),
        ("redirect to cloud metadata", bad("to-metadata.mp4"), Failed("DOWNLOAD_FAILED", "address")),
        ("redirect to a file", bad("to-file.mp4"), Failed("DOWNLOAD_FAILED", "only http and https")),
        ("redirect loop", bad("loop.mp4"), Failed("DOWNLOAD_FAILED", "redirect")),
        (
            "cloud metadata by name",
            source("http://metadata.google.internal/v"),
            Refused(400, "INVALID_SOURCE", "source.url"),
        ),
        ("private literal", source("http://10.0.0.1/v"), Refused(400, "INVALID_SOURCE", "source.url")),
        (
            "private literal in octal",
            source("http://012.0.0.1/v"),
            Refused(400, "INVALID_SOURCE", "source.url"),
        ),
        (
            "IPv4-mapped IPv6",
            source("http://[::ffff:10.0.0.1]/v"),
            Refused(400, "INVALID_SOURCE", "source.url"),
        ),
        ("over-long URL", source(&long), Refused(400, "INVALID_SOURCE", "2048")),
        (
            "a private webhook",
            with("/options/webhook", json!("http://192.168.0.1/")),
            Refused(400, "INVALID_REQUEST", "options.webhook"),
        ),
        ("wrong type", with("/output/format", json!(3)), Refused(400, "INVALID_REQUEST", "output.format")),
        ("unknown field", with("/output/fromat", json!("mp3")), Refused(400, "INVALID_REQUEST", "fromat")),
        (
            "bad filename",
            with("/options/filename", json!("../../etc/passwd")),
            Refused(400, "INVALID_REQUEST", "options.filename"),
        ),
        ("bad bitrate", with("/output/bitrate", json!("9000k")), Refused(400, "INVALID_OUTPUT", "32k")),
        (
            "an upload that never was",
            with("/source", json!({"type": "upload", "file": "file_0123456789abcdef"})),
            Refused(400, "INVALID_SOURCE", "source.file"),
        ),
        ("11 jobs", eleven, Refused(400, "TOO_MANY_JOBS", "11")),
    ]
    .into_iter()
    .map(|(name, body, end)| Case { name, body, end })
    .collect()
}

/// Open descriptors and resident memory of the service.
fn footprint(app: &TestApp) -> (usize, u64) {
    let process = format!("/proc/{}", app.pid());
    let descriptors = std::fs::read_dir(format!("{process}/fd")).expect("its descriptors").count();
    let rollup = std::fs::read_to_string(format!("{process}/smaps_rollup")).expect("its memory");
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a Pss");
    let kib: u64 = pss.trim().trim_end_matches("kB").trim().parse().expect("a number");
    (descriptors, kib * 1024)
}

async fn try_all(app: &TestApp, cases: &[Case]) {
    let mut accepted = Vec::new();
    for case in cases {
        let path = if case.body.get("jobs").is_some() {
            "/audio-extract/v1/batch"
        } else {
            "/audio-extract/v1/extract"
        };
        let (status, answer) = json(app.post(path, &case.body)).await;
        match case.end {
            End::Refused(expected, code, part) => {
                assert_eq!(
                    (status, &answer["error"]["code"]),
                    (expected, &json!(code)),
                    "{}: {answer}",
                    case.name
                );
                assert_helps(case.name, &answer["error"], part);
            }
            End::Failed(code, part) => {
                assert_eq!(status, 202, "{}: {answer}", case.name);
                accepted.push((
                    case.name,
                    answer["data"]["jobId"].as_str().expect("an id").to_owned(),
                    code,
                    part,
                ));
            }
        }
    }
    for (name, job, code, part) in accepted {
        let status = app.wait_for_end(&job).await;
        assert_eq!(
            (&status["status"], &status["error"]["code"]),
            (&json!("failed"), &json!(code)),
            "{name}: {status}"
        );
        assert_helps(name, &status["error"], part);
    }
}

/// A message for a person, the expected part somewhere in it, and nothing of the inside.
fn assert_helps(name: &str, error: &Value, part: &str) {
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{name}: {error}");
    let text = error.to_string();
    assert!(text.contains(part), "{name}: {error} does not say {part:?}");
    for inside in ["/tmp", "127.0.0.1", "10.0.0.1", "169.254", "panicked", "os error", ".rs:"] {
        assert!(!text.contains(inside), "{name}: {error} shows {inside:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_the_settings_hold_in_the_child() {
    let samples = FileHost::of(&["faststart.mp4", "sound.flac", "damaged-short-sound.flac"]).await;
    let options = Options::default()
        .with("ALLOW_NETWORKS", "127.0.0.0/8")
        .with("MAX_STREAMS", "1")
        .with("MAX_DECODED_SAMPLES", "200000")
        .with("MAX_DAMAGED_PERCENT", "30");
    let app = TestApp::start_with(options).await;
    let breach = |name, file: &str, part| Case {
        name,
        body: source(&samples.url(file)),
        end: End::Failed("EXTRACTION_FAILED", part),
    };
    let streams = breach("streams", "faststart.mp4", "more than 1 streams");
    let length = breach("samples", "sound.flac", "more than 200000 samples");
    try_all(&app, &[streams, length]).await;
    // Three wounds in a second are more than the default lets pass; what was left out is told.
    let job = app.submit(&source(&samples.url("damaged-short-sound.flac"))).await;
    let status = app.wait_for_end(&job).await;
    let damaged = status["outputFile"]["damagedPackets"].as_u64();
    assert!(damaged.is_some_and(|count| (1..=3).contains(&count)), "{status}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_inputs_get_their_code_and_leave_nothing_behind() {
    let samples = FileHost::of(&SAMPLES).await;
    let bad = FileHost::serving(bad_host()).await;
    let options = Options::default()
        .with("ALLOW_NETWORKS", "127.0.0.0/8")
        .with("MAX_SOURCE_BYTES", "20MB")
        .with("SOURCE_STALL_WINDOW", "1s")
        .with("RETRY_WAITS", "50ms,50ms");
    let app = TestApp::start_with(options).await;
    let cases = cases(&samples, &bad);
    // The first round warms what is filled once: pools, caches, the allocator.
    try_all(&app, &cases).await;
    let (descriptors, warm) = footprint(&app);
    // A leak grows in every round; the allocator, with many threads at work, in some, and not without end.
    let mut memory = warm;
    let mut grown = Vec::new();
    for _ in 0..3 {
        try_all(&app, &cases).await;
        let now = footprint(&app).1;
        grown.push(now.saturating_sub(memory));
        memory = now;
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while footprint(&app).0 > descriptors {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} descriptors, before {descriptors}",
            footprint(&app).0
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let is_steady = grown.iter().any(|bytes| *bytes < 4 << 20) && memory.saturating_sub(warm) < 24 << 20;
    assert!(is_steady, "memory grew by {grown:?} bytes in the rounds of bad inputs");
    assert!(!app.log().contains("replacing the media zygote"), "a child crashed");
    assert_eq!(std::fs::read_dir(app.data_dir().join("scratch")).expect("the scratch folder").count(), 0);
    app.stop().await;
}

/// A name that this machine's hosts file gives to an address of its own or of its network, and that does not show it.
fn private_name() -> String {
    let is_private = |address: &str| match address.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => false,
    };
    let hosts = std::fs::read_to_string("/etc/hosts").expect("a hosts file");
    let mut lines = hosts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let name = lines.find_map(|words| {
        let (address, names) = words.split_first()?;
        let name = names.iter().take_while(|word| !word.starts_with('#')).find(|name| **name != "localhost");
        name.filter(|_| is_private(address)).map(ToString::to_string)
    });
    name.expect("/etc/hosts names this machine, as Debian's does: `127.0.1.1 NAME`")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_a_private_address_is_not_followed() {
    let samples = FileHost::of(&["faststart.mp4"]).await;
    // A network is opened, so that names without a dot may be meant; the name's address is not in it.
    let options = Options::default().with("ALLOW_NETWORKS", "192.0.2.0/24").with("RETRY_WAITS", "50ms,50ms");
    let app = TestApp::start_with(options).await;
    let url = samples.url("faststart.mp4").replace("127.0.0.1", &private_name());
    let job = app.submit(&source(&url)).await;
    let status = app.wait_for_end(&job).await;
    assert_eq!(status["error"]["code"], "DOWNLOAD_FAILED", "{status}");
    assert_helps("a private name", &status["error"], "may not be reached");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_of_the_environment_is_asked() {
    let proxy = Host::start(|_| Reply::new(200, &[], b"not the file")).await;
    let source = Host::start(|_| Reply::new(404, &[], b"")).await;
    let mut options = Options::default();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        options = options.with_variable(name, proxy.url(""));
    }
    let app = TestApp::start_with(options).await;
    let body = json!({
        "source": {"type": "url", "url": source.url("/video.mp4")},
        "output": {"format": "mp3"},
        "options": {"webhook": source.url("/webhook")},
    });
    let job = app.submit(&body).await;
    assert_eq!(app.wait_for_end(&job).await["error"]["code"], "DOWNLOAD_FAILED");
    let seen = source.wait_for(2).await;
    assert_eq!((seen[0].target.as_str(), seen[1].target.as_str()), ("/video.mp4", "/webhook"));
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
    app.stop().await;
}
