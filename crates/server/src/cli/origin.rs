//! Where the media come from: a file, a URL, or standard input.

use std::fs::{File, Metadata};
use std::io::{self, IsTerminal as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{AddressPolicy as _, Source, SourceOpener as _, SourceSpec, TrackChoice, WebUrl};
use egress::FileSource;

use super::Stop;
use super::extract::failed;
use crate::boot;
use crate::config::Settings;

/// What stands for standard input, and for standard output.
pub(super) const STANDARD: &str = "-";

pub(super) enum Origin {
    File(PathBuf),
    Url(WebUrl),
    Stdin,
}

impl Origin {
    /// As it was typed.
    pub(super) fn parse(text: &str) -> Result<Self, Stop> {
        if text == STANDARD {
            return Ok(Self::Stdin);
        }
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        WebUrl::parse(text).map(Self::Url).map_err(|reason| Stop::Usage(format!("SOURCE: {reason}")))
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) => path
                .file_name()
                .map_or_else(|| "source".to_owned(), |name| name.to_string_lossy().into_owned()),
            Self::Url(url) => spec(url).name().to_owned(),
            Self::Stdin => "stdin".to_owned(),
        }
    }

    /// Its name without its extension.
    pub(super) fn stem(&self) -> String {
        let name = self.name();
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        if stem.is_empty() { "audio".to_owned() } else { stem.to_owned() }
    }

    /// Whether it is this file.
    pub(super) fn is_file(&self, other: &Path) -> bool {
        match self {
            Self::File(path) => {
                matches!((path.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
            }
            Self::Url(_) => false,
            // It has lost its name.
            Self::Stdin => {
                let inode = |metadata: Metadata| (metadata.dev(), metadata.ino());
                let stdin = stdin().and_then(|stdin| stdin.metadata()).map(inode);
                matches!((stdin, other.metadata().map(inode)), (Ok(stdin), Ok(other)) if stdin == other)
            }
        }
    }

    /// Opens it; of a playlist, the track that is wanted.
    pub(super) async fn open(
        &self,
        settings: &Settings,
        wanted: Option<&TrackChoice>,
    ) -> Result<Arc<dyn Source>, Stop> {
        match self {
            Self::File(path) => {
                let source = FileSource::open(path);
                let source = source.map_err(|cause| Stop::Failed(format!("{}: {cause}", path.display())))?;
                Ok(Arc::new(source))
            }
            Self::Url(url) => {
                let egress = boot::egress(settings, std::env::temp_dir())?;
                egress.guard.check(url.url()).map_err(|refused| {
                    Stop::Failed(format!("{} (--allow-networks opens private networks)", refused.0))
                })?;
                let opened = egress.sources.open(&spec(url), wanted, Arc::default()).await;
                opened.map_err(|failure| failed(&failure))
            }
            Self::Stdin => open_stdin(settings),
        }
    }
}

fn spec(url: &WebUrl) -> SourceSpec {
    SourceSpec::Url { url: url.clone(), headers: Vec::new() }
}

fn stdin() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// A file is read where it lies. What comes through a pipe is read once and kept in a file without a name, in which a
/// demuxer can go back; one that need not begins with the first bytes.
fn open_stdin(settings: &Settings) -> Result<Arc<dyn Source>, Stop> {
    if io::stdin().is_terminal() {
        return Err(Stop::Usage("SOURCE: stdin is a terminal; send a file into it, or name one".to_owned()));
    }
    let opened = || -> io::Result<Arc<dyn Source>> {
        let mut stdin = stdin()?;
        // Another program may have read the beginning, which is not ours then.
        let is_at_start = stdin.metadata()?.is_file() && stdin.stream_position()? == 0;
        if is_at_start {
            return Ok(Arc::new(FileSource::of(stdin)?));
        }
        egress::open_pipe(stdin, &std::env::temp_dir(), settings.max_source_bytes)
    };
    opened().map_err(|cause| Stop::Failed(format!("stdin: {cause}")))
}
