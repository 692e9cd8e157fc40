//! The real binary, started over a data folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Outcome;

pub(crate) const API_KEY: &str = "ae_bench_0123456789abcdef0123456789abcdef0123";
const WEBHOOK_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the service is started.
pub(crate) struct Setup {
    pub(crate) binary: PathBuf,
    pub(crate) data_dir: PathBuf,
    /// The filter of its log.
    pub(crate) log: &'static str,
    /// Beyond those that every start needs: names without their prefix.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// A running service; killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    pub(crate) address: SocketAddr,
    /// When it said that it listens.
    pub(crate) ready_at: Instant,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    pub(crate) async fn start(setup: &Setup, listen: SocketAddr) -> Outcome<Self> {
        let mut command = Command::new(&setup.binary);
        command.arg("serve").env_clear();
        let own = [
            ("LISTEN", listen.to_string()),
            ("DATA_DIR", setup.data_dir.display().to_string()),
            ("ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
            ("API_KEY", API_KEY.to_owned()),
            ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            // Its own word that it listens is waited for.
            ("LOG", format!("audio_extract=info,{}", setup.log)),
        ];
        for (name, value) in own.iter().chain(&setup.settings) {
            command.env(format!("AUDIO_EXTRACT_{name}"), value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|cause| format!("{}: {cause}", setup.binary.display()))?;
        let output = child.stderr.take().ok_or("no log")?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (found, address) = oneshot::channel();
        let keep = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(address) = listening(&line)
                    && let Some(found) = found.take()
                {
                    // Whoever waited may have given up.
                    let _ = found.send((address, Instant::now()));
                }
                keep.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let (address, ready_at) = match tokio::time::timeout(PATIENCE, address).await {
            Ok(Ok(found)) => found,
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                let said = lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
                return Err(format!("the service does not listen: {said}").into());
            }
        };
        Ok(Self { child, lines, address, ready_at })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// SIGKILL: no destructor, no flush, nothing.
    pub(crate) fn kill_9(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + PATIENCE;
        while sent.success() && Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err("the service did not stop".into())
    }
}

/// An absolute path of the binary, so that it is found from everywhere.
pub(crate) fn binary(path: &Path) -> Outcome<PathBuf> {
    path.canonicalize().map_err(|cause| format!("{}: {cause}; `make build` makes it", path.display()).into())
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str()?.parse().ok())?
}
