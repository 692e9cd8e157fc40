//! What is fetched to copy a video's audio out, and how long that takes over a slow link: ours beside
//! `ffmpeg -i URL`, and beside a download and the command on the file.

mod host;
mod memory;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use self::host::{Counted, Host, Link, Ranges};
use self::sources::{Source, Work};
use crate::Outcome;
use crate::stats::median;

const LINK: Link = Link { round_trip: Duration::from_millis(20), bytes_per_sec: 4e6 };
const MOST_CONNECTIONS: u64 = 4;
/// Packets at either end of a copy that may differ: what the decoder needs to warm up, and what an edit list cuts.
const EDGE_BYTES: usize = 4096;

/// What is to be measured.
pub(crate) struct Plan {
    /// A shorter recording: to see that it works, not to quote; what each request costs weighs more than it should.
    pub(crate) is_quick: bool,
    /// Sources whose names begin so.
    pub(crate) only: String,
    /// The release binary.
    pub(crate) binary: PathBuf,
}

impl Plan {
    fn secs(&self) -> u32 {
        if self.is_quick { 60 } else { 600 }
    }

    fn turns(&self) -> usize {
        if self.is_quick { 1 } else { 3 }
    }

    fn wants(&self, name: &str) -> bool {
        name.starts_with(&self.only)
    }
}

/// What others need for a source.
struct Peers {
    /// `ffmpeg -i URL`, in seconds.
    direct: f64,
    /// A download, and the command on the file.
    downloaded: f64,
    made: PathBuf,
}

/// What ours needs.
struct Ours {
    wall: f64,
    counted: Counted,
    /// Empty if nothing is.
    wrong: String,
}

/// Measures and prints; whether every bar is met.
pub(crate) fn print(plan: &Plan, runtime: &Runtime, say: impl Fn(&str)) -> Outcome<bool> {
    let mut is_met = true;
    say(
        "| source | ranges a request | fetched, MB | of what is needed | bar | requests | ours, s | ffmpeg, s | ratio | bar \
         | download first, s | |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
    );
    for source in Source::all(plan)? {
        let (peers, needed) = (peers(&source)?, source.needed_bytes()? as f64);
        for work in source.works {
            let ours = ours(plan, &source, *work, &peers)?;
            let (share, ratio) = (ours.counted.bytes as f64 / needed, ours.wall / peers.direct);
            let is_good = work.most_bytes.is_none_or(|most| share <= most)
                && ratio <= work.most_wall
                && ours.wrong.is_empty();
            is_met &= is_good;
            let ranges = if work.ranges == Ranges::Several { "several" } else { "one" };
            let most_bytes = work.most_bytes.map_or_else(String::new, |most| format!("{most:.2}"));
            say(&format!(
                "| {} | {ranges} | {:.1} | {share:.3} | {most_bytes} | {} | {:.2} | {:.2} | {ratio:.4} | {:.4} | {:.2} | {} {}|",
                source.name,
                ours.counted.bytes as f64 / 1e6,
                ours.counted.requests,
                ours.wall,
                peers.direct,
                work.most_wall,
                peers.downloaded,
                if is_good { "met" } else { "MISSED" },
                ours.wrong,
            ));
        }
    }
    if plan.wants("memory") {
        is_met &= memory::print(plan, runtime, say)?;
    }
    Ok(is_met)
}

/// Both at once, each from a host of its own: they sleep most of the time.
fn peers(source: &Source) -> Outcome<Peers> {
    let (made, remade) = (source.path.with_extension("peer.aac"), source.path.with_extension("again.aac"));
    let fetched = source.path.with_extension("fetched");
    let start = || Host::start(&source.path, LINK, Ranges::Several);
    let (direct, whole) = (start()?, start()?);
    let (direct_url, whole_url) = (direct.url(&source.file_name()), whole.url(&source.file_name()));
    let downloading = {
        let fetched = fetched.clone();
        thread::spawn(move || {
            let begun = Instant::now();
            run(Command::new("curl").args(["-sS", "-o"]).arg(&fetched).arg(&whole_url))?;
            run(&mut copying(&fetched.display().to_string(), &remade))?;
            Outcome::Ok(begun.elapsed().as_secs_f64())
        })
    };
    let begun = Instant::now();
    run(&mut copying(&direct_url, &made))?;
    let direct = begun.elapsed().as_secs_f64();
    let downloaded = downloading.join().map_err(|_| "the download panicked")??;
    fs::remove_file(&fetched)?;
    Ok(Peers { direct, downloaded, made })
}

fn copying(from: &str, into: &Path) -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-i", from, "-vn", "-c", "copy"]).arg(into);
    ffmpeg
}

/// Runs a command, which must succeed. What it has printed.
fn run(command: &mut Command) -> Outcome<Vec<u8>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// The middle time of some turns; what they fetched is the same but for chance, so the most counts.
fn ours(plan: &Plan, source: &Source, work: Work, peers: &Peers) -> Outcome<Ours> {
    let made = source.path.with_extension("ours.aac");
    let (mut walls, mut most) = (Vec::new(), Counted::default());
    let mut wrong = String::new();
    for _ in 0..plan.turns() {
        let host = Host::start(&source.path, LINK, work.ranges)?;
        let mut command = Command::new(&plan.binary);
        command.args(["extract", "--json", "--allow-networks", "127.0.0.0/8", "-o"]).arg(&made);
        let begun = Instant::now();
        let said = run(command.arg(host.url(&source.file_name())))?;
        walls.push(begun.elapsed().as_secs_f64());
        most = most.most(host.counted());
        let result: Value = serde_json::from_slice(&said)?;
        if result["method"] != "copy" {
            wrong = format!("({} instead of a copy) ", result["method"]);
        }
    }
    if most.connections > MOST_CONNECTIONS {
        wrong.push_str(&format!("({} connections) ", most.connections));
    }
    if !is_same_sound(&made, &peers.made)? {
        wrong.push_str("(other packets than ffmpeg's) ");
    }
    Ok(Ours { wall: median(walls), counted: most, wrong })
}

/// Whether the packets are the same but for a few at either end. (Their ADTS heads are too.)
fn is_same_sound(ours: &Path, peer: &Path) -> Outcome<bool> {
    let (ours, peer) = (fs::read(ours)?, fs::read(peer)?);
    let Some(inner) = ours.get(EDGE_BYTES..ours.len().saturating_sub(EDGE_BYTES)) else { return Ok(false) };
    let is_there = peer.windows(inner.len()).take(4 * EDGE_BYTES).any(|window| window == inner);
    Ok(is_there && ours.len().abs_diff(peer.len()) < EDGE_BYTES)
}
