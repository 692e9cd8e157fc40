//! What the tests stand on: a source in memory, a file for the result, ways to see processes and descriptors.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use domain::{
    AudioFormat, BoxFuture, ExtractOrder, Extracted, Failure, Fetched, InputFile, OutputSpec, ProgressSink,
    Source, Step,
};
use media::{Attack, Supervisor, SupervisorConfig};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Runs a test's future on a runtime of its own.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test)
}

pub(crate) async fn start(config: SupervisorConfig) -> Supervisor {
    Supervisor::start(config).await.expect("a supervisor")
}

/// A source in memory.
pub(crate) struct Memory(pub(crate) Vec<u8>);

impl Source for Memory {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(self.0.len() as u64) })
    }
    fn known_size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(max_bytes).min(self.0.len());
        Box::pin(async move { Ok(self.0[start..end].to_vec()) })
    }
    fn plan(&self, _: Vec<Range<u64>>) {}
    fn fetched(&self) -> Fetched {
        Fetched::default()
    }
}

/// Remembers what was told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) probed: Mutex<Option<InputFile>>,
    pub(crate) steps: Mutex<Vec<Step>>,
}

impl ProgressSink for Heard {
    fn probed(&self, input: InputFile) {
        *self.probed.lock().expect("unpoisoned") = Some(input);
    }
    fn progressed(&self, step: Step, _: Option<f64>) {
        self.steps.lock().expect("unpoisoned").push(step);
    }
}

/// A folder for a result, the spec of one, and an ear.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    pub(crate) output: OutputSpec,
    pub(crate) heard: Heard,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let output = OutputSpec::plain(AudioFormat::Wav);
        Self { folder: tempfile::tempdir().expect("a folder"), output, heard: Heard::default() }
    }

    pub(crate) fn result(&self) -> PathBuf {
        self.folder.path().join("result")
    }

    /// An extraction whose child attacks instead.
    pub(crate) async fn attacked(
        &self,
        supervisor: &Supervisor,
        attack: Attack,
    ) -> Result<Extracted, Failure> {
        let into = self.result();
        supervisor.extract_attacked(attack, self.order(Arc::new(Memory(Vec::new())), &into)).await
    }

    pub(crate) fn order<'a>(
        &'a self,
        source: Arc<dyn Source>,
        into: &'a std::path::Path,
    ) -> ExtractOrder<'a> {
        ExtractOrder { source, source_name: "talk.wav", output: &self.output, into, progress: &self.heard }
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

/// Waits until a condition holds that the kernel announces to nobody, such as that a process has a child.
pub(crate) async fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(held) = condition() {
            return held;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never came to hold");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
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
