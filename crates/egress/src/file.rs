//! A source that lies on this machine: what the command line extracts from.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use domain::{BoxFuture, Failure, FailureCode, Fetched, Source};

/// A local file, read where it lies.
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens a regular file; anything else has no size to read by.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(File::open(path)?)
    }

    /// The same of a file that is open.
    pub fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { file, size: metadata.len() })
    }
}

impl Source for FileSource {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(self.size) })
    }

    fn known_size(&self) -> Option<u64> {
        Some(self.size)
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            // On this thread: the command line has nothing else to do meanwhile, and packet by packet a change of
            // threads costs more than the read.
            read_here(&self.file, offset, max_bytes.min(left)).map_err(|cause| {
                Failure::permanent(FailureCode::DownloadFailed, "Check that the file can be read.")
                    .with_details("the file cannot be read")
                    .with_private(cause.to_string())
            })
        })
    }

    /// Nothing is gained by knowing ahead: the system's page cache does it.
    fn plan(&self, _ranges: Vec<Range<u64>>) {}

    fn fetched(&self) -> Fetched {
        Fetched::default()
    }
}

/// Up to `max_bytes` bytes of a file; none only at the end.
fn read_here(file: &File, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
    if max_bytes == 0 {
        // Past the end an offset may be more than the system takes.
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; max_bytes];
    let count = loop {
        match file.read_at(&mut bytes, offset) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    bytes.truncate(count);
    Ok(bytes)
}

/// The same, off the runtime's threads.
pub(crate) async fn read_file_at(file: Arc<File>, offset: u64, max_bytes: usize) -> io::Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || read_here(&file, offset, max_bytes));
    read.await.map_err(io::Error::other)?
}
