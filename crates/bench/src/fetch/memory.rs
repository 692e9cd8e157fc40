//! What a job takes of memory while it reads five gigabytes, above the idle service: all processes together, what they
//! share counted by share (Pss).

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::host::{Host, Link, Ranges};
use super::sources::Source;
use super::{Plan, run};
use crate::media::cost::share_of;
use crate::memory::family_of;
use crate::service::{API_KEY, Service, Setup, binary};
use crate::{Outcome, client, scratch};

const MIB: f64 = 1024.0 * 1024.0;
const MOST_BYTES: f64 = 64.0 * MIB;
/// After the start, until what a start does is done.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// How often a peak is looked for.
const LOOKED_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures and prints; whether the bar is met.
pub(super) fn print(plan: &Plan, runtime: &Runtime, say: impl Fn(&str)) -> Outcome<bool> {
    let file = Source::large()?;
    let folder = scratch()?;
    let setup = Setup {
        binary: binary(&plan.binary)?,
        data_dir: folder.path().canonicalize()?.join("data"),
        log: "error",
        settings: Vec::new(),
    };
    let host = Host::start(&file, Link::NONE, Ranges::Several)?;
    let service = runtime.block_on(Service::start(&setup, "127.0.0.1:0".parse()?))?;
    thread::sleep(SETTLED_AFTER);
    let idle = share_of_family(&service);
    let job = json!({"source": {"type": "url", "url": host.url("large.mov")}, "output": {"format": "aac"}});
    let accepted = runtime.block_on(client::submit(service.address, 0, Bytes::from(job.to_string())));
    let status = format!("http://{}/audio-extract/v1/status/{}", service.address, accepted.job);
    let (mut peak, begun) = (idle, Instant::now());
    let watch = thread::spawn(move || {
        loop {
            let key = format!("x-api-key: {API_KEY}");
            let said: Value =
                serde_json::from_slice(&run(Command::new("curl").args(["-sS", "-H", &key, &status]))?)?;
            match said["data"]["status"].as_str() {
                Some("completed") => return Outcome::Ok(()),
                Some("queued" | "processing") if begun.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50))
                }
                _ => return Err(format!("the job of 5 GB: {said}").into()),
            }
        }
    });
    while !watch.is_finished() {
        peak = peak.max(share_of_family(&service));
        thread::sleep(LOOKED_EVERY);
    }
    watch.join().map_err(|_| "the watch panicked")??;
    runtime.block_on(service.stop())?;
    let above = peak.saturating_sub(idle) as f64;
    let is_met = above <= MOST_BYTES;
    say(&format!(
        "\nMemory of a job above the idle service ({:.0} MiB), source of {:.2} GB of which {:.1} MB are fetched: \
         {:.0} MiB of at most {:.0}: {}",
        idle as f64 / MIB,
        fs::metadata(&file)?.len() as f64 / 1e9,
        host.counted().bytes as f64 / 1e6,
        above / MIB,
        MOST_BYTES / MIB,
        if is_met { "met" } else { "MISSED" },
    ));
    Ok(is_met)
}

fn share_of_family(service: &Service) -> u64 {
    family_of(service.pid()).iter().map(|pid| share_of(pid)).sum()
}
