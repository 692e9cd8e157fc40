//! A running service, and what a customer does with it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const API_KEY: &str = "ae_end_to_end_tests_0123456789abcdef0123456789";
pub(crate) const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// How long anything may take before a test gives up. Generous: machines are slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How a service is started.
#[derive(Default)]
pub(crate) struct Options {
    /// Settings beyond the harness' own, by their environment's name without the prefix.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// What else its environment has.
    variables: Vec<(&'static str, String)>,
}

impl Options {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    pub(crate) fn with_variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }
}

/// A service of its own, killed when dropped.
pub(crate) struct TestApp {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    options: Options,
    address: SocketAddr,
    data: TempDir,
    http: reqwest::Client,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let data = TempDir::new().expect("a data dir");
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        // Before the service: what fails here must not leave one running.
        let http = http_client();
        let launched = launch(data.path(), any_port, &options, &[]).await;
        let (child, log, address) =
            launched.unwrap_or_else(|log| panic!("the service does not listen:\n{log}"));
        Self { child, log, options, address, data, http }
    }

    /// The service's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Where the service listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An absolute URL of the service.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// SIGKILL: no destructor, no flush, nothing.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("the service was running");
        self.child.wait().expect("it is gone");
    }

    /// Starts it again over the same data, at the same address.
    pub(crate) async fn restart(&mut self) {
        self.restart_under(&[]).await.unwrap_or_else(|log| panic!("the service does not listen:\n{log}"));
    }

    /// As [`Self::restart`], by this command, which is given the service's own. It may end before it listens: then
    /// this gives what it said.
    pub(crate) async fn restart_under(&mut self, command: &[String]) -> Result<(), String> {
        let (child, log, _) = launch(self.data.path(), self.address, &self.options, command).await?;
        self.child = child;
        self.log = log;
        Ok(())
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_some()
    }

    /// Stops it and starts it again in another role.
    pub(crate) async fn become_role(&mut self, role: &str) {
        self.set("ROLE", role).await;
    }

    /// Stops it and starts it again with another setting.
    pub(crate) async fn set(&mut self, name: &'static str, value: &str) {
        assert!(self.terminate().await.success());
        self.configure(name, value);
        self.restart().await;
    }

    /// Gives the next start another setting.
    pub(crate) fn configure(&mut self, name: &'static str, value: &str) {
        self.options.settings.retain(|(known, _)| *known != name);
        self.options.settings.push((name, value.to_owned()));
    }

    /// SIGTERM; the service must exit with 0.
    pub(crate) async fn stop(mut self) {
        let status = self.terminate().await;
        assert!(status.success(), "after SIGTERM the service exited with {status}");
    }

    pub(crate) async fn terminate(&mut self) -> std::process::ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "the service did not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the service has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
    }

    /// A request with the tests' API key.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path)).header("X-API-Key", API_KEY)
    }

    pub(crate) fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        let body = body.to_string();
        self.request(reqwest::Method::POST, path).header("Content-Type", "application/json").body(body)
    }

    /// A request without any key.
    pub(crate) fn anonymous(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, url)
    }

    /// Submits a job and gives its id.
    pub(crate) async fn submit(&self, body: &Value) -> String {
        let (status, answer) = json(self.post("/audio-extract/v1/extract", body)).await;
        assert_eq!(status, 202, "{answer}");
        answer["data"]["jobId"].as_str().expect("a job id").to_owned()
    }

    pub(crate) async fn status(&self, job: &str) -> Value {
        let (status, answer) = json(self.get(&format!("/audio-extract/v1/status/{job}"))).await;
        assert_eq!(status, 200, "{answer}");
        answer["data"].clone()
    }

    /// Polls until the status satisfies the condition.
    pub(crate) async fn wait_until(&self, job: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.status(job).await;
            if condition(&status) {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "{job} is still {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for the job's end, whichever it is.
    pub(crate) async fn wait_for_end(&self, job: &str) -> Value {
        self.wait_until(job, |status| matches!(status["status"].as_str(), Some("completed" | "failed"))).await
    }

    /// Downloads a completed job's file.
    pub(crate) async fn download(&self, job: &str) -> Vec<u8> {
        let response =
            self.get(&format!("/audio-extract/v1/download/{job}")).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.bytes().await.expect("the whole file").to_vec()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // Already gone after kill_9 or terminate.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the service's log ---\n{}", self.log());
        }
    }
}

/// A client that believes no environment and follows no redirect.
pub(crate) fn http_client() -> reqwest::Client {
    // reqwest is built here with TLS, for the store's sake, and without a provider of its own. A second one is refused,
    // which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().expect("an HTTP client")
}

/// Sends and reads a JSON answer.
pub(crate) async fn json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    let value = serde_json::from_slice(&body)
        .unwrap_or_else(|cause| panic!("{status}: not JSON ({cause}): {}", String::from_utf8_lossy(&body)));
    (status, value)
}

type Launched = (Child, Arc<Mutex<Vec<String>>>, SocketAddr);

/// Starts a service and waits until it listens. If it never does, it is gone, and this gives what it said.
async fn launch(
    data: &Path,
    listen: SocketAddr,
    options: &Options,
    under: &[String],
) -> Result<Launched, String> {
    let mut words = under.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_audio-extract"), "serve"]);
    let mut command = Command::new(words.next().expect("at least the service"));
    command
        .args(words)
        .env_clear()
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let own = [
        ("LISTEN", listen.to_string()),
        ("DATA_DIR", data.display().to_string()),
        ("ALLOW_NETWORKS", "127.0.0.0/8,::1/128".to_owned()),
        ("API_KEY", API_KEY.to_owned()),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("WORKERS", "2".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    for (name, value) in own.iter().chain(&options.settings) {
        command.env(format!("AUDIO_EXTRACT_{name}"), value);
    }
    for (name, value) in &options.variables {
        command.env(name, value);
    }
    let mut child = command.spawn().expect("the service starts");
    let log = Arc::new(Mutex::new(Vec::new()));
    let (found, address) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().expect("a pipe"));
    let copy = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if let Some(address) = listening(&line) {
                // The test may have given up by now.
                let _ = found.send(address);
            }
            copy.lock().expect("the log").push(line);
        }
    });
    let address =
        tokio::task::spawn_blocking(move || address.recv_timeout(PATIENCE)).await.expect("a thread");
    match address {
        Ok(address) => Ok((child, log, address)),
        Err(_) => {
            let _ = child.kill();
            child.wait().expect("it is gone");
            Err(log.lock().expect("the log").join("\n"))
        }
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}
