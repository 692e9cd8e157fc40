//! How many attempts at once a receiver can take: learned, as TCP learns what a path can take (AIMD, RFC 5681).
//!
//! Up on success: by one for each until the first setback (slow start), then by one for each window's worth. Halved
//! when the receiver says that it is too much (429, 502, 504) or says nothing in time; once for all attempts that
//! were under way together, since they tell of one and the same moment.

use domain::{SendError, SendOutcome};
use tokio::time::Instant;

/// The bounds of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Where it begins: enough to be quick, too few to hurt.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) most: usize,
}

/// One receiver's window.
#[derive(Debug)]
pub(super) struct Window {
    bounds: Bounds,
    size: f64,
    has_met_limit: bool,
    shrunk_at: Option<Instant>,
}

impl Window {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, size: bounds.start.max(1) as f64, has_met_limit: false, shrunk_at: None }
    }

    /// Attempts at once, at least one.
    pub(super) fn size(&self) -> usize {
        // Between 1 and the bound by construction, so the cast keeps it.
        (self.size as usize).max(1)
    }

    /// Learns from an attempt that began at `began`.
    pub(super) fn learn(&mut self, outcome: &SendOutcome, began: Instant) {
        if outcome.is_delivered() {
            self.size += if self.has_met_limit { 1.0 / self.size } else { 1.0 };
            self.size = self.size.min(self.bounds.most as f64);
        } else if is_too_much(outcome) && self.shrunk_at.is_none_or(|shrunk| began > shrunk) {
            self.has_met_limit = true;
            self.shrunk_at = Some(Instant::now());
            self.size = (self.size / 2.0).max(1.0);
        }
    }
}

/// Whether the receiver shows that it is given too much, rather than that it does not want this one.
fn is_too_much(outcome: &SendOutcome) -> bool {
    matches!(outcome.status, Some(429 | 502 | 504)) || outcome.error == Some(SendError::Timeout)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds { start: 4, most: 64 };

    fn learn_all(window: &mut Window, outcomes: impl IntoIterator<Item = SendOutcome>) {
        outcomes.into_iter().for_each(|outcome| window.learn(&outcome, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_quickly_up_to_its_bound() {
        let mut window = Window::new(BOUNDS);
        learn_all(&mut window, (0..10).map(|_| SendOutcome::answered(200)));
        assert_eq!(window.size(), 14);
        learn_all(&mut window, (0..100).map(|_| SendOutcome::answered(204)));
        assert_eq!(window.size(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn one_bad_moment_halves_it_once_and_then_it_opens_slowly() {
        let mut window = Window::new(BOUNDS);
        learn_all(&mut window, (0..28).map(|_| SendOutcome::answered(200)));
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(15)).await;
        for _ in 0..20 {
            window.learn(&SendOutcome::failed(SendError::Timeout), began);
        }
        assert_eq!(window.size(), 16, "20 attempts of one moment");
        tokio::time::advance(Duration::from_secs(1)).await;
        learn_all(&mut window, (0..8).map(|_| SendOutcome::answered(200)));
        assert_eq!(window.size(), 16, "half a window of successes");
        learn_all(&mut window, (0..9).map(|_| SendOutcome::answered(200)));
        assert_eq!(window.size(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_means_too_much_shrinks_it_and_never_below_one() {
        for status in [429, 502, 504] {
            let mut window = Window::new(BOUNDS);
            for _ in 0..5 {
                tokio::time::advance(Duration::from_secs(1)).await;
                window.learn(&SendOutcome::answered(status), Instant::now());
            }
            assert_eq!(window.size(), 1, "{status}");
        }
        let mut window = Window::new(BOUNDS);
        tokio::time::advance(Duration::from_secs(1)).await;
        learn_all(&mut window, [SendOutcome::answered(400), SendOutcome::failed(SendError::Dns)]);
        assert_eq!(window.size(), 4);
    }
}
