//! Short clips through a running service, from POST to the webhook's first byte, beside the bare `ffmpeg` command on
//! the same URL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::AudioFormat;
use serde_json::json;
use testkit::host::{Host, Reply};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::inputs::Inputs;
use super::{Line, Plan, encoder_of};
use crate::Outcome;
use crate::client::submit;
use crate::receiver::{Manner, Receiver};
use crate::service::{Service, Setup, binary};

const PATIENCE: Duration = Duration::from_secs(60);
/// Extractions at once, ours and the peer's.
const WORKERS: usize = 2;
const CROWD: usize = 50;

/// A service, its source's host and its webhook's receiver.
struct Scene {
    service: Service,
    host: Host,
    receiver: Receiver,
    submitted: usize,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn start(plan: &Plan, inputs: &Inputs) -> Outcome<Self> {
        let folder = crate::scratch()?;
        let setup = Setup {
            binary: binary(&plan.binary)?,
            data_dir: folder.path().to_owned(),
            log: "error",
            settings: vec![("WORKERS", WORKERS.to_string())],
        };
        let clip = Arc::new(std::fs::read(&inputs.clip)?);
        let headers = [("content-type", "video/mp4"), ("etag", "\"clip\""), ("accept-ranges", "bytes")];
        let host = Host::start(move |seen| Reply::file(seen, &clip, &headers)).await;
        let receiver = Receiver::start(Manner::Quick).await?;
        let service = Service::start(&setup, "127.0.0.1:0".parse()?).await?;
        Ok(Self { service, host, receiver, submitted: 0, _folder: folder })
    }

    fn source(&self) -> String {
        self.host.url("/clip.mp4")
    }

    fn job(&self, output: &serde_json::Value) -> Bytes {
        let options = json!({"webhook": self.receiver.url()});
        let source = json!({"type": "url", "url": self.source()});
        Bytes::from(json!({"source": source, "output": output, "options": options}).to_string())
    }

    /// Seconds from the first POST to the last webhook.
    async fn jobs(&mut self, output: &serde_json::Value, count: usize) -> Outcome<f64> {
        let body = self.job(output);
        let begun = Instant::now();
        let mut posts = JoinSet::new();
        for _ in 0..count {
            self.submitted += 1;
            posts.spawn(submit(self.service.address, self.submitted, body.clone()));
        }
        posts.join_all().await;
        if !self.receiver.wait_for(self.submitted, PATIENCE).await {
            return Err("a webhook did not come".into());
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// One bare command after the other, as one of the workers would.
    async fn lane(&self, inputs: &Inputs, number: usize) -> Outcome<()> {
        for _ in 0..CROWD / WORKERS {
            self.bare(inputs, encoder_of(AudioFormat::Wav), "wav", number).await?;
        }
        Ok(())
    }

    /// Seconds of one bare command.
    async fn bare(&self, inputs: &Inputs, encoder: &[&str], extension: &str, number: usize) -> Outcome<f64> {
        let begun = Instant::now();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-y", "-i", &self.source(), "-vn"]).args(encoder);
        ffmpeg.arg(inputs.folder.join(format!("bare-{number}.{extension}")));
        if !ffmpeg.status().await?.success() {
            return Err("ffmpeg failed".into());
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// Each format, and a copy.
pub(super) async fn one_by_one(plan: &Plan, inputs: &Inputs) -> Outcome<Vec<Line>> {
    let mut scene = Scene::start(plan, inputs).await?;
    let mut lines = Vec::new();
    // The first extraction of a service is not what is measured.
    scene.jobs(&json!({"format": "wav"}), 1).await?;
    for (name, output, encoder, extension, bar) in works() {
        let mut pairs = Vec::new();
        for _ in 0..plan.turns(9) {
            let ours = scene.jobs(&output, 1).await? * 1000.0;
            pairs.push((ours, scene.bare(inputs, encoder, extension, 0).await? * 1000.0));
        }
        lines.push(Line::of_pairs(format!("10 s clip through the service, {name}"), "ms", &pairs, bar));
    }
    scene.service.stop().await?;
    Ok(lines)
}

type Work = (String, serde_json::Value, &'static [&'static str], &'static str, f64);

fn works() -> Vec<Work> {
    let mut works: Vec<Work> = AudioFormat::ALL
        .into_iter()
        .map(|format| {
            let bar = if matches!(format, AudioFormat::Wav | AudioFormat::Flac) { 0.6 } else { 1.0 };
            // A lower bitrate than the source's: its own codec would be copied.
            let output = match format {
                AudioFormat::Aac => json!({"format": "aac", "bitrate": "96k"}),
                _ => json!({"format": format.as_str()}),
            };
            let encoder: &[&str] =
                if format == AudioFormat::Aac { &["-c:a", "aac", "-b:a", "96k"] } else { encoder_of(format) };
            (format.as_str().to_owned(), output, encoder, format.as_str(), bar)
        })
        .collect();
    works.push(("copy".to_owned(), json!({"format": "aac"}), &["-c:a", "copy"], "aac", 0.6));
    works
}

/// Many clips at once, beside the bare command so many at a time.
pub(super) async fn crowd(plan: &Plan, inputs: &Inputs) -> Outcome<Line> {
    let mut scene = Scene::start(plan, inputs).await?;
    scene.jobs(&json!({"format": "wav"}), WORKERS).await?;
    let mut pairs = Vec::new();
    for _ in 0..plan.turns(5) {
        let ours = scene.jobs(&json!({"format": "wav"}), CROWD).await?;
        let begun = Instant::now();
        // As many lanes as workers.
        tokio::try_join!(scene.lane(inputs, 0), scene.lane(inputs, 1))?;
        pairs.push((ours, begun.elapsed().as_secs_f64()));
    }
    scene.service.stop().await?;
    Ok(Line::of_pairs(format!("{CROWD} such clips to wav at once, {WORKERS} workers"), "s", &pairs, 0.6))
}
