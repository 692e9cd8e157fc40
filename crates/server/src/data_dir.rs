//! What is kept in the data folder: the database, results, scratch files, the master key and the first API key.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use store::{DatabaseUrl, MasterKey};

use crate::cli::Stop;
use crate::config::Settings;

/// The data folder, made if it was not there.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the folder for its owner alone. One that is there keeps its permissions.
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        make_private(path)?;
        let absolute = path.canonicalize().map_err(|cause| failed("data folder", path, &cause))?;
        Ok(Self(absolute))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where results are written before they are stored, and sources spooled. Emptied at each start: what is in it
    /// belongs to a process that is gone.
    pub(crate) fn fresh_scratch(&self) -> Result<PathBuf, Stop> {
        let path = self.0.join("scratch");
        match fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(failed("scratch folder", &path, &cause));
            }
            _ => {}
        }
        make_private(&path)?;
        Ok(path)
    }

    /// The folder of the results, where no other store is configured.
    pub(crate) fn files(&self) -> Result<PathBuf, Stop> {
        let path = self.0.join("files");
        make_private(&path)?;
        Ok(path)
    }

    /// The configured database, else the embedded one in this folder.
    pub(crate) fn database(&self, settings: &Settings) -> Result<DatabaseUrl, Stop> {
        match &settings.database_url {
            Some(url) => DatabaseUrl::parse(url.expose())
                .map_err(|cause| Stop::Usage(format!("database_url: {cause}"))),
            None => Ok(DatabaseUrl::Sqlite(self.0.join("audio-extract.sqlite"))),
        }
    }

    /// The configured master key, else the one in this folder, made the first time.
    pub(crate) fn master_key(&self, settings: &Settings) -> Result<MasterKey, Stop> {
        if let Some(text) = &settings.master_key {
            return MasterKey::parse(text.expose())
                .map_err(|cause| Stop::Usage(format!("master_key: {cause}")));
        }
        let path = self.0.join("master.key");
        let read = || match fs::read_to_string(&path) {
            Ok(text) => MasterKey::parse(&text)
                .map(Some)
                .map_err(|cause| Stop::Failed(format!("{}: {cause}", path.display()))),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("master key", &path, &cause)),
        };
        if let Some(key) = read()? {
            return Ok(key);
        }
        let fresh = MasterKey::generate()?;
        match write_new(&path, fresh.to_text().expose().as_bytes()) {
            Ok(()) => Ok(fresh),
            // Another process was first; its key is the one.
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                read()?.ok_or_else(|| failed("master key", &path, &cause))
            }
            Err(cause) => Err(failed("master key", &path, &cause)),
        }
    }

    /// Writes `first-key.json`, replacing one that a start left which never came to use it.
    pub(crate) fn write_first_key(&self, contents: &[u8]) -> Result<PathBuf, Stop> {
        let path = self.0.join("first-key.json");
        let written = match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(cause),
            _ => write_new(&path, contents),
        };
        written.map_err(|cause| failed("first key", &path, &cause))?;
        Ok(path)
    }
}

/// Makes a file that only its owner can read, whole or not at all, unless there is one.
fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let linked = file
        .write_all(contents)
        .and_then(|()| file.sync_all())
        // A link, unlike a rename, does not replace what another process has put there meanwhile.
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked
}

fn make_private(path: &Path) -> Result<(), Stop> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|cause| failed("folder", path, &cause))
}

fn failed(what: &str, path: &Path, cause: &io::Error) -> Stop {
    Stop::Failed(format!("{what} {}: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    #[test]
    fn the_master_key_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = DataDir::open(&folder.path().join("a/b")).expect("a data folder");
        assert_eq!(mode(dir.path()), 0o700);
        let settings = Settings::defaults();
        let first = dir.master_key(&settings).expect("a key");
        let second = dir.master_key(&settings).expect("the key");
        assert_eq!(first.to_text(), second.to_text());
        assert_eq!(mode(&dir.path().join("master.key")), 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("entries").count(), 1, "no draft is left");
    }
}
