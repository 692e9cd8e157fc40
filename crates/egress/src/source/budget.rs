//! The disk space that spools may take, and each one's part of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FetchError;

/// The disk space of all spools together.
#[derive(Debug)]
pub(crate) struct SpoolBudget {
    used_bytes: AtomicU64,
    max_bytes: u64,
}

impl SpoolBudget {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { used_bytes: AtomicU64::new(0), max_bytes }
    }

    /// Takes so many, if no more than `most` are in use then.
    fn take(&self, bytes: u64, most: u64) -> Result<(), FetchError> {
        let taken = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= most)
        });
        taken.map(drop).map_err(|_| FetchError::SpoolFull)
    }
}

/// One spool's part of the budget; given back when the file goes.
pub(crate) struct Share {
    budget: Arc<SpoolBudget>,
    bytes: u64,
}

impl Share {
    pub(crate) fn of(budget: Arc<SpoolBudget>) -> Self {
        Self { budget, bytes: 0 }
    }

    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.grow_to(bytes, self.budget.max_bytes)
    }

    /// The same for what can do without, which leaves half of the space to those that cannot.
    pub(crate) fn grow_spare(&mut self, bytes: u64) -> Result<(), FetchError> {
        self.grow_to(bytes, self.budget.max_bytes / 2)
    }

    fn grow_to(&mut self, bytes: u64, most: u64) -> Result<(), FetchError> {
        self.budget.take(bytes, most)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
