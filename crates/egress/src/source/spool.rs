//! A source that comes once, from its first byte to its last, because its host serves no ranges, or it is a pipe or in
//! segments: it goes to a file without a name while the reader reads it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use domain::{Access, BoxFuture, Failure, Fetched, Source};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::body::{Body, Meter};
use super::budget::{Share, SpoolBudget};
use super::error::FetchError;
use super::fetch::Fetcher;
use super::playlist::Joined;
use crate::file::read_file_at;

/// Written at once, where as much has arrived: small pieces would cost a trip to a blocking thread each.
const WRITE_BYTES: usize = 256 * 1024;

/// How far the spool is.
#[derive(Debug, Clone, Default)]
struct Reached {
    /// Bytes in the file, all readable.
    bytes: u64,
    /// Set when no more will come.
    end: Option<Result<(), Failure>>,
}

/// What fills a spool.
pub(crate) enum Supply {
    /// The body of one answer.
    Body(Body),
    /// The segments of a playlist.
    Joined(Box<Joined>),
}

impl Supply {
    /// The next bytes, never empty, or `None` at the end. Cancelling it loses none.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self {
            Self::Body(body) => body.next().await,
            Self::Joined(joined) => joined.next().await,
        }
    }
}

/// A source on disk that is still growing.
pub(crate) struct Spooled {
    file: Arc<File>,
    announced: Option<u64>,
    reached: watch::Receiver<Reached>,
    meter: Arc<Meter>,
    filling: JoinHandle<()>,
}

impl Spooled {
    /// Starts to write what comes to a file without a name.
    pub(crate) async fn start(
        fetcher: Arc<Fetcher>,
        supply: Supply,
        announced: Option<u64>,
        budget: Arc<SpoolBudget>,
    ) -> Result<Self, FetchError> {
        let scratch = fetcher.config.scratch_dir.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(scratch)).await;
        let file = made.map_err(std::io::Error::other).flatten().map_err(FetchError::Spool)?;
        let file = Arc::new(file);
        let meter = Arc::clone(&fetcher.meter);
        let (progress, reached) = watch::channel(Reached::default());
        let filling = Filling { file: Arc::clone(&file), announced, share: Share::of(budget), progress };
        let filling = tokio::spawn(filling.fill(fetcher, supply));
        Ok(Self { file, announced, reached, meter, filling })
    }

    /// Starts to write what comes out of a pipe to `file`, at most so many bytes.
    pub(crate) fn of_pipe(pipe: impl Read + Send + 'static, file: File, max_bytes: u64) -> Self {
        let file = Arc::new(file);
        let (progress, reached) = watch::channel(Reached::default());
        let into = Arc::clone(&file);
        // Not a task: reading a pipe blocks for as long as the program at its other end likes.
        let filling = tokio::task::spawn_blocking(move || {
            let end = Some(pour_pipe(pipe, &into, &progress, max_bytes).map_err(FetchError::into_failure));
            progress.send_modify(|reached| reached.end = end);
        });
        Self {
            file,
            announced: None,
            reached,
            meter: Arc::new(Meter::new(Arc::default(), max_bytes)),
            filling,
        }
    }

    /// Waits until there is something to say about `offset`.
    async fn reach(&self, offset: u64) -> Reached {
        let mut reached = self.reached.clone();
        let there = reached.wait_for(|reached| reached.bytes > offset || reached.end.is_some()).await;
        // The filling task says the end before it goes; a runtime that is shutting down may have dropped it.
        there
            .map(|there| there.clone())
            .unwrap_or_else(|_| Reached { bytes: 0, end: Some(Err(FetchError::Short.into_failure())) })
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.filling.abort();
    }
}

