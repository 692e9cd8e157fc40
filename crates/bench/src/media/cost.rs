//! What a command costs: time on the wall, CPU time of it and all that it started, and their memory together.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::sys::wait::waitpid;

use crate::Outcome;
use crate::memory::family_of;

/// How often memory is looked at. A peak that is shorter than this may be missed, on both sides alike.
const LOOKED_EVERY: Duration = Duration::from_millis(20);

/// What a command cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// Seconds from its start to its end.
    pub(super) wall: f64,
    /// Seconds of CPU, user and system, of it and its descendants.
    pub(super) cpu: f64,
    /// The most bytes that it and its descendants held at once, shared ones counted by share (Pss).
    pub(super) peak_bytes: u64,
}

/// Runs a command to its end. It must succeed.
pub(super) fn run(words: &[String]) -> Outcome<Cost> {
    measure(words, false)
}

/// The same, and looks at memory meanwhile, which costs time of its own.
pub(super) fn run_watched(words: &[String]) -> Outcome<Cost> {
    measure(words, true)
}

fn measure(words: &[String], is_watched: bool) -> Outcome<Cost> {
    // What outlives its parent becomes ours, so that its time is counted too.
    set_child_subreaper(true)?;
    let (program, arguments) = words.split_first().ok_or("no command")?;
    let before = cpu_secs()?;
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|cause| format!("{program}: {cause}"))?;
    let watch = is_watched.then(|| Watch::start(child.id()));
    let output = child.wait_with_output()?;
    let wall = begun.elapsed().as_secs_f64();
    let peak_bytes = watch.map_or(Ok(0), Watch::end)?;
    // Until there are none left.
    while waitpid(None, None).is_ok() {}
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{words:?} failed: {said}").into());
    }
    Ok(Cost { wall, cpu: cpu_secs()? - before, peak_bytes })
}

/// Of all children that have ended and were waited for.
fn cpu_secs() -> Outcome<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}

/// Looks at a family's memory until it is told to stop.
struct Watch {
    is_over: Arc<AtomicBool>,
    watching: thread::JoinHandle<u64>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let watching = thread::spawn(move || {
            let mut peak = 0;
            while !told.load(Ordering::Relaxed) {
                peak = peak.max(family_of(pid).iter().map(|pid| share_of(pid)).sum());
                thread::sleep(LOOKED_EVERY);
            }
            peak
        });
        Self { is_over, watching }
    }

    fn end(self) -> Outcome<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        self.watching.join().map_err(|_| "the watch on memory panicked".into())
    }
}

/// A process' proportional share in bytes; none if it is gone.
pub(crate) fn share_of(pid: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
