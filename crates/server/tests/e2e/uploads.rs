//! Files sent in one request, by curl as people use it and by clients that mean no good.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::samples::sample;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::app::{API_KEY, Options, PATIENCE, TestApp, json};
use crate::contract::create_key;

/// `curl` at the upload endpoint: the status and the answer.
async fn curl(app: &TestApp, query: &str, arguments: &[&str]) -> (u16, Value) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--header", &format!("X-API-Key: {API_KEY}")]);
    command.args(["--write-out", "\n%{http_code}", "--request", "POST"]).args(arguments);
    let url = app.url(&format!("/audio-extract/v1/upload{query}"));
    let output = command.arg(url).output().await.expect("curl runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (answer, status) = text.rsplit_once('\n').expect("a status");
    let answer = serde_json::from_str(answer).unwrap_or_else(|cause| panic!("{cause}: {text}"));
    (status.parse().expect("a status"), answer)
}

pub(crate) fn job_on(file: &str) -> Value {
    json!({"source": {"type": "upload", "file": file}, "output": {"format": "mp3"}})
}

/// The files of all uploads that are stored.
pub(crate) fn stored(files: &Path) -> Vec<std::path::PathBuf> {
    let Ok(uploads) = std::fs::read_dir(files.join("uploads")) else { return Vec::new() };
    let folders = uploads.map(|entry| entry.expect("an entry").path());
    folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn made_sample(name: &'static str) -> String {
    let path = tokio::task::spawn_blocking(move || sample(name)).await.expect("a sample");
    path.to_str().expect("a path").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_curl_sends_is_a_source_and_goes_with_its_last_job() {
    let video = made_sample("faststart.mp4").await;
    let size = std::fs::metadata(&video).expect("the sample").len();
    let app = TestApp::start_with(Options::default().with("RETENTION_INTERVAL", "100ms")).await;
    let (data, form) = (format!("@{video}"), format!("file=@{video};filename=\"a talk.mp4\""));
    let chunked = ["--header", "Transfer-Encoding: chunked", "--upload-file", &video];
    let disposed = ["--header", "Content-Disposition: attachment; filename=x.mp4", "--data-binary", &data];
    let mut files = Vec::new();
    for (query, arguments, name) in [
        ("", &["--upload-file", &video][..], None),
        ("", &chunked, None),
        ("", &disposed, Some("x.mp3")),
        ("?filename=f%C3%BCr%20dich.mp4", &["--data-binary", &data], Some("für dich.mp3")),
        ("", &["--form", &form], Some("a talk.mp3")),
    ] {
        let (status, answer) = curl(&app, query, arguments).await;
        assert_eq!((status, &answer["data"]["size"]), (201, &json!(size)), "{arguments:?}: {answer}");
        assert!(answer["data"]["expiresAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{answer}");
        let file = answer["data"]["file"].as_str().expect("an id").to_owned();
        let name = name.map_or_else(|| format!("{file}.mp3"), ToOwned::to_owned);
        files.push((file, name));
    }
    let other = create_key(&app, "other", None).key;
    let stolen = app.anonymous(Method::POST, &app.url("/audio-extract/v1/extract"));
    let stolen = stolen.header("X-API-Key", other).body(job_on(&files[0].0).to_string());
    let (status, answer) = json(stolen).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_SOURCE")), "{answer}");

    let jobs: Vec<Value> = files.iter().map(|(file, _)| job_on(file)).collect();
    let (status, answer) = json(app.post("/audio-extract/v1/batch", &json!({"jobs": jobs}))).await;
    assert_eq!(status, 202, "{answer}");
    for (job, (_, name)) in answer["data"]["jobs"].as_array().expect("jobs").iter().zip(&files) {
        let status = app.wait_for_end(job["jobId"].as_str().expect("an id")).await;
        assert_eq!(status["outputFile"]["filename"], *name, "{status}");
        assert_eq!(
            (&status["inputFile"]["size"], &status["inputFile"]["format"]),
            (&json!(size), &json!("mp4"))
        );
    }
    until("the uploads are deleted", async || stored(&app.data_dir().join("files")).is_empty()).await;
    let (status, answer) = json(app.post("/audio-extract/v1/extract", &job_on(&files[0].0))).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_SOURCE")), "{answer}");
    assert!(answer["error"]["details"].as_str().is_some_and(|details| details.contains("gone")), "{answer}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_or_too_large_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: usize| {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![b'x'; bytes]).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let (fits, larger, empty) = (file("fits", 300_000), file("larger", 300_001), file("empty", 0));
    let options = Options::default()
        .with("MAX_SOURCE_BYTES", "300000B")
        .with("MAX_UPLOADED_BYTES_PER_KEY", "600000B")
        .with("UPLOAD_PART_BYTES", "64KiB")
        .with("RETENTION_INTERVAL", "100ms");
    let app = TestApp::start_with(options).await;
    let (fits_form, larger_form, empty_form) =
        (format!("f=@{fits}"), format!("f=@{larger}"), format!("f=@{empty}"));
    let chunked = "Transfer-Encoding: chunked";
    let cases: [(&str, &[&str], u16, &str); 11] = [
        ("", &["--upload-file", &larger], 413, "PAYLOAD_TOO_LARGE"),
        ("", &["--header", "Expect:", "--upload-file", &larger], 413, "PAYLOAD_TOO_LARGE"),
        ("", &["--header", chunked, "--upload-file", &larger], 413, "PAYLOAD_TOO_LARGE"),
        ("", &["--form", &larger_form], 413, "PAYLOAD_TOO_LARGE"),
        ("", &[], 400, "INVALID_REQUEST"),
        ("", &["--upload-file", &empty], 400, "INVALID_REQUEST"),
        ("", &["--form", &empty_form], 400, "INVALID_REQUEST"),
        ("", &["--form", "f=text"], 400, "INVALID_REQUEST"),
        ("", &["--form", &fits_form, "--form", "g=text"], 400, "INVALID_REQUEST"),
        ("?filename=a%2Fb", &["--upload-file", &fits], 400, "INVALID_REQUEST"),
        ("?name=x", &["--upload-file", &fits], 400, "INVALID_REQUEST"),
    ];
    for (query, arguments, status, code) in cases {
        let (answered, answer) = curl(&app, query, arguments).await;
        assert_eq!((answered, &answer["error"]["code"]), (status, &json!(code)), "{arguments:?}: {answer}");
    }
    until("nothing is left", async || stored(&app.data_dir().join("files")).is_empty()).await;
    for (arguments, status) in [
        (["--upload-file", &fits], 201),
        (["--form", &fits_form], 201),
        // The key holds two, and that is what it may hold.
        (["--upload-file", &fits], 429),
        (["--form", &fits_form], 429),
    ] {
        let (answered, answer) = curl(&app, "", &arguments).await;
        assert_eq!(answered, status, "{arguments:?}: {answer}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drips_or_breaks_off_holds_no_slot_and_leaves_nothing() {
    let options = Options::default()
        .with("UPLOAD_STALL_WINDOW", "1s")
        .with("UPLOAD_SLOTS", "1")
        .with("MAX_UPLOADS_PER_KEY", "1")
        .with("UPLOAD_PART_BYTES", "64KiB")
        .with("RETENTION_INTERVAL", "100ms");
    let app = TestApp::start_with(options).await;
    let connect = async |framing: &str| {
        let mut stream = tokio::net::TcpStream::connect(app.address()).await.expect("connected");
        let head = format!(
            "POST /audio-extract/v1/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\n{framing}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream
    };
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let (mut answers, mut drip) = connect(framing).await.into_split();
        let dripping = tokio::spawn(async move {
            while drip.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let mut answer = vec![0; 4096];
        let count = tokio::time::timeout(PATIENCE, answers.read(&mut answer)).await;
        let count = count.expect("an answer in time").expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        dripping.abort();
    }
    let files = app.data_dir().join("files");
    let mut broken = connect("Content-Length: 1000000").await;
    broken.write_all(&[b'x'; 400_000]).await.expect("sent");
    until("parts are stored", async || !stored(&files).is_empty()).await;
    drop(broken);
    until("they are gone", async || stored(&files).is_empty()).await;
    let (status, answer) = curl(&app, "", &["--data-binary", "after them"]).await;
    assert_eq!(status, 201, "{answer}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_not_held_in_memory() {
    const BYTES: u64 = 160 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let large = folder.path().join("large");
    std::fs::File::create(&large).and_then(|file| file.set_len(BYTES)).expect("a file with a hole");
    let large = large.to_str().expect("a path").to_owned();
    let app = TestApp::start_with(Options::default().with("ROLE", "api").with("MIN_FREE_BYTES", "1MB")).await;
    curl(&app, "", &["--data-binary", "the first warms what is filled once"]).await;
    // The most that the process has ever had.
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", app.pid())).expect("its status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
    };
    let before = peak();
    let form = format!("file=@{large}");
    for arguments in [["--upload-file", &large], ["--form", &form]] {
        let (status, answer) = curl(&app, "", &arguments).await;
        assert_eq!((status, &answer["data"]["size"]), (201, &json!(BYTES)), "{answer}");
    }
    let grown = peak() - before;
    assert!(grown < 64 << 20, "memory grew by {grown} bytes over an upload of {BYTES}");
    app.stop().await;
}
