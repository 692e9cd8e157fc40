//! The commands as a shell sees them: exit codes, and what goes to stdout and to stderr.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use domain::{Secret, Timestamp};
use serde_json::Value;

mod extractions;
mod webhooks;

/// The binary in a folder of its own, with none of our caller's settings.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audio-extract"));
    command.args(arguments).current_dir(folder).env_clear();
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs"))
    }

    /// Reads stderr until a line has this text; gives all lines up to it.
    fn stderr_until(&mut self, wanted: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let stderr = self.0.stderr.take().expect("stderr is piped");
        let mut reader = BufReader::new(stderr);
        loop {
            let mut line = String::new();
            assert_ne!(reader.read_line(&mut line).expect("stderr is text"), 0, "no `{wanted}` in {lines:?}");
            let found = line.contains(wanted);
            lines.push(line);
            if found {
                self.0.stderr = Some(reader.into_inner());
                return lines;
            }
        }
    }

    /// Reads no more of stderr: whoever read the log is gone.
    fn close_stderr(&mut self) {
        drop(self.0.stderr.take());
    }

    fn terminate(&mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_fails_says_so_in_one_line_on_stderr_and_nothing_on_stdout() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("page.mp4"), "<html></html>").expect("a file");
    std::fs::write(folder.path().join("typo.toml"), "retenton = \"1h\"").expect("a file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let cases: [(&[&str], i32, &str); 38] = [
        (&["extract", "missing.mp4"], 1, "missing.mp4"),
        (&["extract", "page.mp4", "-o", "a.mp3"], 1, "INVALID_VIDEO"),
        (&["extract", "http://127.0.0.1:8080/a.mp4"], 1, "--allow-networks"),
        (&["extract", "page.mp4", "-o", "page.mp4", "-f", "mp3"], 2, "replace the source"),
        (&["extract", "page.mp4", "-o", "a.xyz"], 2, "--format"),
        (&["extract", "page.mp4", "-f", "mp4"], 2, "--format"),
        (&["extract", "page.mp4", "--quality", "best"], 2, "--quality"),
        (&["extract", "page.mp4", "--bitrate", "999k"], 2, "--bitrate"),
        (&["extract", "page.mp4", "-o", "nowhere/a.mp3"], 1, "nowhere/a.mp3"),
        (&["extract", "ftp://a.example/a.mp4"], 2, "SOURCE"),
        (&["extract", "page.mp4", "--track", "en us"], 2, "--track: "),
        (&["extract", "page.mp4", "--start", "nan"], 2, "--start: "),
        (&["extract", "page.mp4", "--start", "2", "--end", "1"], 2, "--end: "),
        (&["extract", "page.mp4", "--channels", "3"], 2, "--channels: "),
        (&["extract", "page.mp4", "--sample-rate", "96000"], 2, "--sample-rate: "),
        (&["extract", "page.mp4", "--loudness", "-4"], 2, "--loudness: takes -70 to -5"),
        (&["extract", "page.mp4", "--true-peak", "0.1"], 2, "--true-peak: takes -9 to 0"),
        (&["keys", "create", "--name", "x", "--scope", "jobs:reed"], 2, "jobs:reed"),
        (&["keys", "create", "--name", ""], 2, "--name"),
        (&["keys", "revoke", "nonsense"], 2, "key_"),
        (&["keys", "revoke", "key_0000000000000001"], 1, "key_0000000000000001"),
        (&["keys", "rotate-secret", "nonsense"], 2, "key_"),
        (&["keys", "rotate-secret", "key_0000000000000000"], 2, "webhook_secret"),
        (&["keys", "rotate-secret", "key_0000000000000001"], 1, "key_0000000000000001"),
        (&["keys", "rotate-secret", "key_0000000000000001", "--overlap", "1 fortnight"], 2, "--overlap"),
        (&["keys", "set-header", "key_0000000000000001", "Host", "a.example"], 2, "host"),
        (&["keys", "add-signing-key", "key_0000000000000001"], 1, "key_0000000000000001"),
        (&["keys", "remove-signing-key", "key_0000000000000001", "whpk_x"], 1, "signs with no key"),
        (&["webhooks", "replay"], 2, "`state`"),
        (&["webhooks", "replay", "--state", "lost"], 2, "exhausted"),
        (&["webhooks", "replay", "--state", "exhausted", "--key", "key_0000000000000001"], 1, "key_0"),
        (&["webhooks", "listen", "--secret", "whsec_short"], 2, "--secret"),
        (&["serve", "--role", "worker"], 2, "public_url"),
        (&["serve", "--api-key", "k"], 2, "webhook_secret"),
        (&["serve", "--config", "typo.toml"], 2, "retenton"),
        (&["serve", "--listen", &taken], 1, &taken),
        (&["serve", "--listen", "127.0.0.1:0", "--storage-url", "s3://a:b@c/d"], 2, "storage_url"),
        (&["doctor", "--config", "typo.toml"], 2, "retenton"),
    ];
    for (arguments, code, reason) in cases {
        let output = run(folder.path(), arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("audio-extract: ") && last.contains(reason), "{arguments:?}: {stderr}");
    }
    assert!(!folder.path().join("a.mp3").exists(), "what failed left a file");
}

