//! Uploads that break off and go on: at once from many sides, at another node, by the published client killed half-way.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::app::{API_KEY, Options, PATIENCE, TestApp};
use crate::tus::{BODY, comes_out_as_it_went_in, id_of, noise, send};
use crate::uploads::{stored, until};

/// Begins to send 200,000 bytes, and sends so many of them.
async fn start_patch(app: &TestApp, path: &str, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(app.address()).await.expect("connected");
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {API_KEY}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: 0\r\nContent-Type: {BODY}\r\nContent-Length: 200000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b'x'; bytes]).await.expect("sent");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_break_is_kept_and_of_many_at_once_one_goes_on() {
    let options = Options::default().with("ROLE", "api").with("UPLOAD_PART_BYTES", "64KiB");
    let app = TestApp::start_with(options).await;
    let path = app.begin(200_000).await;
    drop(start_patch(&app, &path, 100_001).await);
    until("all that came is kept", async || app.offset(&path).await == 100_001).await;

    let senders = (0..8).map(|_| send(app.append(&path, 100_001, &[b'y'; 99_999])));
    let statuses: Vec<u16> =
        futures_util::future::join_all(senders).await.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 409)), "{statuses:?}");
    assert_eq!(app.offset(&path).await, 200_000);
    let bytes: u64 =
        stored(&app.data_dir().join("files")).iter().map(|part| part.metadata().expect("a part").len()).sum();
    assert_eq!(bytes, 200_000, "what lost is deleted");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_goes_on_where_another_left_off() {
    let (database, folder) = (testkit::postgres().create_database(), tempfile::tempdir().expect("a folder"));
    let files = url::Url::from_directory_path(folder.path()).expect("a URL");
    let options = |role: &str| {
        Options::default()
            .with("DATABASE_URL", &database)
            .with("STORAGE_URL", files.as_str())
            .with("MASTER_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")
            .with("UPLOAD_PART_BYTES", "64KiB")
            .with("ROLE", role)
    };
    let (one, other) = (TestApp::start_with(options("api")).await, TestApp::start_with(options("all")).await);
    let wav = noise(600_000);
    let path = one.begin(wav.len()).await;
    let mut at = 0;
    for (node, until) in [(&one, 150_000), (&other, 300_000), (&one, 300_001), (&other, wav.len())] {
        assert_eq!(node.offset(&path).await, at);
        assert_eq!(send(node.append(&path, at, &wav[at..until])).await.status(), 204);
        at = until;
    }
    comes_out_as_it_went_in(&one, id_of(&path), &wav).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_more_than_one_file_may_have_is_refused_and_what_has_come_is_kept() {
    let database = testkit::postgres().create_database();
    let options = Options::default().with("DATABASE_URL", &database).with("ROLE", "api");
    let app = TestApp::start_with(options).await;
    let path = app.begin(200_000).await;
    assert_eq!(send(app.append(&path, 0, b"0123456789")).await.status(), 204);
    let url = url::Url::parse(&database).expect("a URL");
    // As if it had come in so many.
    testkit::postgres().run_sql(url.path().trim_start_matches('/'), "UPDATE uploads SET parts = 10000");
    let refused = send(app.append(&path, 10, b"0")).await;
    assert_eq!(refused.status(), 400);
    let body = refused.text().await.expect("a body");
    assert!(body.contains("INVALID_REQUEST") && body.contains("at most 10000 pieces"), "{body}");
    assert_eq!(app.offset(&path).await, 10);
    app.stop().await;
}

/// `examples/uploads/node` on its way.
fn client(app: &TestApp, file: &Path) -> Command {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/uploads/node");
    let mut command = Command::new("node");
    command.arg("upload.js").arg(app.url("")).arg(file).current_dir(example);
    command.env("API_KEY", API_KEY).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_client_goes_on_where_it_was_killed() {
    let app = TestApp::start_with(Options::default().with("UPLOAD_PART_BYTES", "64KiB")).await;
    let files = app.data_dir().join("files");
    the_npm_client_goes_on(app, &files).await;
}

/// Kills it half-way of an upload that is stored in `files`, and starts it again.
pub(crate) async fn the_npm_client_goes_on(app: TestApp, files: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, wav) = (folder.path().join("talk.wav"), noise(24 << 20));
    std::fs::write(&file, &wav).expect("written");
    let mut killed = client(&app, &file).spawn().expect("node; `make setup-test` installs what it needs");
    let known = folder.path().join("talk.wav.uploads.json");
    let path = || {
        let known: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&known).ok()?).ok()?;
        let url = known.as_object()?.values().next()?["uploadUrl"].as_str()?.to_owned();
        url.strip_prefix(&app.url("")).map(ToOwned::to_owned)
    };
    until("it has begun", async || path().is_some()).await;
    let path = path().expect("it has");
    until("something has come", async || app.offset(&path).await > 0).await;
    killed.kill().await.expect("killed");
    let half = app.offset(&path).await;
    assert!(half < wav.len(), "it was killed too late: {half} bytes had come");

    let output = tokio::time::timeout(PATIENCE, client(&app, &file).output()).await.expect("in time");
    let output = output.expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let file = id_of(&path);
    assert!(output.status.success() && said.contains(&format!("name it in a job as {file}")), "{said}");
    assert_eq!(app.offset(&path).await, wav.len());
    let parts = stored(files);
    let folder = parts[0].parent();
    assert!(parts.iter().all(|part| part.parent() == folder), "it began anew: {parts:?}");
    comes_out_as_it_went_in(&app, file, &wav).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_keeps_what_came_and_lets_its_clients_go() {
    let options = Options::default().with("ROLE", "api").with("UPLOAD_PART_BYTES", "64KiB");
    let mut app = TestApp::start_with(options.with("DRAIN_TIMEOUT", "60s")).await;
    let path = app.begin(200_000).await;
    let mut stream = start_patch(&app, &path, 70_000).await;
    until("a part has come", async || app.offset(&path).await > 0).await;
    assert!(app.terminate().await.success());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    app.restart().await;
    assert!(app.offset(&path).await >= 65_536);
    app.stop().await;
}
