//! Results and uploads: a folder, or an object store that object_store knows.
//!
//! A result's location begins with `{job}/{fence}/` and a part's of an upload with `uploads/{file}/`, so nothing is ever
//! written twice under one name, and everything of a job or an upload is under one prefix.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Location;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::io::{AsyncWriteExt, BufReader};
use url::Url;

use crate::error::StoreError;
use crate::folder::free_bytes;

/// Bytes held of a file while it is put: a smaller file goes in one request, a larger one in parts of this size.
/// S3 takes parts from 5 MiB, and 10,000 of them: 80 GiB.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Parts under way at once, each held in memory.
const PARTS_AT_ONCE: usize = 2;

/// A file, or a range of one, on its way out.
pub struct FileBody {
    /// Bytes of the whole file.
    pub size: u64,
    /// The bytes asked for, in order.
    pub bytes: BoxStream<'static, Result<Bytes, StoreError>>,
}

/// Where files are. Cheap to clone.
#[derive(Clone)]
pub struct FileStore {
    store: Arc<dyn ObjectStore>,
    /// Where it is, if it is a folder here.
    folder: Option<PathBuf>,
}

impl fmt::Debug for FileStore {
    /// Without the settings of an object store: they may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Some(folder) => write!(f, "FileStore({})", folder.display()),
            None => f.write_str("FileStore(object store)"),
        }
    }
}

impl FileStore {
    /// Opens a folder; it is made if it is not there. What is put is flushed to the disk before it counts as put.
    pub fn open_folder(folder: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: Some(folder) })
    }

    /// Opens `file:///FOLDER`, or an object store: `s3://BUCKET/PREFIX`. `options` are object_store's settings by
    /// name (`endpoint`, `access_key_id`, `secret_access_key`, `region`, `allow_http`, …); nothing is taken from
    /// the environment. An object store is not contacted before it is used.
    pub fn open(url: &Url, options: &HashMap<String, String>) -> Result<Self, StoreError> {
        if url.scheme() == "file" {
            let folder = url.to_file_path();
            let folder = folder.map_err(|()| StoreError::Defect(format!("{url} names no folder here")))?;
            return Self::open_folder(&folder);
        }
        // object_store's client is built without a TLS provider of its own. That another one is installed already
        // is fine: it is the process's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (store, prefix) = object_store::parse_url_opts(url, options.clone())?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, prefix)), folder: None })
    }

    /// Puts a file under a location. It is there as a whole or not at all, and never as a whole in memory.
    pub async fn put(&self, location: &str, from: &Path) -> Result<(), StoreError> {
        let location = parse_location(location)?;
        let mut file = BufReader::with_capacity(256 * 1024, tokio::fs::File::open(from).await?);
        let writer = BufWriter::with_capacity(Arc::clone(&self.store), location, PART_BYTES);
        let mut writer = writer.with_max_concurrency(PARTS_AT_ONCE);
        if let Err(error) = tokio::io::copy_buf(&mut file, &mut writer).await {
            if let Err(error) = writer.abort().await {
                tracing::debug!(%error, "an upload that failed could not be taken back");
            }
            return Err(from_io(error));
        }
        // A shutdown that fails takes the upload back by itself; an abort after it would panic.
        writer.shutdown().await.map_err(from_io)
    }

    /// Gets a file, or the bytes of a range of it, which must lie within the file.
    pub async fn get(&self, location: &str, range: Option<Range<u64>>) -> Result<FileBody, StoreError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.store.get_opts(&parse_location(location)?, options).await?;
        let size = found.meta.size;
        Ok(FileBody { size, bytes: found.into_stream().map_err(StoreError::from).boxed() })
    }

    /// Puts bytes under a location; they are there as a whole or not at all.
    pub async fn put_bytes(&self, location: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store.put(&parse_location(location)?, bytes.into()).await?;
        Ok(())
    }

    /// The bytes of a range of a file, all at once.
    pub async fn read(&self, location: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        Ok(self.store.get_range(&parse_location(location)?, range).await?)
    }

    /// Deletes one file.
    pub async fn delete(&self, location: &str) -> Result<(), StoreError> {
        match self.store.delete(&parse_location(location)?).await {
            Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Bytes that may still be written, where that can be known: in a folder.
    pub fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.folder.as_deref().map(free_bytes).transpose()?)
    }

    /// A file's size in bytes.
    pub async fn head(&self, location: &str) -> Result<u64, StoreError> {
        Ok(self.store.head(&parse_location(location)?).await?.size)
    }

    /// Deletes everything under a prefix (a job's id), parts of interrupted puts too where it is a folder. There
    /// may be nothing.
    pub async fn delete_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let location = parse_location(prefix)?;
        if let Some(folder) = &self.folder {
            return match tokio::fs::remove_dir_all(folder.join(location.as_ref())).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        let found = self.store.list(Some(&location)).map_ok(|found| found.location).boxed();
        let mut deleted = self.store.delete_stream(found);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Asks the store for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if let Some(folder) = &self.folder {
            return Ok(tokio::fs::metadata(folder).await.map(drop)?);
        }
        match self.store.head(&parse_location("ping")?).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes a location as it is: object_store's other way would percent-encode every letter beyond ASCII, and a name
/// of 240 bytes would no longer fit a file system's entry.
fn parse_location(location: &str) -> Result<Location, StoreError> {
    let refuse = |reason: &dyn fmt::Display| {
        Err(StoreError::Defect(format!("`{location}` cannot be where a file is: {reason}")))
    };
    match Location::parse(location) {
        Ok(parsed) if parsed.is_root() => refuse(&"it is empty"),
        Ok(parsed) => Ok(parsed),
        Err(error) => refuse(&error),
    }
}

/// object_store's writer wraps its errors in IO errors.
fn from_io(error: io::Error) -> StoreError {
    match error.downcast::<object_store::Error>() {
        Ok(error) => error.into(),
        Err(error) => error.into(),
    }
}
