//! A file that a customer sends, to be named as the source of jobs.

use crate::filename::Filename;
use crate::ids::{FileId, KeyId};
use crate::time::Timestamp;

/// Where an upload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// Bytes are still to come.
    Receiving,
    /// All bytes are there, and jobs may name it.
    Complete,
    /// It expired, was used up or was deleted.
    Gone,
}

/// A file of a key's own, whole or still on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    /// Its name in `source.file`.
    pub id: FileId,
    /// Whose it is.
    pub key: KeyId,
    /// What its owner calls it.
    pub name: Option<Filename>,
    /// What its owner said of it, to be told again as it was: the `Upload-Metadata` of tus.
    pub metadata: Option<String>,
    /// Where it stands.
    pub state: UploadState,
    /// Bytes that it will have, where that is known by now.
    pub length: Option<u64>,
    /// Bytes that it has, all of them stored.
    pub received: u64,
    /// When it goes if nothing more comes and no job names it.
    pub expires_at: Timestamp,
}
