//! Memory and wake-ups of a process, as the kernel counts them.

use std::fs;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Outcome;

/// How often a peak is looked for.
const LOOKED_EVERY: Duration = Duration::from_millis(200);

/// Bytes that this process shares with nobody.
pub(crate) fn private_bytes() -> Outcome<u64> {
    private_bytes_of("self")
}

/// Bytes that this process shares with nobody.
pub(crate) fn private_bytes_of(pid: &str) -> Outcome<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:"))
}

/// Its proportional share (Pss) in bytes of everything but shared libraries: heap, stacks, the binary.
pub(crate) fn share_of(pid: &str) -> Outcome<u64> {
    let mut is_library = false;
    let mut bytes = 0;
    for line in fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
        if let Some(rest) = line.strip_prefix("Pss:") {
            bytes += if is_library { 0 } else { number(rest, "") * 1024 };
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            is_library = line.contains(".so");
        }
    }
    Ok(bytes)
}

/// How often its threads have gone to sleep, and so have been woken.
pub(crate) fn sleeps_of(pid: &str) -> Outcome<u64> {
    let mut sleeps = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        sleeps += number(&status, "voluntary_ctxt_switches:");
    }
    Ok(sleeps)
}

/// CPU time in ticks of 1/100 s.
pub(crate) fn cpu_ticks_of(pid: &str) -> Outcome<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(ticks(11) + ticks(12))
}

/// The process and all that descend from it.
pub(crate) fn family_of(pid: u32) -> Vec<String> {
    let mut family = vec![pid.to_string()];
    let mut next = 0;
    while let Some(parent) = family.get(next).cloned() {
        for thread in fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().map(str::to_owned));
        }
        next += 1;
    }
    family
}

fn field(text: &str, name: &str) -> u64 {
    number(text, name) * 1024
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The most private memory that this process has over a while.
pub(crate) struct Peak(JoinHandle<Outcome<u64>>);

impl Peak {
    pub(crate) fn watch(from: Instant, during: Duration) -> Self {
        Self(tokio::spawn(async move {
            tokio::time::sleep_until(from).await;
            let mut peak = private_bytes()?;
            while from.elapsed() < during {
                tokio::time::sleep(LOOKED_EVERY).await;
                peak = peak.max(private_bytes()?);
            }
            Ok(peak)
        }))
    }

    pub(crate) async fn bytes(self) -> Outcome<u64> {
        self.0.await?
    }
}
