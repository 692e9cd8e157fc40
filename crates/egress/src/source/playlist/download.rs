//! The bytes of one place, fetched on from where they broke off.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf, Bytes};
use http::{HeaderValue, StatusCode};
use url::{Origin, Url};

use super::place::Place;
use crate::source::answer::{ContentRange, Version};
use crate::source::body::Body;
use crate::source::error::FetchError;
use crate::source::fetch::{Answer, Fetcher};
use crate::source::patience::Patience;

/// The version and length of a file.
#[derive(Debug, Clone)]
struct Pin {
    /// Whose answer it was.
    host: Origin,
    version: Version,
    length: Option<u64>,
}

/// The versions of the files of which parts are fetched: all parts have to be of one.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<Url, Pin>>);

/// One place while it is fetched.
pub(super) struct Download<'a> {
    fetcher: Fetcher,
    place: &'a Place,
    pins: &'a Pins,
    patience: Patience,
    /// Bytes that were given out.
    got: u64,
    pinned: Option<Pin>,
    body: Option<Slice>,
}

impl<'a> Download<'a> {
    /// Of this place, by requests that are made and counted as `parent`'s.
    pub(super) fn new(parent: &Fetcher, place: &'a Place, pins: &'a Pins) -> Self {
        Self {
            fetcher: parent.towards(place.url.clone()),
            place,
            pins,
            patience: Patience::default(),
            got: 0,
            pinned: None,
            body: None,
        }
    }

    /// The next bytes, never empty, or `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.try_next().await {
                Ok(bytes) => {
                    let count = bytes.as_ref().map_or(0, Bytes::len) as u64;
                    self.got += count;
                    self.patience.progressed(count);
                    return Ok(bytes);
                }
                Err(error) => {
                    self.body = None;
                    self.patience.after(error, &self.fetcher.config).await?;
                }
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let slice = self.ask().await?;
                self.body.insert(slice)
            }
        };
        body.next().await
    }

    /// Whether any of it has come.
    pub(super) fn has_begun(&self) -> bool {
        self.got > 0
    }

    /// Asks for what is still to come.
    async fn ask(&mut self) -> Result<Slice, FetchError> {
        let whole = self.place.range.clone();
        let start = whole.as_ref().map_or(0, |range| range.start) + self.got;
        let end = whole.map(|range| range.end).or(self.pinned.as_ref().and_then(|pin| pin.length));
        let range = match end {
            // Nothing is left of it, so that it only has to be said that it is over.
            Some(end) if start >= end => return Ok(Slice::empty()),
            Some(end) if start > 0 || self.place.range.is_some() => {
                Some(format!("bytes={start}-{}", end - 1))
            }
            _ => None,
        };
        let range = range.map(|range| HeaderValue::from_str(&range)).transpose();
        let range = range.map_err(|_| FetchError::Header("range".to_owned()))?;
        // It says on which condition a range is wanted (RFC 9110, 13.1.5), so it never comes without one.
        let if_range = range.as_ref().and_then(|_| self.pinned.as_ref()?.version.if_range());
        let answer = self.fetcher.get(range.as_ref(), if_range).await?;
        let named = match answer.status {
            StatusCode::OK => None,
            StatusCode::PARTIAL_CONTENT if range.is_some() => ContentRange::of(&answer.headers),
            StatusCode::PARTIAL_CONTENT => return Err(FetchError::WrongRange),
            status => return Err(FetchError::Status { status: status.as_u16(), retry_after: None }),
        };
        let length = match named {
            Some(ContentRange::Part { length, .. }) => length,
            _ => answer.content_length(),
        };
        self.pin(&answer, length)?;
        match (answer.status, named, end) {
            // All of the file, asked for or not.
            (StatusCode::OK, ..) => {
                Ok(Slice { body: Some(answer.body), skip: start, left: end.map(|end| end - start) })
            }
            (_, Some(ContentRange::Part { first, last, .. }), Some(end))
                if first == start && last == end - 1 =>
            {
                Ok(Slice { body: Some(answer.body), skip: 0, left: Some(end - start) })
            }
            _ => Err(FetchError::WrongRange),
        }
    }

    /// Whether the answer is of the version that was seen before, here or in another part of the same file.
    fn pin(&mut self, answer: &Answer, length: Option<u64>) -> Result<(), FetchError> {
        let pin = match &self.pinned {
            Some(pin) => pin.clone(),
            None => {
                let version = Version::of(&answer.headers);
                let new = Pin { host: answer.host.clone(), version, length };
                let pin = if self.place.range.is_some() { self.pins.pin(&self.place.url, new) } else { new };
                self.pinned.insert(pin).clone()
            }
        };
        let is_other_length =
            matches!((pin.length, length), (Some(pinned), Some(length)) if pinned != length);
        if is_other_length || !pin.version.is_of(&answer.headers) {
            return Err(FetchError::other_version(&pin.host, &answer.host));
        }
        Ok(())
    }
}

impl Pins {
    /// What was pinned of this file first.
    fn pin(&self, url: &Url, new: Pin) -> Pin {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.entry(url.clone()).or_insert(new).clone()
    }
}

/// The part of a body that is wanted.
struct Slice {
    body: Option<Body>,
    /// Bytes before it.
    skip: u64,
    /// Bytes of it; `None`: to the end.
    left: Option<u64>,
}

impl Slice {
    fn empty() -> Self {
        Self { body: None, skip: 0, left: Some(0) }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        loop {
            let Some(mut bytes) = body.next().await? else {
                let is_whole = self.skip == 0 && self.left.is_none_or(|left| left == 0);
                return if is_whole { Ok(None) } else { Err(FetchError::Short) };
            };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped as u64;
            if let Some(left) = &mut self.left {
                let is_beyond = *left == 0;
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
                if is_beyond {
                    // What follows is not wanted; the connection goes with the body.
                    self.body = None;
                    return Ok(None);
                }
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}
