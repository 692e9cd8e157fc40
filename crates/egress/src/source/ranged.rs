//! A source whose host serves ranges: random access, with what will be read next on its way already.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use domain::{BoxFuture, Failure, Fetched, Source};
use tokio::sync::Mutex;

use super::budget::SpoolBudget;
use super::error::FetchError;
use super::fetch::Answer;
use super::prefetch::{Looked, Prefetch};
use super::spool::{Spooled, Supply};

/// Random access over HTTP. It holds a window of bytes ahead of the reader and a little behind it, whatever the size of
/// the file.
pub(crate) struct Ranged {
    prefetch: Arc<Prefetch>,
    budget: Arc<SpoolBudget>,
    /// Reads come one at a time from a demuxer, so overlapping ones may well wait for each other.
    turn: Mutex<()>,
    /// What the source is read from since its host has stopped to serve ranges.
    spooled: OnceLock<Spooled>,
}

impl Ranged {
    pub(crate) fn new(prefetch: Prefetch, budget: Arc<SpoolBudget>) -> Self {
        Self { prefetch: Arc::new(prefetch), budget, turn: Mutex::new(()), spooled: OnceLock::new() }
    }

    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<u8>, Failure> {
        if offset >= self.prefetch.pinned.length || max_bytes == 0 {
            return Ok(Vec::new());
        }
        let _turn = self.turn.lock().await;
        loop {
            if let Some(spooled) = self.spooled.get() {
                return spooled.read_at(offset, max_bytes).await;
            }
            let mut news = std::pin::pin!(self.prefetch.news.notified());
            news.as_mut().enable();
            match self.prefetch.look(offset, max_bytes) {
                Looked::Bytes(bytes) => return Ok(bytes),
                Looked::Kept(there) => {
                    let there = usize::try_from(there).unwrap_or(usize::MAX);
                    let read = self.prefetch.kept.read(offset, max_bytes.min(there)).await;
                    return read.map_err(FetchError::into_failure);
                }
                Looked::Failed(failure) => return Err(failure),
                Looked::Whole(answer) => self.spool(answer).await?,
                Looked::Wait(None) => news.await,
                Looked::Wait(Some(until)) => {
                    tokio::select! {
                        () = news => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// From here on the file is read from a spool, which this answer's body fills.
    async fn spool(&self, answer: Answer) -> Result<(), Failure> {
        tracing::debug!("the host has stopped to serve ranges: all of the file is read");
        self.prefetch.stop();
        let (fetcher, length) = (Arc::clone(&self.prefetch.fetcher), self.prefetch.pinned.length);
        let started =
            Spooled::start(fetcher, Supply::Body(answer.body), Some(length), Arc::clone(&self.budget)).await;
        let spooled = started.map_err(FetchError::into_failure)?;
        // Only whoever has the turn comes here.
        self.spooled.get_or_init(|| spooled);
        Ok(())
    }
}

impl Drop for Ranged {
    fn drop(&mut self) {
        self.prefetch.stop();
    }
}

impl Source for Ranged {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(self.prefetch.pinned.length) })
    }

    fn known_size(&self) -> Option<u64> {
        Some(self.prefetch.pinned.length)
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        let fetcher = &self.prefetch.fetcher;
        Box::pin(async move {
            let read = tokio::time::timeout_at(fetcher.deadline, self.read(offset, max_bytes)).await;
            read.unwrap_or_else(|_| Err(fetcher.out_of_time().into_failure()))
        })
    }

    fn plan(&self, ranges: Vec<Range<u64>>) {
        if self.spooled.get().is_none() {
            self.prefetch.plan(ranges);
        }
    }

    fn once(&self) {
        self.prefetch.kept.close();
    }

    fn fetched(&self) -> Fetched {
        self.prefetch.fetcher.meter.fetched()
    }
}
