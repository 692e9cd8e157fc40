//! Requests ahead of the reader: several at once, each for bytes that will be read next, none beyond the window.

mod seat;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::Failure;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use self::seat::Seat;
use super::batch::Batch;
use super::fetch::{Answer, Fetcher};
use super::kept::Kept;
use super::link::Link;
use super::part::Pinned;
use super::patience::Patience;
use super::plan::Plan;
use super::run::Run;

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
    /// Requests under way, by their numbers.
    flights: BTreeMap<u64, Flight>,
    link: Link,
    patience: Patience,
    /// Raised with each failure that counts: requests that were made before it fail with it.
    epoch: u64,
    /// No request is made before.
    quiet_until: Option<Instant>,
    failed: Option<Failure>,
    whole: Option<Answer>,
}

/// A request under way.
#[derive(Default)]
struct Flight {
    /// Once it has begun.
    task: Option<AbortHandle>,
    /// Nobody wants its bytes any more.
    is_called_off: bool,
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
            flights: BTreeMap::new(),
            link,
            patience: Patience::default(),
            epoch: 0,
            quiet_until: None,
            failed: None,
            whole: None,
        };
        Self { fetcher, pinned, kept, state: Mutex::new(state), news: Notify::new() }
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
        // What else was asked for, without knowing better, is not wanted any more.
        state.loose.give_up_all();
        state.loose.evict(0, BEHIND_BYTES);
        let former = state.planned.take().map(|(_, mut former)| {
            run.inherit(&former);
            former.give_up_all();
            former.take_given_up()
        });
        state.plans += 1;
        state.planned = Some((state.plans, run));
        state.reading = For::Plan(state.plans);
        state.call_off(former.unwrap_or_default());
        let due = self.due(&mut state);
        drop(state);
        self.take_off(due);
    }

    /// Ends all requests.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.planned = None;
        state.loose = Run::new(Plan::whole(0));
        state.flights.values_mut().for_each(Flight::call_off);
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
        state.make_way(window);
        let given_up = state.runs().flat_map(Run::take_given_up).collect();
        state.call_off(given_up);
        while state.flights.len() < state.link.connections() {
            let Some(batch) = self.next(state, window) else { break };
            state.requests += 1;
            let id = state.requests;
            if let Some(run) = state.run() {
                run.ask(id, &batch);
            }
            state.flights.insert(id, Flight::default());
            let seat = Seat {
                prefetch: Arc::clone(self),
                id,
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
            let id = seat.id;
            let task = tokio::spawn(async move { seat.fly(&batch).await });
            // It may have ended by now.
            if let Some(flight) = self.state().flights.get_mut(&id) {
                flight.take_off(task.abort_handle());
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
        Self::pick(&mut self.loose, &mut self.planned, self.reading)
    }

    /// All that requests may fill.
    fn runs(&mut self) -> impl Iterator<Item = &mut Run> {
        std::iter::once(&mut self.loose).chain(self.planned.as_mut().map(|(_, run)| run))
    }

    /// A request has ended. What did not come is open again; whether that is something.
    fn land(&mut self, id: u64) -> bool {
        let is_short: Vec<bool> = self.runs().map(|run| run.land(id)).collect();
        is_short.contains(&true)
    }

    /// Where the reader waits for what is not even asked for while others have all connections, one of those that bring
    /// what is not read next gives way.
    fn make_way(&mut self, window: u64) {
        let wanted = self.flights.values().filter(|flight| !flight.is_called_off).count();
        let is_held_up = self.run().and_then(|run| run.gap(window)).is_some_and(|(_, is_awaited)| is_awaited);
        if is_held_up && wanted >= self.link.connections() {
            let beside = match self.reading {
                For::Loose => self.planned.as_mut().map(|(_, run)| run),
                For::Plan(_) => Some(&mut self.loose),
            };
            let has_made_way = beside.is_some_and(|run| run.make_way(0));
            let _ = has_made_way || self.run().is_some_and(|run| run.make_way(window));
        }
    }

    /// Ends those of the requests that were given up whose bytes nobody wants any more. One that has brought them all may
    /// end by itself, so that its connection serves again.
    fn call_off(&mut self, given_up: Vec<u64>) {
        for id in given_up {
            let is_wanted = self.runs().any(|run| run.wants(id));
            if let Some(flight) = self.flights.get_mut(&id).filter(|_| !is_wanted) {
                flight.call_off();
            }
        }
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

impl Flight {
    fn take_off(&mut self, task: AbortHandle) {
        if self.is_called_off {
            task.abort();
        }
        self.task = Some(task);
    }

    fn call_off(&mut self) {
        self.is_called_off = true;
        self.task.iter().for_each(AbortHandle::abort);
    }
}
