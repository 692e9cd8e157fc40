//! Receivers that others wrote: the documented Express handler, and the published verification libraries.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use serde_json::json;

use crate::app::{PATIENCE, TestApp, WEBHOOK_SECRET, http_client};
use crate::files::FileHost;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// A receiver in another process, and what it prints.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    port: u16,
}

impl Program {
    fn start(mut command: Command) -> Self {
        command
            .env("PORT", "0")
            .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child =
            command.spawn().expect("the receiver starts; `make setup-test` installs what it needs");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut program = Self { child, lines, port: 0 };
        let first = program.line();
        let port = first.strip_prefix("Listening on port ").unwrap_or_else(|| panic!("it said {first:?}"));
        program.port = port.parse().expect("a port");
        program
    }

    fn node(script: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(script).current_dir(repository().join("examples/receivers/node"));
        Self::start(command)
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/webhook", self.port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a job whose webhook is the program; it must log both lines, the link it logs must work, and its answer must
/// have ended the delivery.
async fn hears_of_a_real_job(program: Program) {
    let host = FileHost::of(&["faststart.mp4"]).await;
    let app = TestApp::start().await;
    let body = json!({
        "source": {"type": "url", "url": host.url("faststart.mp4")},
        "output": {"format": "mp3"},
        "options": {"webhook": program.url()},
    });
    let job = app.submit(&body).await;
    let (completed, download) =
        tokio::task::spawn_blocking(move || (program.line(), program.line())).await.expect("both lines");
    assert_eq!(completed, format!("Job {job} completed"));
    let link = download.strip_prefix("Download: ").unwrap_or_else(|| panic!("it said {download:?}"));
    let file = app.anonymous(reqwest::Method::GET, link).send().await.expect("an answer");
    assert_eq!(file.status(), 200);
    assert_eq!(file.bytes().await.expect("a file"), app.download(&job).await);
    app.stop().await;
}

/// The same program must turn away what was not signed with its secret.
async fn turns_forgeries_away(program: &Program) {
    let forged = http_client().post(program.url());
    let forged = forged
        .header("content-type", "application/json")
        .header("webhook-id", "msg_0123456789abcdef")
        .header("webhook-timestamp", "1")
        .header("webhook-signature", "v1,AAAA")
        .body(r#"{"event":"job.completed"}"#);
    assert_eq!(forged.send().await.expect("an answer").status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_express_handler_works_unchanged() {
    hears_of_a_real_job(Program::node("documented.js")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_npm_library_verifies_a_real_delivery() {
    let program = Program::node("receiver.js");
    turns_forgeries_away(&program).await;
    hears_of_a_real_job(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pypi_library_verifies_a_real_delivery() {
    let mut command = Command::new(repository().join("target/python/bin/python"));
    command.arg(repository().join("examples/receivers/python/receiver.py")).stderr(Stdio::null());
    let program = Program::start(command);
    turns_forgeries_away(&program).await;
    hears_of_a_real_job(program).await;
}

/// Builds the Rust receiver, and says where it is.
fn rust_receiver() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--locked", "--package", "audio-extract-receiver"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the receiver does not build");
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let mut built = messages.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let binary = built.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    binary.expect("cargo says where the binary is")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crates_io_library_verifies_a_real_delivery() {
    let program = Program::start(Command::new(rust_receiver()));
    turns_forgeries_away(&program).await;
    hears_of_a_real_job(program).await;
}
