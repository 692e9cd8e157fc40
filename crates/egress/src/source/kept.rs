//! What was fetched by ranges, on disk for as long as it may be read a second time.
//!
//! Bytes lie in a file without a name where they lie in the source, with holes between. Where there is no room, what is
//! not kept is fetched again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::budget::{Share, SpoolBudget};
use super::error::FetchError;
use crate::file::read_file_at;

/// The bytes of one source that are on disk.
pub(crate) struct Kept {
    scratch_dir: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// Made with the first bytes.
    file: Option<Arc<File>>,
    /// Start and end of what is there, none next to another.
    there: BTreeMap<u64, u64>,
    share: Share,
    is_over: bool,
}

impl Kept {
    /// Nothing yet, within what all spools together may take.
    pub(crate) fn new(scratch_dir: PathBuf, budget: Arc<SpoolBudget>) -> Arc<Self> {
        let state = State { file: None, there: BTreeMap::new(), share: Share::of(budget), is_over: false };
        Arc::new(Self { scratch_dir, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps these bytes, each from its offset on. The first that cannot be kept are the last that are tried.
    pub(crate) async fn keep(self: &Arc<Self>, pieces: Vec<(u64, Bytes)>) {
        if pieces.is_empty() || self.state().is_over {
            return;
        }
        let kept = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || kept.write(&pieces)).await;
        if let Err(error) = written.unwrap_or_else(|cause| Err(FetchError::Spool(io::Error::other(cause)))) {
            tracing::debug!(%error, "what is fetched is not kept for another reading");
            self.close();
        }
    }

    fn write(&self, pieces: &[(u64, Bytes)]) -> Result<(), FetchError> {
        let file = self.file()?;
        for (offset, bytes) in pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.state().share.grow_spare(bytes.len() as u64)?;
            file.write_all_at(bytes, *offset).map_err(FetchError::Spool)?;
            self.state().mark(*offset, bytes.len() as u64);
        }
        Ok(())
    }

    fn file(&self) -> Result<Arc<File>, FetchError> {
        let mut state = self.state();
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(tempfile::tempfile_in(&self.scratch_dir).map_err(FetchError::Spool)?);
        state.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Keeps no more; what is there stays.
    pub(crate) fn close(&self) {
        self.state().is_over = true;
    }

    /// How many bytes are there from `offset` on; none where the one at `offset` is not.
    pub(crate) fn reach(&self, offset: u64) -> u64 {
        let state = self.state();
        let before = state.there.range(..=offset).next_back();
        before.map_or(0, |(_, end)| end.saturating_sub(offset))
    }

    /// Some of the bytes that [`Self::reach`] spoke of.
    pub(crate) async fn read(&self, offset: u64, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
        let file = self.state().file.clone();
        let file = file.ok_or_else(|| FetchError::Spool(io::ErrorKind::NotFound.into()))?;
        read_file_at(file, offset, max_bytes).await.map_err(FetchError::Spool)
    }
}

impl State {
    fn mark(&mut self, offset: u64, count: u64) {
        let (mut start, mut end) = (offset, offset + count);
        while let Some((from, to)) = self.there.range(..=end).next_back().map(|(from, to)| (*from, *to))
            && to >= start
        {
            self.there.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.there.insert(start, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(max_bytes: u64) -> Arc<Kept> {
        Kept::new(std::env::temp_dir(), Arc::new(SpoolBudget::new(max_bytes)))
    }

    #[tokio::test]
    async fn what_was_kept_is_there_and_nothing_else_is() {
        let kept = kept(1000);
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        kept.keep(vec![(10, bytes("abc")), (20, bytes("xyz")), (13, bytes("def")), (12, bytes("cd"))]).await;
        let reached: Vec<u64> = [9, 10, 15, 16, 19, 20, 22, 23].map(|offset| kept.reach(offset)).to_vec();
        assert_eq!(reached, [0, 6, 1, 0, 0, 3, 1, 0]);
        assert_eq!(kept.read(10, 6).await.expect("a file"), b"abcdef");
        assert_eq!(kept.read(21, 2).await.expect("a file"), b"yz");
    }

    #[tokio::test]
    async fn what_has_no_room_is_not_kept_and_nothing_after_it() {
        // Half of it is for sources that have to be on disk.
        let kept = kept(10);
        kept.keep(vec![(0, Bytes::from_static(b"abcd")), (4, Bytes::from_static(b"efgh"))]).await;
        kept.keep(vec![(8, Bytes::from_static(b"i"))]).await;
        assert_eq!((kept.reach(0), kept.reach(4), kept.reach(8)), (4, 0, 0));
    }
}
