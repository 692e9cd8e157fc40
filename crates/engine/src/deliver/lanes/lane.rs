//! One receiver: its window, what is due for it and what is ready.

use std::collections::VecDeque;
use std::time::Duration;

use domain::{Delivery, Lease};
use store::DueEndpoint;
use tokio::time::Instant;

use crate::deliver::window::{Bounds, Window};

/// Work is fetched ahead for about so long, so that a quick receiver does not wait for the database between two
/// attempts. A slow one gets nothing ahead: what is leased and not sent would only be late.
const AHEAD: Duration = Duration::from_millis(50);
/// The most that is fetched ahead, for one receiver, however quick it is, and for all of them: half of it is one claim,
/// and the other half is what is sent while that is waited for.
pub(super) const MOST_AHEAD: usize = 512;
/// How long a receiver's window and pace are remembered after its last attempt.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How much one attempt moves the notion of how quick a receiver is.
const SMOOTHING: f64 = 0.1;

/// An attempt to make: the lease, its endpoint as it stood, and when it was claimed at the earliest.
pub(in crate::deliver) struct Turn {
    pub(in crate::deliver) lease: Lease<Delivery>,
    pub(in crate::deliver) endpoint: DueEndpoint,
    pub(in crate::deliver) since: Instant,
    /// Fetched ahead: no cap counts it before it is begun.
    pub(super) is_ahead: bool,
}

/// One receiver.
pub(super) struct Lane {
    pub(super) window: Window,
    pub(super) in_flight: usize,
    /// Of what is ready, how many were fetched ahead.
    pub(super) ready_ahead: usize,
    /// Live events among what is ready or in flight.
    pub(super) live: usize,
    /// Seconds that an attempt takes, smoothed; `None` before the first one ended.
    usual_secs: Option<f64>,
    /// When the last attempt ended.
    last_ended: Option<Instant>,
    /// Endpoints with something due, in turn.
    pub(super) due: VecDeque<DueEndpoint>,
    /// Those of them that had their turn and have more: the next round.
    pub(super) served: VecDeque<DueEndpoint>,
    /// Claimed, and not under way yet.
    pub(super) ready: VecDeque<Turn>,
}

impl Lane {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            window: Window::new(bounds),
            in_flight: 0,
            ready_ahead: 0,
            live: 0,
            usual_secs: None,
            last_ended: None,
            due: VecDeque::new(),
            served: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty() || !self.served.is_empty()
    }

    /// Whether something worth keeping is known of it.
    pub(super) fn is_remembered(&self) -> bool {
        self.last_ended.is_some_and(|ended| ended.elapsed() < REMEMBERED)
    }

    pub(super) fn next_due(&mut self) -> Option<DueEndpoint> {
        if self.due.is_empty() {
            std::mem::swap(&mut self.due, &mut self.served);
        }
        self.due.pop_front()
    }

    /// How many more should be claimed: what the window has free, and some ahead where it is quick. What is ahead is
    /// fetched when half of it is used up, for a claim of many costs hardly more than a claim of one.
    pub(super) fn wanted(&self) -> usize {
        let ahead = self.ahead();
        if ahead > 0 && self.ready.len() > ahead / 2 {
            return 0;
        }
        (self.window.size() + ahead).saturating_sub(self.in_flight + self.ready.len())
    }

    /// How many more the window has free.
    pub(super) fn free(&self) -> usize {
        self.window.size().saturating_sub(self.in_flight + self.ready.len())
    }

    /// How many more live events may be claimed: they get half of the window, so that there is room for the end of
    /// another job while a receiver is slow with them.
    pub(super) fn live_room(&self) -> usize {
        (self.window.size() / 2).max(1).saturating_sub(self.live)
    }

    /// Learns from how long an attempt took.
    pub(super) fn learn_pace(&mut self, took: Duration) {
        self.last_ended = Some(Instant::now());
        let secs = took.as_secs_f64();
        self.usual_secs = Some(self.usual_secs.map_or(secs, |usual| usual + SMOOTHING * (secs - usual)));
    }

    /// How many the receiver can take in the time that is fetched ahead for; none if one takes longer than that.
    fn ahead(&self) -> usize {
        match self.usual_secs {
            Some(secs) if secs < AHEAD.as_secs_f64() => {
                let ahead = self.window.size() as f64 * AHEAD.as_secs_f64() / secs.max(1e-6);
                // Not negative, and bounded; the cast saturates.
                (ahead as usize).min(MOST_AHEAD)
            }
            _ => 0,
        }
    }
}
