//! What the sandbox's tests stand on beside the desk: attacks, and ways to see processes and descriptors.

use std::sync::Arc;

use domain::{Extracted, Failure};
use media::{Attack, Supervisor};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

pub(crate) use crate::desk::{Desk, Memory, run, start, until};

impl Desk {
    /// An extraction whose child attacks instead.
    pub(crate) async fn attacked(
        &self,
        supervisor: &Supervisor,
        attack: Attack,
    ) -> Result<Extracted, Failure> {
        let into = self.result();
        supervisor.extract_attacked(attack, self.order(Arc::new(Memory(Vec::new())), &into)).await
    }
}

/// The processes whose parent is this one.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<_>>())
        .collect()
}

/// The zygotes of this process.
pub(crate) fn zygotes() -> Vec<i32> {
    children_of(std::process::id().cast_signed())
}

/// A process, held by a descriptor, so that its number cannot become another's.
pub(crate) struct Process(std::os::fd::OwnedFd);

impl Process {
    pub(crate) fn of(pid: i32) -> Self {
        let pid = Pid::from_raw(pid).expect("a pid");
        Self(pidfd_open(pid, PidfdFlags::empty()).expect("a live process"))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        let mut event = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut event, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(1)
    }

    pub(crate) async fn end(&self) {
        until(|| self.has_ended().then_some(())).await;
    }

    pub(crate) fn kill(&self) {
        rustix::process::pidfd_send_signal(&self.0, rustix::process::Signal::KILL).expect("killed");
    }
}

/// Open descriptors of this process.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("descriptors").count()
}

/// The same within a runtime before the first test: asked for in `main`, so that it is.
pub(crate) fn descriptors_at_start() -> usize {
    static AT_START: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *AT_START.get_or_init(|| run(async { descriptors() }))
}
