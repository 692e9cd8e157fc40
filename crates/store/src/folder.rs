//! The data folder: who owns it, and how much room is left.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock, statvfs};

use crate::error::StoreError;

/// The file in the data folder that is locked; it holds nothing.
const LOCK_FILE: &str = "service.lock";

/// Proof that no other process uses the data folder. The kernel lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Locks the folder, which must exist.
    pub fn acquire(dir: &Path) -> Result<Self, StoreError> {
        let fail = |what: &str| StoreError::Defect(format!("the data folder {} {what}", dir.display()));
        let mut options = OpenOptions::new();
        let opened = options.create(true).write(true).truncate(false).open(dir.join(LOCK_FILE));
        let file = opened.map_err(|error| fail(&format!("cannot be written to: {error}")))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(fail("is in use by another service; stop that one or give this one a folder of its own"))
            }
            Err(error) => Err(fail(&format!("cannot be locked: {error}"))),
        }
    }
}

/// Bytes that may still be written to the file system that this path is on.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().expect("a folder");
        let lock = DataDirLock::acquire(dir.path()).expect("the first");
        let error = DataDirLock::acquire(dir.path()).expect_err("the second").to_string();
        assert!(error.contains("in use by another service"), "{error}");
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        drop(lock);
        DataDirLock::acquire(dir.path()).expect("after the first has gone");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = DataDirLock::acquire(Path::new("/nonexistent/x")).expect_err("no folder");
        assert!(error.to_string().contains("/nonexistent/x"), "{error}");
    }

    #[test]
    fn there_is_room() {
        assert!(free_bytes(&std::env::temp_dir()).expect("a file system") > 0);
        assert!(free_bytes(Path::new("/nonexistent/x")).is_err());
    }
}
