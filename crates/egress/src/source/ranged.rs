//! A source whose host serves ranges: random access over a few streaming responses.

use std::ops::Range;

use domain::{BoxFuture, Failure, Fetched, Source};
use tokio::sync::Mutex;

use super::cursor::{Cursor, Pinned, RangeBody};
use super::error::FetchError;
use super::fetch::Fetcher;
use super::patience::Patience;

/// Places read at once. Two, because a demuxer that finds its index at the end goes back to where it was, and the
/// first response, still open there, serves it on.
const MAX_CURSORS: usize = 2;

/// Random access over HTTP. It holds at most [`MAX_CURSORS`] windows of bytes and as many connections, whatever the
/// size of the file: what is not read waits in the network.
pub(crate) struct Ranged {
    fetcher: Fetcher,
    pinned: Pinned,
    reading: Mutex<Reading>,
}

/// Reads come one at a time from a demuxer, so overlapping ones may well wait for each other.
struct Reading {
    /// The most recently used comes last.
    cursors: Vec<Cursor>,
    patience: Patience,
}

impl Ranged {
    pub(crate) fn new(fetcher: Fetcher, pinned: Pinned, first: Option<RangeBody>) -> Self {
        let cursors = first.map(Cursor::opened).into_iter().collect();
        Self { fetcher, pinned, reading: Mutex::new(Reading { cursors, patience: Patience::default() }) }
    }

    async fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
        if offset >= self.pinned.length || max_bytes == 0 {
            return Ok(Vec::new());
        }
        let mut reading = self.reading.lock().await;
        let Reading { cursors, patience } = &mut *reading;
        let mut cursor = match cursors.iter().rposition(|cursor| cursor.reaches(offset)) {
            Some(index) => cursors.remove(index),
            None => Cursor::at(offset),
        };
        if cursors.len() >= MAX_CURSORS {
            cursors.remove(0);
        }
        let read = cursor.read(offset, max_bytes, &self.fetcher, &self.pinned, patience).await;
        cursors.push(cursor);
        read
    }
}

impl Source for Ranged {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(self.pinned.length) })
    }

    fn known_size(&self) -> Option<u64> {
        Some(self.pinned.length)
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async move {
            let read = self.fetcher.in_time(self.read(offset, max_bytes)).await;
            read.map_err(FetchError::into_failure)
        })
    }

    /// Every read is served as it comes: the hint is not used.
    fn plan(&self, _ranges: Vec<Range<u64>>) {}

    fn fetched(&self) -> Fetched {
        self.fetcher.meter.fetched()
    }
}
