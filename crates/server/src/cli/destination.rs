//! Where the audio goes: a file, which gets to its place whole or not at all, or standard output.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::Stop;

pub(super) enum Destination {
    File(PathBuf),
    Stdout,
}

impl Destination {
    /// Refuses what nobody wants: sound on a terminal.
    pub(super) fn stdout() -> Result<Self, Stop> {
        if io::stdout().is_terminal() {
            return Err(Stop::Usage(
                "--output: stdout is a terminal; send it into a file or a program".to_owned(),
            ));
        }
        Ok(Self::Stdout)
    }

    /// The file while it is being made: made now, empty, so that what cannot be written is known before anything is
    /// fetched; gone again unless it is delivered. All formats but one need a file to go back in, to say their length.
    pub(super) fn draft(&self) -> Result<TempPath, Stop> {
        let mut draft = tempfile::Builder::new();
        draft.prefix(".audio-extract-").suffix(".part");
        let made = match self {
            Self::File(path) => {
                // Its permissions are those of any new file of the user's, as the umask has them.
                let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                draft.permissions(Permissions::from_mode(0o666)).tempfile_in(beside.unwrap_or(Path::new(".")))
            }
            Self::Stdout => draft.tempfile(),
        };
        made.map(tempfile::NamedTempFile::into_temp_path)
            .map_err(|cause| Stop::Failed(format!("{}: {cause}", self.name())))
    }

    /// Puts the whole result in its place.
    pub(super) async fn deliver(&self, draft: TempPath) -> Result<(), Stop> {
        let failed = |cause: io::Error| match (self, cause.kind()) {
            (Self::Stdout, ErrorKind::BrokenPipe) => {
                Stop::Failed("stdout was closed before the whole result was written".to_owned())
            }
            _ => Stop::Failed(format!("{}: {cause}", self.name())),
        };
        match self {
            Self::File(path) => draft.persist(path).map_err(|refused| failed(refused.error)),
            Self::Stdout => {
                let poured = tokio::task::spawn_blocking(move || pour(&draft));
                poured.await.map_err(io::Error::other).flatten().map_err(failed)
            }
        }
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdout => "stdout".to_owned(),
        }
    }
}

fn pour(path: &Path) -> io::Result<()> {
    // Past the standard library's buffer, which looks for lines.
    let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut File::open(path)?, &mut stdout)?;
    Ok(())
}
