//! What tests of extractions stand on: a source in memory, a file for the result, an ear. Two test programs share it.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use domain::{
    AudioFormat, BoxFuture, ExtractOrder, Failure, Fetched, InputFile, OutputSpec, ProgressSink, Source, Step,
};
use media::{Supervisor, SupervisorConfig};

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

    pub(crate) fn order<'a>(
        &'a self,
        source: Arc<dyn Source>,
        into: &'a std::path::Path,
    ) -> ExtractOrder<'a> {
        ExtractOrder { source, source_name: "talk.wav", output: &self.output, into, progress: &self.heard }
    }
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
