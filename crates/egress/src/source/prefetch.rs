//! Requests ahead of the reader: several at once, each for bytes that will be read next, none beyond the window.

mod seat;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Failure;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::seat::Seat;
use super::batch::Batch;
use super::fetch::{Answer, Fetcher};
use super::kept::Kept;
use super::link::Link;
use super::part::Pinned;
use super::patience::Patience;
use super::plan::Plan;
use super::run::{Flight, Run};

/// Bytes that were read are kept while they are no more than this, so that a demuxer's steps back cost no request.
const BEHIND_BYTES: u64 = 1 << 20;
/// The least that is asked for where nothing is planned.
const LOOK_BYTES: u64 = 64 << 10;

/// Which reading a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Whatever is read without a plan.
    Loose,
    /// The plan of this number.
    Plan(u64),
}

/// What all requests of a source share.
pub(crate) struct Prefetch {
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) pinned: Pinned,
    pub(crate) kept: Arc<Kept>,
    state: Mutex<State>,
    /// Requests under way.
    flying: AtomicUsize,
    /// Rung whenever a reader may find something new.
    pub(crate) news: Notify,
}

struct State {
    loose: Run,
    planned: Option<(u64, Run)>,
    plans: u64,
    /// How the source was read last, and how much was asked for.
    reading: For,
    asked: u64,
    requests: u64,
    link: Link,
    patience: Patience,
    /// Raised with each failure that counts: requests that were made before it fail with it.
    epoch: u64,
    /// No request is made before.
    quiet_until: Option<Instant>,
    failed: Option<Failure>,
    whole: Option<Answer>,
}

/// What a reader finds.
pub(crate) enum Looked {
    Bytes(Vec<u8>),
    /// So many are on disk.
    Kept(u64),
    Failed(Failure),
    /// The host serves the file as a whole alone, and has begun to.
    Whole(Answer),
    /// Nothing yet; at this time it is worth to look again, news or not.
    Wait(Option<Instant>),
}

