//! Whether an answer is what was asked for, and the bytes that it brings.

use bytes::Bytes;
use http::StatusCode;
use url::Origin;

use super::answer::{ContentRange, Version};
use super::batch::Batch;
use super::body::Body;
use super::error::FetchError;
use super::fetch::Answer;
use super::multipart::{BadParts, Found, Parts};

/// What all answers of one source have to agree on.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    /// Whose answer it was.
    pub(crate) host: Origin,
    pub(crate) version: Version,
    pub(crate) length: u64,
}

/// What an answer to a batch is.
pub(crate) enum Accepted {
    /// One range, whose bytes follow.
    Range(RangeBody),
    /// Several.
    Parts(PartsBody),
    /// All of the file, of the right version: the host does not heed ranges, or not these.
    Whole(Answer),
}

/// Looks at the head of an answer.
pub(crate) fn accept(answer: Answer, batch: &Batch, pinned: &Pinned) -> Result<Accepted, FetchError> {
    let span = batch.span();
    let named = ContentRange::of(&answer.headers);
    let other = FetchError::other_version(&pinned.host, &answer.host);
    if matches!(named, Some(ContentRange::Unsatisfied { length }) if length != pinned.length) {
        return Err(other);
    }
    if !pinned.version.is_of(&answer.headers) {
        // What a host says instead of so many ranges, mostly an error, may come without the file's version: a request for
        // one range will show whether it has changed.
        let is_unsaid = batch.is_multi() && pinned.version.is_unsaid_in(&answer.headers);
        return Err(if is_unsaid { BadParts("without the file's version").into() } else { other });
    }
    match answer.status {
        StatusCode::OK => {
            let length = answer.content_length();
            let is_same = length.is_none_or(|length| length == pinned.length);
            return if is_same { Ok(Accepted::Whole(answer)) } else { Err(other) };
        }
        StatusCode::PARTIAL_CONTENT => {}
        // Several ranges may be refused by a host that has all of them; one is only if it is not there any more.
        _ if batch.is_multi() => return Err(BadParts("refused").into()),
        _ => return Err(other),
    }
    let max_bytes = batch.wire_bytes().saturating_mul(2);
    if let Some(parts) = Parts::of(&answer.headers, span.clone(), pinned.length, max_bytes) {
        let body = PartsBody { parts, body: answer.body };
        return if batch.is_multi() { Ok(Accepted::Parts(body)) } else { Err(FetchError::WrongRange) };
    }
    match named {
        Some(ContentRange::Part { length: Some(length), .. }) if length != pinned.length => Err(other),
        // Hosts may join ranges that lie close together; what they may not is send the picture along.
        Some(ContentRange::Part { first, last, .. })
            if first == span.start
                && last < pinned.length
                && (!batch.is_multi() || last - first < max_bytes) =>
        {
            let (left, wanted) = (last - first + 1, span.end - span.start);
            Ok(Accepted::Range(RangeBody { body: answer.body, offset: first, left, wanted }))
        }
        _ if batch.is_multi() => Err(FetchError::Parts(BadParts("one range for several"))),
        _ => Err(FetchError::WrongRange),
    }
}

/// The bytes of one range.
pub(crate) struct RangeBody {
    body: Body,
    offset: u64,
    /// As the host says.
    left: u64,
    /// As was asked.
    wanted: u64,
}

impl RangeBody {
    /// The next bytes and where they lie, or `None` where all that is wanted has come, or all that was promised. At
    /// the promised end the body is read to its own, so that the connection can be used again.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, FetchError> {
        if self.wanted == 0 && self.left > 0 {
            return Ok(None);
        }
        match self.body.next().await? {
            Some(mut bytes) => {
                let count = bytes.len() as u64;
                self.left = self.left.checked_sub(count).ok_or(FetchError::WrongRange)?;
                let offset = self.offset;
                bytes.truncate(usize::try_from(self.wanted).unwrap_or(usize::MAX));
                self.offset += count;
                self.wanted = self.wanted.saturating_sub(count);
                Ok(Some((offset, bytes)))
            }
            None if self.left == 0 => Ok(None),
            None => Err(FetchError::Short),
        }
    }
}

/// The bytes of several ranges.
pub(crate) struct PartsBody {
    parts: Parts,
    body: Body,
}

impl PartsBody {
    /// The next bytes and where they lie, or `None` behind the last part.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, FetchError> {
        loop {
            if let Some(Found::Data { offset, bytes }) = self.parts.next()? {
                return Ok(Some((offset, bytes)));
            }
            match self.body.next().await? {
                Some(bytes) => self.parts.push(bytes),
                None if self.parts.is_over() => return Ok(None),
                None => return Err(FetchError::Short),
            }
        }
    }
}
