//! A place in a ranged source: one response streaming from there, and a window of the bytes behind it.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;

use super::answer::{ContentRange, Version};
use super::body::Body;
use super::error::FetchError;
use super::fetch::{Answer, Fetcher};
use super::patience::Patience;

/// Bytes kept behind a cursor, so that a demuxer's small steps back cost no request. This and one frame of hyper
/// (at most its read buffer) are all that a cursor ever holds.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A gap that is read through rather than jumped over: on an ordinary link it arrives sooner than the answer to
/// another request would.
const SKIP_BYTES: u64 = 256 * 1024;

/// What all answers of one source have to agree on.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) version: Version,
    pub(crate) length: u64,
}

/// The part of a file that one answer brings.
pub(crate) struct RangeBody {
    body: Body,
    left: u64,
    got: u64,
}

impl RangeBody {
    /// Takes an answer to a request for the bytes from `first` on, if it is one.
    pub(crate) fn accept(answer: Answer, first: u64, pinned: &Pinned) -> Result<Self, FetchError> {
        if !pinned.version.is_of(&answer.headers) {
            return Err(FetchError::Changed);
        }
        if answer.status != StatusCode::PARTIAL_CONTENT {
            // 200: the same file, but no longer in ranges. 416: it has become shorter.
            let is_shorter = answer.status == StatusCode::RANGE_NOT_SATISFIABLE;
            return Err(if is_shorter { FetchError::Changed } else { FetchError::WrongRange });
        }
        match ContentRange::of(&answer.headers) {
            Some(ContentRange::Part { length: Some(length), .. }) if length != pinned.length => {
                Err(FetchError::Changed)
            }
            Some(ContentRange::Part { first: got, last, .. }) if got == first && last < pinned.length => {
                Ok(Self { body: answer.body, left: last - first + 1, got: 0 })
            }
            _ => Err(FetchError::WrongRange),
        }
    }

    /// The next bytes, or `None` where the range was served to its end.
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        match self.body.next().await? {
            Some(bytes) => {
                let count = bytes.len() as u64;
                self.left = self.left.checked_sub(count).ok_or(FetchError::WrongRange)?;
                self.got += count;
                Ok(Some(bytes))
            }
            None if self.left == 0 => Ok(None),
            None => Err(FetchError::Short),
        }
    }
}

/// A place in a source.
pub(crate) struct Cursor {
    /// The offset of the window's first byte.
    start: u64,
    window: VecDeque<u8>,
    body: Option<RangeBody>,
}

impl Cursor {
    pub(crate) fn at(offset: u64) -> Self {
        Self { start: offset, window: VecDeque::new(), body: None }
    }

    /// At the beginning, with the first answer's body.
    pub(crate) fn opened(body: RangeBody) -> Self {
        Self { body: Some(body), ..Self::at(0) }
    }

    /// The offset of the next byte that will arrive.
    fn position(&self) -> u64 {
        self.start + self.window.len() as u64
    }

    /// Whether the bytes at `offset` are here, or near enough to be read up to.
    pub(crate) fn reaches(&self, offset: u64) -> bool {
        let ahead = if self.body.is_some() { SKIP_BYTES } else { 0 };
        (self.start..=self.position() + ahead).contains(&offset)
    }

    /// Up to `max_bytes` bytes from `offset`, at least one; `offset` lies within the file and in reach.
    pub(crate) async fn read(
        &mut self,
        offset: u64,
        max_bytes: usize,
        fetcher: &Fetcher,
        pinned: &Pinned,
        patience: &mut Patience,
    ) -> Result<Vec<u8>, FetchError> {
        while self.position() <= offset {
            if let Err(error) = self.advance(fetcher, pinned, patience).await {
                // From the byte reached: what is in the window is not fetched again.
                self.body = None;
                patience.after(error, &fetcher.config).await?;
            }
        }
        Ok(self.copy(offset, max_bytes))
    }

    /// Brings in one piece, from the open body or from a new one.
    async fn advance(
        &mut self,
        fetcher: &Fetcher,
        pinned: &Pinned,
        patience: &mut Patience,
    ) -> Result<(), FetchError> {
        let first = self.position();
        let body = match &mut self.body {
            Some(body) => body,
            closed => {
                let answer = fetcher.get(Some(first), pinned.version.if_range()).await?;
                closed.insert(RangeBody::accept(answer, first, pinned)?)
            }
        };
        match body.next().await? {
            Some(bytes) => {
                patience.progressed(bytes.len() as u64);
                self.push(&bytes);
                Ok(())
            }
            // A host may answer with less than was asked for, as long as it is a useful part.
            None if body.got > SKIP_BYTES => {
                self.body = None;
                Ok(())
            }
            None => Err(FetchError::Short),
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.window.extend(bytes);
        let excess = self.window.len().saturating_sub(WINDOW_BYTES.max(bytes.len()));
        self.window.drain(..excess);
        self.start += excess as u64;
    }

    fn copy(&self, offset: u64, max_bytes: usize) -> Vec<u8> {
        let skipped = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.window.len());
        let end = self.window.len().min(skipped.saturating_add(max_bytes));
        let (front, back) = self.window.as_slices();
        let mut copied = Vec::with_capacity(end - skipped);
        copied.extend_from_slice(&front[skipped.min(front.len())..end.min(front.len())]);
        let behind = |at: usize| at.saturating_sub(front.len());
        copied.extend_from_slice(&back[behind(skipped)..behind(end)]);
        copied
    }
}
