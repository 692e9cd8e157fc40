//! One receiver: its window, how quick it is, and a line for each key.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{KeyId, SendOutcome};
use tokio::time::Instant;

use super::line::{Kind, Line, Place, Turn};
use super::slots::PROMPT;
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

/// One receiver.
pub(super) struct Lane {
    pub(super) window: Window,
    /// Of the window, what is under way and what is ready.
    pub(super) in_flight: usize,
    ready: usize,
    /// Live events among these.
    live: usize,
    pub(super) lines: BTreeMap<KeyId, Line>,
    /// When it last answered somebody promptly; none if it has let one wait since.
    pub(super) answered: Option<Instant>,
    /// Seconds that an answer takes, smoothed; `None` before the first one.
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
            answered: None,
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
        self.lines.retain(|_, line| !line.is_empty());
        let is_remembered = self.last_ended.is_some_and(|ended| ended.elapsed() < REMEMBERED);
        is_remembered || !self.lines.is_empty()
    }

    /// How many more should be claimed: what the window has free, and some ahead where it is quick. What is ahead is
    /// fetched when half of it is used up, for a claim of many costs hardly more than a claim of one.
    pub(super) fn wanted(&self) -> usize {
        let ahead = self.ahead();
        if ahead > 0 && self.ready > ahead / 2 {
            return 0;
        }
        (self.window.size() + ahead).saturating_sub(self.in_flight + self.ready)
    }

    /// Of that, what one endpoint of a key gets: keys share a receiver evenly, and so do the endpoints of a key, so
    /// that none waits for all of another's.
    pub(super) fn share_of(&self, line: &Line) -> usize {
        let keys = self.lines.values().filter(|line| !line.due.is_empty()).count();
        let of_key = ((self.window.size() + self.ahead()) / keys.max(1)).max(1);
        let held = line.held(Kind::End) + line.held(Kind::Live);
        let left = if keys > 1 { of_key.saturating_sub(held) } else { of_key };
        (of_key / line.due.len().max(1)).max(1).min(left).min(self.wanted())
    }

    /// How many more the window has free.
    pub(super) fn free(&self) -> usize {
        self.window.size().saturating_sub(self.in_flight + self.ready)
    }

    /// Whether an attempt can be begun in the window, of which the line has another under way. If it has none, it can
    /// however full the window is, so that nobody waits for what another key's hooks are waited for, nor the end of a job
    /// for a live event.
    pub(super) fn has_place(&self, kind: Kind, has_another: bool) -> bool {
        !kind.is_in_window() || !has_another || self.in_flight < self.window.size()
    }

    /// How many more live events may be claimed for a key: they get half of the window, so that they are the fewer of
    /// what a receiver has to take.
    pub(super) fn live_room(&self, key: &KeyId) -> usize {
        let room = (self.window.size() / 2).max(1).saturating_sub(self.live);
        let has_another = self.lines.get(key).is_some_and(|line| line.held(Kind::Live) > 0);
        match (self.free(), has_another) {
            (0, true) => 0,
            (0, false) => room.min(1),
            _ => room,
        }
    }

    /// Something is ready in a line.
    pub(super) fn push(&mut self, turn: Turn) {
        let kind = turn.place.kind;
        self.ready += usize::from(kind.is_in_window());
        self.live += usize::from(kind == Kind::Live);
        let key = turn.place.endpoint.key.clone();
        self.line(&key).ready[kind as usize].push_back(turn);
    }

    /// The first of what is ready of a kind begins.
    pub(super) fn begin(&mut self, key: &KeyId, kind: Kind) -> Option<Turn> {
        let line = self.line(key);
        let turn = line.ready[kind as usize].pop_front()?;
        line.in_flight[kind as usize] += 1;
        self.ready -= usize::from(kind.is_in_window());
        self.in_flight += usize::from(kind.is_in_window());
        Some(turn)
    }

    /// What was ready is not to be begun.
    pub(super) fn drop_ready(&mut self, kind: Kind) {
        self.ready -= usize::from(kind.is_in_window());
        self.live -= usize::from(kind == Kind::Live);
    }

    /// An attempt is over.
    pub(super) fn end(&mut self, place: &Place) {
        let kind = place.kind;
        self.in_flight = self.in_flight.saturating_sub(usize::from(kind.is_in_window()));
        self.live = self.live.saturating_sub(usize::from(kind == Kind::Live));
        let in_flight = &mut self.line(&place.endpoint.key).in_flight[kind as usize];
        *in_flight = in_flight.saturating_sub(1);
    }

    /// Learns from an attempt that was made. Of a receiver's window and pace a live event says not much, for it has less
    /// time than others, and that there was no answer where none was expected says nothing.
    pub(super) fn learn(&mut self, kind: Kind, outcome: &SendOutcome, began: Instant) {
        self.last_ended = Some(Instant::now());
        let is_prompt = outcome.took <= PROMPT;
        if is_prompt {
            self.answered = Some(Instant::now());
        }
        let is_answered = outcome.status.is_some();
        match kind {
            Kind::Live if !is_answered => return,
            Kind::Silent if !is_answered && !is_prompt => return,
            _ => self.window.learn(outcome, began),
        }
        if kind != Kind::Live {
            self.learn_pace(outcome.took);
        }
    }

    fn learn_pace(&mut self, took: Duration) {
        let secs = took.as_secs_f64();
        self.usual_secs = Some(self.usual_secs.map_or(secs, |usual| usual + SMOOTHING * (secs - usual)));
    }

    /// An attempt that began then has had no answer for long. Whether that says something: if somebody else had one since,
    /// that says more.
    pub(super) fn is_waited_for(&mut self, since: Instant) -> bool {
        let is_news = self.answered.is_none_or(|answered| answered <= since);
        if is_news {
            self.answered = None;
        }
        is_news
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
