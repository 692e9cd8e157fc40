//! A body as it comes: for as long as it likes, but not more slowly than the configured rate.

use std::time::Duration;

use axum::body::{Body, Bytes};
use engine::CancellationToken;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

/// How slowly a body may come.
#[derive(Debug, Clone)]
pub(crate) struct PaceConfig {
    /// The slowest average.
    pub(crate) min_bytes_per_sec: u64,
    /// Over so much time of waiting for the client; what the store takes does not count.
    pub(crate) window: Duration,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection broke, or the client wrote no proper HTTP.
    Cut,
    /// It came too slowly.
    Stalled,
    /// This node stops.
    Stopping,
    /// It is not the form that its header says.
    Malformed(&'static str),
}

/// A body and the patience for it.
pub(super) struct Incoming {
    body: Body,
    config: PaceConfig,
    waited: Duration,
    came: u64,
    /// Whoever can go on elsewhere is let go when the node stops.
    stop: Option<CancellationToken>,
}

impl Incoming {
    pub(super) fn new(body: Body, config: PaceConfig, stop: Option<CancellationToken>) -> Self {
        Self { body, config, waited: Duration::ZERO, came: 0, stop }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let began = Instant::now();
            let left = self.config.window.saturating_sub(self.waited);
            let stopping = async {
                match &self.stop {
                    Some(stop) => stop.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                frame = tokio::time::timeout(left, self.body.frame()) => frame,
                () = stopping => return Err(Broken::Stopping),
            };
            self.waited += began.elapsed();
            let data = match frame {
                Err(_) => Bytes::new(),
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => return Err(Broken::Cut),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
            };
            self.came += data.len() as u64;
            if self.waited >= self.config.window {
                let least = self.config.min_bytes_per_sec as f64 * self.config.window.as_secs_f64();
                if (self.came as f64) < least {
                    return Err(Broken::Stalled);
                }
                (self.waited, self.came) = (Duration::ZERO, 0);
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dripping(bytes: usize, every: Duration) -> Body {
        Body::from_stream(futures_util::stream::unfold((), move |()| async move {
            tokio::time::sleep(every).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; bytes])), ()))
        }))
    }

    const PACE: PaceConfig = PaceConfig { min_bytes_per_sec: 100, window: Duration::from_secs(10) };

    async fn lasts(body: Body) -> Result<usize, Broken> {
        let mut incoming = Incoming::new(body, PACE, None);
        for count in 0..100 {
            if incoming.next().await?.is_none() {
                return Ok(count);
            }
        }
        Ok(100)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_slower_than_the_rate() {
        let every = Duration::from_secs(1);
        assert_eq!(lasts(dripping(100, every)).await, Ok(100));
        assert_eq!(lasts(dripping(99, every)).await, Err(Broken::Stalled));
        assert_eq!(lasts(dripping(1000, 9 * every)).await, Ok(100), "bursts make up for pauses");
        assert_eq!(lasts(dripping(1 << 20, 11 * every)).await, Err(Broken::Stalled), "a silence is a stall");
        assert_eq!(lasts(Body::empty()).await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_go_on_elsewhere_is_let_go_at_a_stop() {
        let stop = CancellationToken::new();
        stop.cancel();
        let body = dripping(1, Duration::from_secs(1));
        let mut incoming = Incoming::new(body, PACE, Some(stop));
        assert_eq!(incoming.next().await, Err(Broken::Stopping));
    }
}