#[test]
fn a_variable_that_is_no_text_is_refused_rather_than_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut migrate = command(folder.path(), &["migrate"]);
    let output = migrate.env("AUDIO_EXTRACT_DATA_DIR", OsStr::from_bytes(b"\xff")).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("AUDIO_EXTRACT_DATA_DIR"), "{}", text(&output.stderr));
    assert!(!folder.path().join("data").exists(), "the default was taken instead");
}

#[test]
fn wrong_usage_is_told_from_help() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [
        &[][..],
        &["bogus"],
        &["serve", "--bogus"],
        &["extract"],
        &["keys"],
        &["webhooks", "listen"],
        &["webhooks", "listen", "--secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "--status", "99"],
        &["webhooks", "listen", "--secret", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "--delay", "20"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    for (arguments, shown) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["--help"], "doctor"),
        (&["serve", "--help"], "--webhook-retry-waits"),
        (&["extract", "--help"], "--normalize"),
        (&["openapi"], "/audio-extract/v1/extract"),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains(shown) && output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(!text(&run(folder.path(), &["extract", "--help"]).stdout).contains("--webhook-retry-waits"));
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let created = run(folder.path(), &["keys", "create", "--name", "app", "--scope", "jobs:read", "--json"]);
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let key: Value = serde_json::from_slice(&created.stdout).expect("one JSON object");
    let (id, secret) = (key["id"].as_str().expect("an id"), key["apiKey"].as_str().expect("a key"));
    assert_eq!(key["name"], "app");
    assert!(key["webhookSecret"].as_str().expect("a secret").starts_with("whsec_"));

    let listed = || text(&run(folder.path(), &["keys", "list", "--json"]).stdout);
    let row: Value = serde_json::from_str(listed().trim()).expect("one row");
    assert_eq!(
        (&row["id"], &row["scopes"], &row["revoked"]),
        (&key["id"], &"jobs:read".into(), &false.into())
    );
    assert!(!listed().contains(secret), "a secret is shown once");

    assert_eq!(run(folder.path(), &["keys", "revoke", id]).status.code(), Some(0));
    let row: Value = serde_json::from_str(listed().trim()).expect("one row");
    assert_eq!(row["revoked"], true);
    assert_eq!(run(folder.path(), &["keys", "revoke", id]).status.code(), Some(1), "it is revoked already");
}

#[test]
fn serve_makes_a_first_key_keeps_it_out_of_the_log_and_stops_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Running::start(command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]));
    let lines = service.stderr_until("listening").concat();

    let path = folder.path().join("data/first-key.json");
    let key: Value = serde_json::from_slice(&std::fs::read(&path).expect("the file")).expect("JSON");
    assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    for secret in [&key["apiKey"], &key["webhookSecret"]] {
        assert!(!lines.contains(secret.as_str().expect("a text")), "{lines}");
    }

    let second = run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1), "the data folder is taken");
    assert!(text(&second.stderr).contains("data"), "{}", text(&second.stderr));

    assert_eq!(service.terminate(), Some(0));
    let mut service = Running::start(command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]));
    let lines = service.stderr_until("listening").concat();
    assert!(!lines.contains("first API key"), "there is a key already: {lines}");
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn doctor_says_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let healthy = run(folder.path(), &["doctor"]);
    assert_eq!(healthy.status.code(), Some(0), "{}", text(&healthy.stdout));
    assert!(text(&healthy.stdout).lines().all(|line| line.starts_with("ok ")), "{}", text(&healthy.stdout));

    let sick = run(folder.path(), &["doctor", "--database-url", "sqlite:/nowhere/at/all.sqlite"]);
    assert_eq!(sick.status.code(), Some(1));
    assert!(text(&sick.stdout).contains("WRONG  database"), "{}", text(&sick.stdout));
    assert!(text(&sick.stderr).contains("one thing is wrong"), "{}", text(&sick.stderr));
}