impl Source for Spooled {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async {
            if let Some(announced) = self.announced {
                return Ok(announced);
            }
            let reached = self.reach(u64::MAX).await;
            reached.end.unwrap_or(Ok(())).map(|()| reached.bytes)
        })
    }

    fn known_size(&self) -> Option<u64> {
        let reached = self.reached.borrow();
        self.announced.or(matches!(reached.end, Some(Ok(()))).then_some(reached.bytes))
    }

    fn access(&self) -> Access {
        match self.reached.borrow().end {
            Some(Ok(())) => Access::Random,
            _ => Access::InOrder { is_sized: self.announced.is_some() },
        }
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            let reached = self.reach(offset).await;
            if reached.bytes <= offset {
                return reached.end.unwrap_or(Ok(())).map(|()| Vec::new());
            }
            let there = usize::try_from(reached.bytes - offset).unwrap_or(usize::MAX);
            let read = read_file_at(Arc::clone(&self.file), offset, max_bytes.min(there)).await;
            read.map_err(|cause| FetchError::Spool(cause).into_failure())
        })
    }

    /// The whole body comes anyway.
    fn plan(&self, _ranges: Vec<Range<u64>>) {}

    fn fetched(&self) -> Fetched {
        self.meter.fetched()
    }
}

/// A spool's side of whoever fills it.
struct Filling {
    file: Arc<File>,
    announced: Option<u64>,
    share: Share,
    progress: watch::Sender<Reached>,
}

impl Filling {
    async fn fill(mut self, fetcher: Arc<Fetcher>, supply: Supply) {
        let poured = fetcher.in_time(self.pour(supply, fetcher.config.max_bytes)).await;
        let end = Some(poured.map_err(FetchError::into_failure));
        self.progress.send_modify(|reached| reached.end = end);
        // The file takes its space for as long as somebody reads it, and so does its share of the budget.
        self.progress.closed().await;
    }

    async fn pour(&mut self, mut supply: Supply, max_bytes: u64) -> Result<(), FetchError> {
        let mut written = 0_u64;
        while let Some(first) = supply.next().await? {
            let mut pieces = vec![first];
            let mut gathered = pieces[0].len();
            // What has arrived by now goes along; nothing is waited for, because somebody may be waiting for us.
            let mut is_over = false;
            while gathered < WRITE_BYTES {
                match supply.next().now_or_never() {
                    Some(Ok(Some(piece))) => {
                        gathered += piece.len();
                        pieces.push(piece);
                    }
                    Some(Ok(None)) => {
                        is_over = true;
                        break;
                    }
                    Some(Err(error)) => return Err(error),
                    None => break,
                }
            }
            let count = gathered as u64;
            if written + count > max_bytes {
                return Err(FetchError::TooLarge { max_bytes });
            }
            if self.announced.is_some_and(|announced| written + count > announced) {
                return Err(FetchError::Changed);
            }
            self.share.grow(count)?;
            write(Arc::clone(&self.file), pieces, written).await?;
            written += count;
            self.progress.send_modify(|reached| reached.bytes = written);
            if is_over {
                break;
            }
        }
        // A body that says its length is held to that where it is read off the connection, so this one does not: its host
        // said the length with the ranges that it has served until now.
        if self.announced.is_none_or(|announced| written == announced) {
            Ok(())
        } else {
            Err(FetchError::Changed)
        }
    }
}

fn pour_pipe(
    mut pipe: impl Read,
    file: &File,
    progress: &watch::Sender<Reached>,
    max_bytes: u64,
) -> Result<(), FetchError> {
    let mut piece = vec![0; WRITE_BYTES];
    let mut written = 0_u64;
    // When nobody reads any more, nothing is left to do.
    while !progress.is_closed() {
        let count = match pipe.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(FetchError::Pipe(cause)),
        };
        if written + count as u64 > max_bytes {
            return Err(FetchError::TooLarge { max_bytes });
        }
        file.write_all_at(&piece[..count], written).map_err(FetchError::Spool)?;
        written += count as u64;
        progress.send_modify(|reached| reached.bytes = written);
    }
    Ok(())
}

async fn write(file: Arc<File>, pieces: Vec<Bytes>, mut offset: u64) -> Result<(), FetchError> {
    let written = tokio::task::spawn_blocking(move || {
        for piece in pieces {
            file.write_all_at(&piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
    });
    written.await.map_err(std::io::Error::other).flatten().map_err(FetchError::Spool)
}
