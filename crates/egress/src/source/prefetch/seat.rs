//! One request, from its place among those under way to what it brought.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::Instant;

use super::super::batch::Batch;
use super::super::error::FetchError;
use super::super::kept::Kept;
use super::super::part::{Accepted, accept};
use super::Prefetch;

/// An answer that ends early is a useful part all the same if it brought so much.
const USEFUL_BYTES: u64 = 64 << 10;
/// Written to disk at once, where as much has arrived: parts may be small.
const KEEP_BYTES: usize = 256 << 10;

/// A request's place among those under way, given back however it ends.
pub(super) struct Seat {
    pub(super) prefetch: Arc<Prefetch>,
    pub(super) id: u64,
    pub(super) epoch: u64,
    pub(super) is_multi: bool,
    pub(super) has_landed: bool,
}

impl Seat {
    pub(super) async fn fly(mut self, batch: &Batch) {
        let brought = self.bring(batch).await;
        self.land(brought);
    }

    /// One request and its answer. How many new bytes it brought.
    async fn bring(&self, batch: &Batch) -> Result<u64, FetchError> {
        let Prefetch { fetcher, pinned, .. } = &*self.prefetch;
        let range = HeaderValue::from_str(&batch.header());
        let range = range.map_err(|_| FetchError::Header("range".to_owned()))?;
        let asked = Instant::now();
        let answer = fetcher.get(Some(&range), pinned.version.if_range()).await?;
        let answered = Instant::now();
        let accepted = accept(answer, batch, pinned)?;
        self.prefetch.state().link.answered(answered - asked);
        let (mut new, mut all, mut to_keep) = (0, 0, ToKeep::new(&self.prefetch.kept));
        match accepted {
            Accepted::Range(mut body) => {
                while let Some((offset, bytes)) = body.next().await? {
                    all += bytes.len() as u64;
                    new += self.fill(offset, &bytes);
                    to_keep.add(batch.wanted(offset, &bytes)).await;
                }
            }
            Accepted::Parts(mut body) => {
                while let Some((offset, bytes)) = body.next().await? {
                    if all == 0 {
                        self.prefetch.state().link.multi_works();
                        self.prefetch.go_on();
                    }
                    all += bytes.len() as u64;
                    new += self.fill(offset, &bytes);
                    to_keep.add(batch.wanted(offset, &bytes)).await;
                }
            }
            // Its body is dropped at once, and the connection with it.
            Accepted::Whole(answer) if self.is_multi => drop(answer),
            Accepted::Whole(answer) => self.prefetch.state().whole = Some(answer),
        }
        self.prefetch.state().link.streamed(all, answered.elapsed());
        Ok(new)
    }

    fn fill(&self, offset: u64, bytes: &[u8]) -> u64 {
        let mut state = self.prefetch.state();
        let new = state.runs().map(|run| run.fill(self.id, offset, bytes)).sum();
        state.patience.progressed(new);
        drop(state);
        self.prefetch.news.notify_waiters();
        new
    }

    fn land(&mut self, brought: Result<u64, FetchError>) {
        self.has_landed = true;
        let mut state = self.prefetch.state();
        let is_short = state.land(self.id);
        let error = match brought {
            Ok(_) if !is_short || state.whole.is_some() => {
                if self.is_multi {
                    state.link.multi_was_whole();
                }
                return;
            }
            // Parts that were left out, or all of the file instead of parts.
            Ok(_) if self.is_multi => return state.link.multi_refused(),
            Ok(new) if new >= USEFUL_BYTES => return,
            Ok(_) => FetchError::Short,
            // All has come, and then it broke: some hosts leave out the last boundary.
            Err(error) if !is_short && error.is_transient() && !error.is_busy() => return,
            Err(error) => error,
        };
        if self.is_multi && error.is_no_to_parts() {
            tracing::debug!(%error, "no more requests for several ranges");
            return state.link.multi_refused();
        }
        if error.is_busy() {
            state.link.is_busy();
        }
        // Connections that break together are one failure.
        if self.epoch != state.epoch && error.is_transient() {
            return;
        }
        state.epoch += 1;
        let config = &self.prefetch.fetcher.config;
        // A request for one range will show whether it is the parts, but not before the host wants to be asked again.
        let tells_of_parts = self.is_multi && error.is_transient() && !error.is_unasked();
        if tells_of_parts && state.link.multi_broke(error.is_within_body()) {
            tracing::debug!(%error, "no more requests for several ranges");
            let wait = error.retry_after().map(|wait| wait.min(config.max_back_off));
            state.quiet_until = wait.map(|wait| Instant::now() + wait);
            return;
        }
        match state.patience.wait_after(error, config) {
            Ok(wait) => state.quiet_until = Some(Instant::now() + wait),
            Err(error) => state.failed = Some(error.into_failure()),
        }
    }
}

/// Bytes of one answer on their way to disk.
struct ToKeep<'a> {
    kept: &'a Arc<Kept>,
    pieces: Vec<(u64, Bytes)>,
    bytes: usize,
}

impl<'a> ToKeep<'a> {
    fn new(kept: &'a Arc<Kept>) -> Self {
        Self { kept, pieces: Vec::new(), bytes: 0 }
    }

    async fn add(&mut self, pieces: impl Iterator<Item = (u64, Bytes)>) {
        for (offset, bytes) in pieces {
            self.bytes += bytes.len();
            self.pieces.push((offset, bytes));
        }
        if self.bytes >= KEEP_BYTES {
            self.bytes = 0;
            self.kept.keep(std::mem::take(&mut self.pieces)).await;
        }
    }
}

impl Drop for ToKeep<'_> {
    /// However the request ends: one whose bytes have all been read is given up before its body ends.
    fn drop(&mut self) {
        let (kept, pieces) = (Arc::clone(self.kept), std::mem::take(&mut self.pieces));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { kept.keep(pieces).await });
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.prefetch.state();
        state.flights.remove(&self.id);
        if self.is_multi {
            // Where there was a verdict, this changes nothing.
            state.link.learnt_nothing();
        }
        if !self.has_landed {
            state.land(self.id);
        }
        drop(state);
        if self.has_landed {
            self.prefetch.go_on();
        }
        self.prefetch.news.notify_waiters();
    }
}
