//! Taking files in, to be named as the source of jobs.
//!
//! A part goes into the file store under a name of its own and counts once it is appended; what is not appended is
//! deleted. So whoever sends may break off at any point, and go on at any node.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, FileId, Filename, KeyId, Upload, UploadState};
use store::{Addition, Appended, Deletion, FileStore, Store, StoreError, UploadBounds, UploadPart};

use crate::chance::random_id;

/// The bounds of taking files in.
#[derive(Debug, Clone)]
pub struct UploadConfig {
    /// Bytes of one file.
    pub max_bytes: u64,
    /// How long a file is kept that nothing more comes of and no job names.
    pub retention: Duration,
    /// What one key may hold.
    pub bounds: UploadBounds,
    /// Where files lie in a folder: bytes that stay free there.
    pub min_free_bytes: u64,
}

/// Why a file, or a part of it, was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file would be larger than files may be.
    #[error("more than {max_bytes} bytes")]
    TooLarge {
        /// Bytes that one may have.
        max_bytes: u64,
    },
    /// The key holds as much as it may.
    #[error("the key holds as many files or bytes as it may")]
    NoRoom,
    /// The file comes in more parts than one may have.
    #[error("more than {max} parts")]
    TooManyParts {
        /// How many that is.
        max: u64,
    },
    /// The store's disk is nearly full.
    #[error("too little free disk")]
    NoDisk,
    /// The key has no such upload.
    #[error("no such upload")]
    NotFound,
    /// It had one.
    #[error("the upload is gone")]
    Gone,
    /// The upload is not where it is to be gone on with.
    #[error("the upload has {received} bytes")]
    Moved {
        /// Bytes that it has.
        received: u64,
    },
    /// More bytes than were announced, or another length than was.
    #[error("the upload has {length} bytes")]
    OtherLength {
        /// Bytes that it was to have.
        length: u64,
    },
    /// A job that has not ended needs it.
    #[error("a job needs the upload")]
    InUse,
    /// The store is at fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use case of taking files in.
pub struct Uploads {
    store: Store,
    files: FileStore,
    clock: Arc<dyn Clock>,
    config: UploadConfig,
}

impl Uploads {
    /// Over these rows and files.
    pub fn new(store: Store, files: FileStore, clock: Arc<dyn Clock>, config: UploadConfig) -> Self {
        Self { store, files, clock, config }
    }

    /// Bytes that one file may have.
    pub fn max_bytes(&self) -> u64 {
        self.config.max_bytes
    }

    /// Begins an upload of so many bytes, if that is known.
    pub async fn begin(
        &self,
        key: &KeyId,
        name: Option<Filename>,
        metadata: Option<String>,
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        self.check_size(length.unwrap_or_default())?;
        self.check_disk()?;
        let now = self.clock.now();
        let upload = Upload {
            id: FileId::from_random(random_id()),
            key: key.clone(),
            name,
            metadata,
            state: if length == Some(0) { UploadState::Complete } else { UploadState::Receiving },
            length,
            received: 0,
            expires_at: now.plus(self.config.retention),
        };
        match self.store.create_upload(&upload, &self.config.bounds, now).await? {
            true => Ok(upload),
            false => Err(UploadError::NoRoom),
        }
    }

    /// The key's own upload of this name. Another key's is as unknown as none.
    pub async fn find(&self, key: &KeyId, id: &FileId) -> Result<Upload, UploadError> {
        match self.store.upload(key, id, self.clock.now()).await? {
            None => Err(UploadError::NotFound),
            Some(Upload { state: UploadState::Gone, .. }) => Err(UploadError::Gone),
            Some(upload) => Ok(upload),
        }
    }

    /// Puts bytes into the file store. They count once they are appended.
    pub async fn put(&self, upload: &Upload, bytes: Vec<u8>) -> Result<UploadPart, UploadError> {
        self.check_disk()?;
        let size = bytes.len() as u64;
        let name = u64::from_be_bytes(random_id());
        let location = format!("{}/{name:016x}", folder(&upload.id));
        self.files.put_bytes(&location, bytes).await?;
        metrics::counter!("audio_extract_upload_bytes_total").increment(size);
        Ok(UploadPart { location, size })
    }

    /// Makes parts the upload's next bytes, and `length` its length; it is complete when it has that many. Parts that
    /// are refused are deleted.
    pub async fn append(
        &self,
        upload: &Upload,
        parts: &[UploadPart],
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        let refused = match self.try_append(upload, parts, length).await {
            Ok(upload) => return Ok(upload),
            // Whether they count by now cannot be known: they stay, and go with the upload.
            Err(error @ UploadError::Store(_)) => return Err(error),
            Err(refused) => refused,
        };
        self.discard(parts).await;
        Err(refused)
    }

    async fn try_append(
        &self,
        upload: &Upload,
        parts: &[UploadPart],
        length: Option<u64>,
    ) -> Result<Upload, UploadError> {
        let size: u64 = parts.iter().map(|part| part.size).sum();
        self.check_size(upload.received.saturating_add(size).max(length.unwrap_or_default()))?;
        let now = self.clock.now();
        let addition = Addition {
            key: &upload.key,
            id: &upload.id,
            at: upload.received,
            parts,
            length,
            expires_at: now.plus(self.config.retention),
        };
        match self.store.append_upload(&addition, &self.config.bounds, now).await? {
            Appended::Accepted(upload) => Ok(upload),
            Appended::Moved(upload) => Err(UploadError::Moved { received: upload.received }),
            Appended::OtherLength(upload) => {
                Err(UploadError::OtherLength { length: upload.length.unwrap_or(upload.received) })
            }
            Appended::NoRoom => Err(UploadError::NoRoom),
            Appended::TooManyParts { max } => Err(UploadError::TooManyParts { max }),
            Appended::Gone => Err(UploadError::Gone),
        }
    }

    /// Deletes parts that were put and are not to be appended.
    pub async fn discard(&self, parts: &[UploadPart]) {
        for part in parts {
            if let Err(cause) = self.files.delete(&part.location).await {
                tracing::warn!(%cause, "a part of an upload could not be deleted; it goes with the upload");
            }
        }
    }

    /// Deletes the key's own upload of this name; its bytes go at the next sweep.
    pub async fn delete(&self, key: &KeyId, id: &FileId) -> Result<(), UploadError> {
        match self.store.delete_upload(key, id, self.clock.now()).await? {
            Deletion::Deleted => Ok(()),
            Deletion::InUse => Err(UploadError::InUse),
            Deletion::NotThere => self.find(key, id).await.map(drop),
        }
    }

    fn check_size(&self, bytes: u64) -> Result<(), UploadError> {
        let max_bytes = self.config.max_bytes;
        if bytes > max_bytes { Err(UploadError::TooLarge { max_bytes }) } else { Ok(()) }
    }

    fn check_disk(&self) -> Result<(), UploadError> {
        match self.files.free_bytes()? {
            Some(free) if free < self.config.min_free_bytes => Err(UploadError::NoDisk),
            _ => Ok(()),
        }
    }
}

/// Where the parts of an upload are in the file store.
pub(crate) fn folder(id: &FileId) -> String {
    format!("uploads/{id}")
}
