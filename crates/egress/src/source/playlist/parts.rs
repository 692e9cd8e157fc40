//! The files of which a playlist names parts.
//!
//! A host that serves no ranges sends all of a file for each of its parts. Then parts are fetched one at a time and in their
//! order, and as long as one lies behind the other, one body brings them all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::{Origin, Url};

use super::slice::Slice;
use crate::source::answer::Version;

/// The version and length of a file.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    /// Whose answer it was.
    pub(super) host: Origin,
    pub(super) version: Version,
    pub(super) length: Option<u64>,
}

/// What all parts share.
#[derive(Default)]
pub(super) struct Parts {
    /// The versions of their files: all parts of one have to be of the same.
    pins: Mutex<HashMap<Url, Pin>>,
    are_in_order: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// The body of a whole file, read up to here.
pub(super) struct Open {
    url: Url,
    at: u64,
    body: Slice,
}

impl Open {
    /// A part behind what was read.
    pub(super) fn slice(self, range: Range<u64>) -> Slice {
        self.body.following(range.start - self.at, range.end - range.start)
    }
}

impl Parts {
    fn pins(&self) -> MutexGuard<'_, HashMap<Url, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was pinned of this file first.
    pub(super) fn pin(&self, url: &Url, new: Pin) -> Pin {
        self.pins().entry(url.clone()).or_insert(new).clone()
    }

    /// From now on, parts are fetched one at a time and in their order.
    pub(super) fn take_in_order(&self) {
        self.are_in_order.store(true, Ordering::Relaxed);
    }

    pub(super) fn are_in_order(&self) -> bool {
        self.are_in_order.load(Ordering::Relaxed)
    }

    /// A part of this file has been read to its end, at `at`.
    pub(super) fn leave(&self, url: &Url, at: u64, body: Slice) {
        if self.are_in_order() && body.goes_on() {
            *self.open() = Some(Open { url: url.clone(), at, body });
        }
    }

    /// Gives up the body that is open.
    pub(super) fn close(&self) {
        *self.open() = None;
    }

    /// The body that brings the byte at `start` of this file, and which version of it.
    pub(super) fn take(&self, url: &Url, start: u64) -> Option<(Open, Pin)> {
        let pin = self.pins().get(url).cloned()?;
        let open = self.open().take_if(|open| open.url == *url && open.at <= start)?;
        Some((open, pin))
    }
}
