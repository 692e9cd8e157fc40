//! The body of an answer, counted and timed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{Fetched, Tally};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::error::FetchError;

/// What a source has cost, over all its requests, and the most that it may.
#[derive(Debug)]
pub(crate) struct Meter {
    tally: Arc<Tally>,
    /// Re-reading counts too, so that no file can make us fetch for ever.
    max_bytes: u64,
}

impl Meter {
    pub(crate) fn new(tally: Arc<Tally>, max_bytes: u64) -> Self {
        Self { tally, max_bytes }
    }

    pub(crate) fn count_request(&self) {
        self.tally.count_request();
    }

    fn count_bytes(&self, bytes: u64) -> Result<(), FetchError> {
        if self.tally.count_bytes(bytes) > self.max_bytes {
            return Err(FetchError::TooMuchRead { max_bytes: self.max_bytes });
        }
        Ok(())
    }

    pub(crate) fn fetched(&self) -> Fetched {
        self.tally.fetched()
    }
}

/// The slowest that a host may be, on average over a window of waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) min_bytes_per_sec: u64,
    pub(crate) window: Duration,
}

/// A body as it arrives. Only time spent waiting for the host counts against it, not time in which nobody reads:
/// an encoder may be slower than the network.
pub(crate) struct Body {
    incoming: Incoming,
    meter: Arc<Meter>,
    pace: Pace,
    waited: Duration,
    got_bytes: u64,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, meter: Arc<Meter>, pace: Pace) -> Self {
        Self { incoming, meter, pace, waited: Duration::ZERO, got_bytes: 0 }
    }

    /// How long it has to be, as whoever reads it off the connection checks.
    pub(crate) fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next bytes, never empty, or `None` at the end. Cancelling it loses no bytes; only the time that was
    /// waited by then goes uncounted.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let began = Instant::now();
            let patience = self.pace.window.saturating_sub(self.waited);
            let arrived = tokio::time::timeout(patience, self.incoming.frame()).await;
            self.waited += began.elapsed();
            let frame = match arrived {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => Some(frame.map_err(FetchError::Body)?),
                Err(_) => None,
            };
            // Trailers are frames without data.
            let data = frame.and_then(|frame| frame.into_data().ok()).filter(|data| !data.is_empty());
            self.got_bytes += data.as_ref().map_or(0, |data| data.len() as u64);
            self.check_pace()?;
            if let Some(data) = data {
                self.meter.count_bytes(data.len() as u64)?;
                return Ok(Some(data));
            }
        }
    }

    fn check_pace(&mut self) -> Result<(), FetchError> {
        if self.waited < self.pace.window {
            return Ok(());
        }
        let least = self.pace.min_bytes_per_sec as f64 * self.pace.window.as_secs_f64();
        if (self.got_bytes as f64) < least {
            return Err(FetchError::Stalled(self.pace.window));
        }
        (self.waited, self.got_bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}
