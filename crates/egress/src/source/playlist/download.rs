//! The bytes of one place, fetched on from where they broke off.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::parts::{Parts, Pin};
use super::place::Place;
use super::slice::Slice;
use crate::source::answer::{ContentRange, Version};
use crate::source::error::FetchError;
use crate::source::fetch::{Answer, Fetcher};
use crate::source::patience::Patience;

/// One place while it is fetched.
pub(super) struct Download<'a> {
    fetcher: Fetcher,
    place: &'a Place,
    parts: &'a Parts,
    patience: Patience,
    /// Bytes that were given out.
    got: u64,
    pinned: Option<Pin>,
    body: Option<Slice>,
}

impl<'a> Download<'a> {
    /// Of this place, by requests that are made and counted as `parent`'s.
    pub(super) fn new(parent: &Fetcher, place: &'a Place, parts: &'a Parts) -> Self {
        Self {
            fetcher: parent.towards(place.url.clone()),
            place,
            parts,
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
                    if bytes.is_none() {
                        self.leave_open();
                    }
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

    /// Asks for what is still to come, unless it follows in a body that is open.
    async fn ask(&mut self) -> Result<Slice, FetchError> {
        let whole = self.place.range.clone();
        let start = whole.as_ref().map_or(0, |range| range.start) + self.got;
        let end = whole.map(|range| range.end).or(self.pinned.as_ref().and_then(|pin| pin.length));
        // Nothing is left of it, so that it only has to be said that it is over.
        if end.is_some_and(|end| start >= end) {
            return Ok(Slice::empty());
        }
        if let Some(range) = &self.place.range
            && let Some((open, pin)) = self.parts.take(&self.place.url, start)
        {
            self.pinned = Some(pin);
            return Ok(open.slice(start..range.end));
        }
        let end_of_range = end.filter(|_| start > 0 || self.place.range.is_some());
        let range = end_of_range.map(|end| HeaderValue::from_str(&format!("bytes={start}-{}", end - 1)));
        let range = range.transpose().map_err(|_| FetchError::Header("range".to_owned()))?;
        if self.fetcher.config.max_connections <= 1 {
            // It may have the only connection, which would be waited for in vain.
            self.parts.close();
        }
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
            // Others of its parts would each read it from its beginning.
            (StatusCode::OK, ..) if self.place.range.is_some() && !self.may_read_whole() => {
                Err(FetchError::NoRanges)
            }
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

    /// Whether all of the file may be read for the sake of this part: no other does so beside it, or this one has begun.
    fn may_read_whole(&self) -> bool {
        self.parts.are_in_order() || self.has_begun()
    }

    /// Leaves the body of a whole file to the part that is fetched next.
    fn leave_open(&mut self) {
        if let (Some(range), Some(body)) = (&self.place.range, self.body.take()) {
            self.parts.leave(&self.place.url, range.end, body);
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
                let pin = if self.place.range.is_some() { self.parts.pin(&self.place.url, new) } else { new };
                self.pinned.insert(pin).clone()
            }
        };
        let other = FetchError::other_version(&pin.host, &answer.host);
        let is_other_length =
            matches!((pin.length, length), (Some(pinned), Some(length)) if pinned != length);
        if is_other_length || !pin.version.is_of(&answer.headers) { Err(other) } else { Ok(other) }
    }
}