#[test]
fn listen_believes_only_what_is_signed() {
    const BODY: &[u8] = br#"{"event":"job.completed","jobId":"job_1","status":"completed"}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = egress::sign::generate_secret().expect("a secret");
    let arguments = ["webhooks", "listen", "--port", "0", "--json", "--secret", secret.expose()];
    let mut listener = Running::start(command(folder.path(), &arguments));
    let line = listener.stderr_until("listening on").concat();
    let address = line.trim().trim_start_matches("listening on http://").trim_end_matches('/').to_owned();

    let other = egress::sign::generate_secret().expect("a secret");
    assert!(post(&address, BODY, &other).starts_with("HTTP/1.1 400 "));
    assert!(post(&address, BODY, &secret).starts_with("HTTP/1.1 200 "));
    assert_eq!(listener.terminate(), Some(0));
    let mut printed = String::new();
    let mut stdout = listener.0.stdout.take().expect("stdout is piped");
    stdout.read_to_string(&mut printed).expect("text");
    assert_eq!(printed.trim().as_bytes(), BODY, "once, byte for byte");
}

#[test]
fn listen_answers_with_errors_on_purpose() {
    const BODY: &[u8] = br#"{"event":"job.failed","jobId":"job_1","status":"failed"}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = egress::sign::generate_secret().expect("a secret");
    let on_purpose = ["--fail", "2", "--status", "503", "--delay", "10ms"];
    let arguments =
        [&["webhooks", "listen", "--port", "0", "--json", "--secret", secret.expose()], &on_purpose[..]];
    let mut listener = Running::start(command(folder.path(), &arguments.concat()));
    let line = listener.stderr_until("listening on").concat();
    let address = line.trim().trim_start_matches("listening on http://").trim_end_matches('/').to_owned();
    for status in ["503", "503", "200", "200"] {
        let answer = post(&address, BODY, &secret);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(listener.terminate(), Some(0));
    let mut printed = String::new();
    let mut stdout = listener.0.stdout.take().expect("stdout is piped");
    stdout.read_to_string(&mut printed).expect("text");
    assert_eq!(printed.lines().count(), 2, "what was answered with an error is not printed as taken");
}

/// Posts a signed event and gives the answer.
fn post(address: &str, body: &[u8], secret: &Secret) -> String {
    let now = now().as_secs();
    let signature =
        egress::sign::sign("msg_1", now, body, std::slice::from_ref(secret)).expect("a signature");
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "POST /x HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\
         webhook-id: msg_1\r\nwebhook-timestamp: {now}\r\nwebhook-signature: {signature}\r\n\r\n",
        body.len()
    )
    .expect("the head is sent");
    stream.write_all(body).expect("the body is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[expect(clippy::disallowed_methods, reason = "the signature must be of now for the real binary")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_millis(i64::try_from(since.as_millis()).expect("before the end of time"))
}

#[test]
fn a_service_whose_log_nobody_reads_any_more_works_and_stops() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut service = Running::start(command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]));
    let listening = service.stderr_until("listening address=").pop().expect("a line");
    let address = listening.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    service.close_stderr();
    let mut client = TcpStream::connect(address.expect("an address")).expect("a connection");
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(service.terminate(), Some(0));
}
