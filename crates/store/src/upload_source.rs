//! An upload as a job reads it: random access over the parts that it came in, wherever the file store keeps them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use domain::{BoxFuture, Failure, FailureCode, Fetched, FileId, Source};
use tokio::sync::Mutex;

use crate::Store;
use crate::error::StoreError;
use crate::files::FileStore;
use crate::uploads::UploadPart;

/// Fetched at once for a reader that goes on: what a store across the network gives in about one round trip.
const AHEAD_BYTES: u64 = 4 << 20;
/// A step forward that is still going on: fetching what is stepped over costs less than asking again.
const STEP_BYTES: u64 = 256 << 10;

/// Opens uploads.
#[derive(Clone)]
pub struct UploadSources {
    store: Store,
    files: FileStore,
}

impl UploadSources {
    /// Over these rows and files.
    pub fn new(store: Store, files: FileStore) -> Self {
        Self { store, files }
    }

    /// Opens a complete upload. Whether its reader may was decided when the job was taken.
    pub async fn open(&self, id: &FileId) -> Result<Arc<dyn Source>, Failure> {
        let parts = self.store.upload_parts(id).await.map_err(unreadable)?;
        let parts = parts.ok_or_else(|| lost(format!("{id} is not complete")))?;
        let mut ends = Vec::with_capacity(parts.len());
        let mut size = 0;
        for part in &parts {
            size += part.size;
            ends.push(size);
        }
        Ok(Arc::new(UploadSource {
            files: self.files.clone(),
            parts,
            ends,
            size,
            ahead: Mutex::new(Ahead { at: 0, bytes: Bytes::new() }),
        }))
    }
}

/// What was fetched last.
struct Ahead {
    at: u64,
    bytes: Bytes,
}

impl Ahead {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.bytes.len() as u64)
    }

    /// Up to `max_bytes` from there on, if they are here.
    fn read(&self, offset: u64, max_bytes: usize) -> Option<Vec<u8>> {
        let skip = usize::try_from(offset.checked_sub(self.at)?).ok()?;
        let there = self.bytes.get(skip..).filter(|there| !there.is_empty())?;
        Some(there[..there.len().min(max_bytes)].to_vec())
    }
}

struct UploadSource {
    files: FileStore,
    parts: Vec<UploadPart>,
    /// Where each part ends.
    ends: Vec<u64>,
    size: u64,
    ahead: Mutex<Ahead>,
}

impl UploadSource {
    /// Up to `max_bytes` from `offset`, all of one part; none at the end.
    async fn fetch(&self, offset: u64, max_bytes: u64) -> Result<Bytes, StoreError> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let (Some(part), Some(end)) = (self.parts.get(index), self.ends.get(index)) else {
            return Ok(Bytes::new());
        };
        let begin = end - part.size;
        let last = offset.saturating_add(max_bytes).min(*end);
        self.files.read(&part.location, offset - begin..last - begin).await
    }
}

impl Source for UploadSource {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(self.size) })
    }

    fn known_size(&self) -> Option<u64> {
        Some(self.size)
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            let mut ahead = self.ahead.lock().await;
            if let Some(bytes) = ahead.read(offset, max_bytes) {
                return Ok(bytes);
            }
            let goes_on =
                (ahead.end()..=ahead.end().saturating_add(STEP_BYTES)).contains(&offset) && offset > 0;
            let wanted = max_bytes as u64;
            let bytes = self.fetch(offset, if goes_on { wanted.max(AHEAD_BYTES) } else { wanted }).await;
            *ahead = Ahead { at: offset, bytes: bytes.map_err(unreadable)? };
            Ok(ahead.read(offset, max_bytes).unwrap_or_default())
        })
    }

    /// What a reader skips is seldom worth a request of its own here; what is worth it is seen by its reads.
    fn plan(&self, _ranges: Vec<Range<u64>>) {}

    /// Nothing was fetched from anybody.
    fn fetched(&self) -> Fetched {
        Fetched::default()
    }
}

fn lost(cause: String) -> Failure {
    Failure::permanent(
        FailureCode::DownloadFailed,
        "Upload the file again and submit the job with its new id.",
    )
    .with_details("the uploaded file is not there any more")
    .with_private(cause)
}

fn unreadable(cause: StoreError) -> Failure {
    match cause {
        StoreError::NoSuchFile { .. } => lost(cause.to_string()),
        cause => Failure::transient(
            FailureCode::InternalError,
            "The uploaded file could not be read; submit the job again later.",
        )
        .with_private(cause.to_string()),
    }
}
