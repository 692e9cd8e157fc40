//! One receiver: its window, how it answers, and for each key what is due there and what is ready.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use domain::{Delivery, KeyId, Lease, SendError, SendOutcome};
use store::DueEndpoint;
use tokio::time::Instant;

use super::slots::{PROMPT, SlotId, Standing};
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
    /// None where it was fetched ahead: it takes one when it is begun.
    pub(in crate::deliver) slot: Option<SlotId>,
}

impl Turn {
    pub(super) fn is_live(&self) -> bool {
        self.lease.item.event.kind.is_live()
    }
}

/// What was last heard of a receiver.
#[derive(Debug, Clone, Copy)]
enum Heard {
    Nothing,
    /// An answer or a refusal, soon, at that time.
    Soon(Instant),
    /// An answer, late.
    Late,
    /// Nothing in all the time that it had.
    Silence,
}

/// What one key has at a receiver.
#[derive(Default)]
pub(super) struct Line {
    /// Endpoints with something due, in turn.
    pub(super) due: VecDeque<DueEndpoint>,
    /// Claimed, and not under way yet: the ends of jobs, and live events.
    pub(super) ready: [VecDeque<Turn>; 2],
    /// Claimed, under way or not.
    pub(super) held: usize,
}

impl Line {
    /// What is ready and has no slot: behind what has one, so that the first in line is the first to be sent.
    pub(super) fn without_slot(&mut self) -> impl Iterator<Item = &mut Turn> {
        self.ready.iter_mut().flat_map(|ready| {
            let first = ready.partition_point(|turn| turn.slot.is_some());
            ready.range_mut(first..)
        })
    }
}

/// One receiver.
pub(super) struct Lane {
    pub(super) window: Window,
    pub(super) in_flight: usize,
    /// What is claimed and not under way yet.
    pub(super) ready: usize,
    /// Live events among what is ready or in flight.
    pub(super) live: usize,
    pub(super) lines: BTreeMap<KeyId, Line>,
    heard: Heard,
    /// Seconds that an attempt takes, smoothed; `None` before the first one ended.
    usual_secs: Option<f64>,
    /// When the last attempt ended.
    last_ended: Option<Instant>,
}

impl Lane {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            window: Window::new(bounds),
            in_flight: 0,
            ready: 0,
            live: 0,
            lines: BTreeMap::new(),
            heard: Heard::Nothing,
            usual_secs: None,
            last_ended: None,
        }
    }

    /// What a key has here.
    pub(super) fn line(&mut self, key: &KeyId) -> &mut Line {
        self.lines.entry(key.clone()).or_default()
    }

    /// Whether there is something to do, or something worth keeping is known of it. What of it is empty goes.
    pub(super) fn is_kept(&mut self) -> bool {
        self.lines.retain(|_, line| line.held > 0 || !line.due.is_empty());
        let is_remembered = self.last_ended.is_some_and(|ended| ended.elapsed() < REMEMBERED);
        is_remembered || !self.lines.is_empty()
    }

    /// How many attempts at once it gets: its window, but one after the other while it does not answer.
    pub(super) fn size(&self) -> usize {
        match self.heard {
            Heard::Silence => 1,
            _ => self.window.size(),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self.heard, Heard::Silence)
    }

    /// How many more should be claimed: what the window has free, and some ahead where it is quick. What is ahead is
    /// fetched when half of it is used up, for a claim of many costs hardly more than a claim of one.
    pub(super) fn wanted(&self) -> usize {
        let ahead = self.ahead();
        if ahead > 0 && self.ready > ahead / 2 {
            return 0;
        }
        (self.size() + ahead).saturating_sub(self.in_flight + self.ready)
    }

    /// Of that, what one endpoint of a key gets: keys share a receiver evenly, and so do the endpoints of a key, so
    /// that none waits for all of another's.
    pub(super) fn share_of(&self, line: &Line) -> usize {
        let keys = self.lines.values().filter(|line| !line.due.is_empty()).count();
        let of_key = ((self.size() + self.ahead()) / keys.max(1)).max(1);
        let left = if keys > 1 { of_key.saturating_sub(line.held) } else { of_key };
        (of_key / line.due.len().max(1)).max(1).min(left).min(self.wanted())
    }

    /// How many more the window has free.
    pub(super) fn free(&self) -> usize {
        self.size().saturating_sub(self.in_flight + self.ready)
    }

    /// How many more live events may be claimed: they get half of the window, so that there is room for the end of
    /// another job while a receiver is slow with them.
    pub(super) fn live_room(&self) -> usize {
        (self.size() / 2).max(1).saturating_sub(self.live)
    }

    /// How it stands. A probe goes to where nothing has been answered for some time, unless this node knows better.
    pub(super) fn standing(&self, is_probe: bool) -> Standing {
        match self.heard {
            Heard::Soon(at) if at.elapsed() <= PROMPT => Standing::Answering,
            Heard::Soon(_) => Standing::Known,
            Heard::Nothing if is_probe => Standing::Mute,
            Heard::Nothing | Heard::Late => Standing::Unsure,
            Heard::Silence => Standing::Mute,
        }
    }

    /// Learns from an attempt that was made how long one holds a slot.
    pub(super) fn learn(&mut self, outcome: &SendOutcome) {
        if outcome.error == Some(SendError::Interrupted) {
            return;
        }
        self.last_ended = Some(Instant::now());
        self.heard = match outcome.status {
            _ if outcome.took <= PROMPT => Heard::Soon(Instant::now()),
            Some(_) => Heard::Late,
            None => Heard::Silence,
        };
    }

    /// Learns how quick it is with what it is sent.
    pub(super) fn learn_pace(&mut self, took: Duration) {
        let secs = took.as_secs_f64();
        self.usual_secs = Some(self.usual_secs.map_or(secs, |usual| usual + SMOOTHING * (secs - usual)));
    }

    /// An attempt that began then has had no answer for long. If another had one since, that says more.
    pub(super) fn is_waited_for(&mut self, since: Instant) {
        if !matches!(self.heard, Heard::Soon(at) if at > since) {
            self.heard = Heard::Silence;
        }
    }

    /// How many the receiver can take in the time that is fetched ahead for; none if one takes longer than that.
    fn ahead(&self) -> usize {
        match self.usual_secs {
            Some(secs) if secs < AHEAD.as_secs_f64() => {
                let ahead = self.size() as f64 * AHEAD.as_secs_f64() / secs.max(1e-6);
                // Not negative, and bounded; the cast saturates.
                (ahead as usize).min(MOST_AHEAD)
            }
            _ => 0,
        }
    }
}
