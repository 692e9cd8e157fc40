//! The part of a body that is wanted.

use bytes::{Buf, Bytes};

use crate::source::body::Body;
use crate::source::error::FetchError;

/// The part of a body that is wanted.
pub(super) struct Slice {
    body: Option<Body>,
    /// What of the body has come and was not looked at.
    pending: Bytes,
    /// Bytes before it.
    skip: u64,
    /// Bytes of it; `None`: to the end.
    left: Option<u64>,
    /// What it means if more follows; `None`: it is the rest of a file of which a part was wanted.
    beyond: Option<FetchError>,
}

impl Slice {
    pub(super) fn new(body: Body, skip: u64, left: Option<u64>, beyond: Option<FetchError>) -> Self {
        Self { body: Some(body), pending: Bytes::new(), skip, left, beyond }
    }

    pub(super) fn empty() -> Self {
        Self { body: None, pending: Bytes::new(), skip: 0, left: Some(0), beyond: None }
    }

    /// What follows behind this part, from `skip` bytes on and so many of them.
    pub(super) fn following(self, skip: u64, left: u64) -> Self {
        Self { skip, left: Some(left), ..self }
    }

    /// Whether the file goes on behind it, for whoever wants that.
    pub(super) fn goes_on(&self) -> bool {
        self.body.is_some() && self.left == Some(0) && self.beyond.is_none()
    }

    /// The next bytes, never empty, or `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let Some(body) = &mut self.body else { return Ok(None) };
            if self.left == Some(0) && self.beyond.is_none() {
                return Ok(None);
            }
            let arrived = if self.pending.is_empty() {
                body.next().await?
            } else {
                Some(std::mem::take(&mut self.pending))
            };
            let Some(mut bytes) = arrived else {
                let is_whole = self.skip == 0 && self.left.is_none_or(|left| left == 0);
                return if is_whole { Ok(None) } else { Err(FetchError::Short) };
            };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped as u64;
            if let Some(left) = &mut self.left {
                if *left == 0
                    && let Some(error) = self.beyond.take()
                {
                    return Err(error);
                }
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                self.pending = bytes.split_off(wanted);
                *left -= wanted as u64;
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}
