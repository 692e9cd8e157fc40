//! One attempt at one job: open the source, make the audio, put it into the file store.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{ExtractOrder, Failure, FailureCode, Job, Lease, ProgressSink as _, ResultFile, Source, Step};
use sha2::{Digest as _, Sha256};

use super::ExtractLoop;
use super::progress::Tracker;

/// Where an attempt's files are in the store. The fence is part of it, so that an attempt that was presumed dead can
/// never overwrite what a later one announced.
pub(super) fn folder(lease: &Lease<Job>) -> String {
    format!("{}/{}", lease.item.id, lease.attempt)
}

/// A file that is gone with its owner, however the owner ends.
struct ScratchFile(PathBuf);

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_file(&self.0)
            && cause.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%cause, "a scratch file could not be deleted; the next start does it");
        }
    }
}

/// Sums the size of a source of which all that was wanted has been made, beside what was fetched of it. One that was
/// given up early would look like a saving.
fn count_size(source: &dyn Source) {
    let fetched = source.fetched();
    if fetched.requests > 0 {
        let size = source.known_size().unwrap_or(fetched.bytes);
        metrics::counter!("audio_extract_source_size_bytes_total").increment(size);
    }
}

impl ExtractLoop {
    /// Does the work of one attempt. May be dropped at any point.
    pub(super) async fn work(&self, lease: &Lease<Job>, tracker: &Tracker) -> Result<ResultFile, Failure> {
        let spec = &lease.item.spec;
        let extension = spec.output.format.as_str();
        let scratch = format!("{}-{}.{extension}", lease.item.id, lease.attempt);
        let scratch = ScratchFile(self.config.scratch.join(scratch));
        let opening = self.parts.opener.open(&spec.source, spec.output.track.as_ref(), tracker.tally());
        let source = opening.await?;
        let order = ExtractOrder {
            source: Arc::clone(&source),
            source_name: spec.source.name(),
            output: &spec.output,
            into: &scratch.0,
            progress: tracker,
        };
        let extracted = self.parts.extractor.extract(order).await?;
        count_size(&*source);
        drop(source);
        tracker.progressed(Step::Finalizing, None);
        let sha256 = sha256(scratch.0.clone()).await?;
        // Not the customer's file name: escaped for a path it could grow beyond what a file system takes.
        let location = format!("{}/audio.{extension}", folder(lease));
        self.store_result(&location, &scratch.0).await?;
        Ok(ResultFile {
            filename: spec.result_filename(),
            location,
            size: extracted.size,
            duration_secs: extracted.duration_secs(),
            bitrate_kbps: extracted.bitrate_kbps(),
            method: extracted.method,
            sha256,
            sample_rate: extracted.sample_rate,
            channels: extracted.channels,
            damaged_packets: extracted.damaged_packets,
            loudness: extracted.loudness,
            metadata_left_out: extracted.metadata_left_out,
        })
    }

    async fn store_result(&self, location: &str, path: &Path) -> Result<(), Failure> {
        self.parts.files.put(location, path).await.map_err(|cause| not_stored(cause.to_string()))?;
        Ok(())
    }
}

/// SHA-256 of a file in hex, read piece by piece away from the runtime's threads.
async fn sha256(path: PathBuf) -> Result<String, Failure> {
    let hash = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; 256 * 1024];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                count => hash.update(&piece[..count]),
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    });
    match hash.await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(cause)) => Err(not_stored(cause.to_string())),
        Err(cause) => Err(not_stored(cause.to_string())),
    }
}

fn not_stored(cause: String) -> Failure {
    Failure::transient(
        FailureCode::InternalError,
        "The result could not be stored; submit the job again later.",
    )
    .with_private(cause)
}
