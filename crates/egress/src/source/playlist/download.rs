//! The bytes of one place, fetched on from where they broke off.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use url::{Origin, Url};

use super::place::Place;
use super::slice::Slice;
use crate::source::answer::{ContentRange, Version};
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
        // Nothing is left of it, so that it only has to be said that it is over.
        if end.is_some_and(|end| start >= end) {
            return Ok(Slice::empty());
        }
        let end_of_range = end.filter(|_| start > 0 || self.place.range.is_some());
        let range = end_of_range.map(|end| HeaderValue::from_str(&format!("bytes={start}-{}", end - 1)));
        let range = range.transpose().map_err(|_| FetchError::Header("range".to_owned()))?;
        // It says on which condition a range is wanted (RFC 9110, 13.1.5), so it never comes without one.
        let if_range = range.as_ref().and_then(|_| self.pinned.as_ref()?.version.if_range());
        let answer = self.fetcher.get(range.as_ref(), if_range).await?;
        self.accept(answer, start, end, range.is_some())
    }

    /// Looks at the head of an answer to a request for what lies from `start` to `end`, if that is known.
    fn accept(
        &mut self,
        answer: Answer,
        start: u64,
        end: Option<u64>,
        is_of_range: bool,
    ) -> Result<Slice, FetchError> {
        let named = match answer.status {
            StatusCode::OK => None,
            StatusCode::PARTIAL_CONTENT if is_of_range => ContentRange::of(&answer.headers),
            StatusCode::PARTIAL_CONTENT => return Err(FetchError::WrongRange),
            status => return Err(FetchError::Status { status: status.as_u16(), retry_after: None }),
        };
        let length = match named {
            Some(ContentRange::Part { length, .. }) => length,
            _ => answer.content_length(),
        };
        let other = self.pin(&answer, length)?;
        match (answer.status, named, end) {
            // All of the file, asked for or not.
            (StatusCode::OK, ..) => {
                let beyond = self.place.range.is_none().then_some(other);
                Ok(Slice::new(answer.body, start, end.map(|end| end - start), beyond))
            }
            (_, Some(ContentRange::Part { first, last, .. }), Some(end))
                if first == start && last == end - 1 =>
            {
                Ok(Slice::new(answer.body, 0, Some(end - start), Some(FetchError::WrongRange)))
            }
            _ => Err(FetchError::WrongRange),
        }
    }

    /// Checks that the answer is of the version that was seen before, here or in another part of the same file. What it
    /// means if it turns out not to be.
    fn pin(&mut self, answer: &Answer, length: Option<u64>) -> Result<FetchError, FetchError> {
        let pin = match &self.pinned {
            Some(pin) => pin.clone(),
            None => {
                let version = Version::of(&answer.headers);
                let new = Pin { host: answer.host.clone(), version, length };
                let pin = if self.place.range.is_some() { self.pins.pin(&self.place.url, new) } else { new };
                self.pinned.insert(pin).clone()
            }
        };
        let other = FetchError::other_version(&pin.host, &answer.host);
        let is_other_length =
            matches!((pin.length, length), (Some(pinned), Some(length)) if pinned != length);
        if is_other_length || !pin.version.is_of(&answer.headers) { Err(other) } else { Ok(other) }
    }
}

impl Pins {
    /// What was pinned of this file first.
    fn pin(&self, url: &Url, new: Pin) -> Pin {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.entry(url.clone()).or_insert(new).clone()
    }
}