impl Prefetch {
    /// With the first bytes of the file.
    pub(crate) fn new(
        fetcher: Arc<Fetcher>,
        pinned: Pinned,
        link: Link,
        head: &[u8],
        kept: Arc<Kept>,
    ) -> Self {
        let mut loose = Run::new(Plan::whole(pinned.length));
        loose.adopt(0, head);
        let state = State {
            loose,
            planned: None,
            plans: 0,
            reading: For::Loose,
            asked: 0,
            requests: 0,
            link,
            patience: Patience::default(),
            epoch: 0,
            quiet_until: None,
            failed: None,
            whole: None,
        };
        let (state, flying) = (Mutex::new(state), AtomicUsize::new(0));
        Self { fetcher, pinned, kept, state, flying, news: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `max_bytes` bytes from `offset`, which lies in the file; or sees to it that they come.
    pub(crate) fn look(self: &Arc<Self>, offset: u64, max_bytes: usize) -> Looked {
        let mut state = self.state();
        let (reading, there) = (state.reading_of(offset), self.kept.reach(offset));
        // Beside a plan, what was read before it is at most read again: nothing is asked for ahead of that.
        if there > 0 && reading == For::Loose && state.planned.is_some() {
            return Looked::Kept(there);
        }
        state.reading = reading;
        state.asked = max_bytes as u64;
        let window = self.window(&state);
        let found = state.run().and_then(|run| run.read(offset, max_bytes));
        if found.is_none() && there > 0 {
            // Nor is it ahead of what is read again: where the requests go on from stays where it is.
            return Looked::Kept(there);
        }
        if let Some(run) = state.run() {
            if found.is_none() {
                run.aim(offset);
            }
            run.evict(window, BEHIND_BYTES);
        }
        if found.is_none() {
            if let Some(answer) = state.whole.take() {
                return Looked::Whole(answer);
            }
            if let Some(failure) = state.failed.clone() {
                return Looked::Failed(failure);
            }
        }
        let due = self.due(&mut state);
        let quiet_until = state.quiet_until;
        drop(state);
        self.take_off(due);
        found.map_or(Looked::Wait(quiet_until), Looked::Bytes)
    }

    /// Another plan: it takes over what is at hand of it.
    pub(crate) fn plan(self: &Arc<Self>, ranges: Vec<Range<u64>>) {
        let Some(plan) = Plan::of(ranges, self.pinned.length) else { return };
        let mut state = self.state();
        if state.planned.as_ref().is_some_and(|(_, run)| *run.plan() == plan) {
            return;
        }
        let mut run = Run::new(plan);
        run.inherit(&state.loose);
        if let Some((_, former)) = &state.planned {
            run.inherit(former);
        }
        // What was asked for without knowing better is not wanted any more.
        state.loose.evict(0, BEHIND_BYTES);
        state.plans += 1;
        state.planned = Some((state.plans, run));
        state.reading = For::Plan(state.plans);
        let due = self.due(&mut state);
        drop(state);
        self.take_off(due);
    }

    /// Ends all requests.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.planned = None;
        state.loose = Run::new(Plan::whole(0));
    }

    /// How far ahead of the reader is asked for. Without a plan it is as far as the reader has come without a jump.
    fn window(&self, state: &State) -> u64 {
        let most = self.fetcher.config.window_bytes as u64;
        match state.reading {
            For::Plan(_) => most,
            For::Loose => state.asked.max(LOOK_BYTES).saturating_add(state.loose.steady_bytes()).min(most),
        }
    }

    /// The requests to make now: while there is something to ask for, and a connection for it.
    fn due(self: &Arc<Self>, state: &mut State) -> Vec<(Seat, Batch)> {
        let mut due = Vec::new();
        if state.failed.is_some() || state.whole.is_some() || state.is_quiet() {
            return due;
        }
        let window = self.window(state);
        while self.flying.load(Ordering::SeqCst) < state.link.connections() {
            let Some(batch) = self.next(state, window) else { break };
            state.requests += 1;
            let id = state.requests;
            if let Some(run) = state.run() {
                run.ask(id, &batch);
            }
            self.flying.fetch_add(1, Ordering::SeqCst);
            let seat = Seat {
                prefetch: Arc::clone(self),
                reading: state.reading,
                id,
                start: batch.places.start,
                epoch: state.epoch,
                is_multi: batch.is_multi(),
                has_landed: false,
            };
            due.push((seat, batch));
        }
        due
    }

    fn next(&self, state: &mut State, window: u64) -> Option<Batch> {
        let State { link, loose, planned, reading, .. } = state;
        let run = State::pick(loose, planned, *reading)?;
        let (gap, is_awaited) = run.gap(window)?;
        let end = run.window_end(window);
        let room = end - gap.start;
        let policy = link.policy(&self.fetcher.config, room);
        // A window that moves on by a few bytes is no reason for a request. The rest of it is under way or at hand.
        if !is_awaited
            && end < run.plan().len()
            && room < link.least_room(window).max(policy.max_bytes.min(window / 2))
        {
            return None;
        }
        let batch = Batch::first(run.plan(), gap, &policy);
        if batch.is_multi() {
            if link.is_trying() {
                return None;
            }
            link.tries_multi();
        }
        Some(batch)
    }

    /// Makes what requests are due.
    fn go_on(self: &Arc<Self>) {
        let due = self.due(&mut self.state());
        self.take_off(due);
    }

    /// Starts them. Nothing is locked, because a runtime that is shutting down drops a task at once.
    fn take_off(&self, due: Vec<(Seat, Batch)>) {
        for (seat, batch) in due {
            let (reading, id, start) = (seat.reading, seat.id, seat.start);
            let task = tokio::spawn(async move { seat.fly(&batch).await });
            let flight = Flight(task.abort_handle());
            let mut state = self.state();
            if let Some(run) = state.run_of(reading) {
                run.take_off(id, start, flight);
            }
        }
    }
}

impl State {
    /// By which reading the byte at `offset` is reached.
    fn reading_of(&self, offset: u64) -> For {
        match &self.planned {
            Some((number, run)) if run.plan().place(offset).is_some() => For::Plan(*number),
            _ => For::Loose,
        }
    }

    fn run(&mut self) -> Option<&mut Run> {
        self.run_of(self.reading)
    }

    fn run_of(&mut self, reading: For) -> Option<&mut Run> {
        Self::pick(&mut self.loose, &mut self.planned, reading)
    }

    fn pick<'a>(
        loose: &'a mut Run,
        planned: &'a mut Option<(u64, Run)>,
        reading: For,
    ) -> Option<&'a mut Run> {
        match reading {
            For::Loose => Some(loose),
            For::Plan(number) => {
                planned.as_mut().filter(|(planned, _)| *planned == number).map(|(_, run)| run)
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.quiet_until = self.quiet_until.filter(|until| *until > Instant::now());
        self.quiet_until.is_some()
    }
}
