//! Whose turn it is: receivers side by side, each within its own window ([`lane`]), under what a key and the node may
//! have at once ([`slots`]), in turns ([`rounds`]). A receiver that does not answer fills its own window and nobody
//! else's; a customer whose receivers all do not answer delays those of no other customer, and those of his own that
//! do answer no more.

use std::collections::{HashMap, VecDeque};

use domain::{Delivery, EndpointId, KeyId, Lease, Receiver, SendError, SendOutcome};
use store::DueEndpoint;
use tokio::time::Instant;

use self::known::Known;
use self::lane::Lane;
use self::rounds::Rounds;
use self::slots::Slots;
use super::window::Bounds;

mod claim;
mod known;
mod lane;
mod rounds;
mod slots;

pub(super) use claim::{Claim, Whom};
pub(super) use known::REMEMBERED as RECOVERY_REMEMBERED;
pub(super) use lane::Turn;
pub(super) use slots::SlotId;

/// Caps on attempts at once. What is fetched ahead is none yet, and counts when it is begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// On this node.
    pub(super) total: usize,
    /// For one API key.
    pub(super) per_key: usize,
    /// For one receiver.
    pub(super) window: Bounds,
    /// Failures in a row after which an endpoint is given up.
    pub(super) open_after: u32,
}

/// All of them.
pub(super) struct Lanes {
    bounds: Bounds,
    lanes: HashMap<Receiver, Lane>,
    slots: Slots,
    /// Who has something due, in the rounds of those that answer and in those of all others.
    claiming: [Rounds; 2],
    is_turn_of_others: bool,
    /// There was nothing to claim, and nothing has changed since.
    is_all_claimed: bool,
    /// Who has something ready: ends of jobs first, live events only when no end can be sent.
    sending: [Rounds; 2],
    /// What is ready and has no slot yet.
    ahead: usize,
    /// Receivers that were found not to answer.
    silent: Vec<Receiver>,
    known: Known,
    /// Whether live events have been passed over for want of room.
    has_passed_over: bool,
}

impl Lanes {
    pub(super) fn new(caps: Caps) -> Self {
        Self {
            bounds: caps.window,
            lanes: HashMap::new(),
            slots: Slots::new(caps.total, caps.per_key),
            claiming: Default::default(),
            is_turn_of_others: false,
            is_all_claimed: false,
            sending: Default::default(),
            ahead: 0,
            silent: Vec::new(),
            known: Known::new(caps.open_after, caps.window.most),
            has_passed_over: false,
        }
    }

    /// Takes over what is due by now; what is not in there is forgotten. What is known already keeps its place in line.
    pub(super) fn refresh(&mut self, due: Vec<DueEndpoint>) {
        self.has_passed_over = false;
        self.known.refresh(&due);
        let places = self.take_due();
        self.add(due);
        for (receiver, lane) in &mut self.lanes {
            for (key, line) in &mut lane.lines {
                let place = |one: &DueEndpoint| places.get(&one.id).copied().unwrap_or(usize::MAX);
                line.due.make_contiguous().sort_by_key(place);
                if line.due.is_empty() {
                    self.claiming.iter_mut().for_each(|rounds| rounds.leave(key, receiver));
                }
            }
        }
        self.lanes.retain(|_, lane| lane.is_kept());
    }

    /// Takes over what has become due, beside what is known.
    pub(super) fn add(&mut self, due: Vec<DueEndpoint>) {
        self.is_all_claimed = false;
        for endpoint in due {
            self.known.heed(&endpoint);
            self.claiming.iter_mut().for_each(|rounds| rounds.join(&endpoint.key, &endpoint.receiver));
            let bounds = self.bounds;
            let lane = self.lanes.entry(endpoint.receiver.clone()).or_insert_with(|| Lane::new(bounds));
            let due = &mut lane.line(&endpoint.key).due;
            match due.iter_mut().find(|known| known.id == endpoint.id) {
                Some(known) => *known = endpoint,
                None => due.push_back(endpoint),
            }
        }
    }

    /// Empties all lines of what is due, but leaves them in their rounds; which place each endpoint had.
    fn take_due(&mut self) -> HashMap<EndpointId, usize> {
        let lines = self.lanes.values_mut().flat_map(|lane| lane.lines.values_mut());
        lines.flat_map(|line| line.due.drain(..).enumerate().map(|(place, one)| (one.id, place))).collect()
    }

    /// Whether live events that were due have been passed over since the last refresh, for want of room.
    pub(super) fn has_passed_over(&self) -> bool {
        self.has_passed_over
    }

    /// The next attempt to make now.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        self.grow_old();
        (0..self.sending.len()).find_map(|kind| {
            let mut sending = std::mem::take(&mut self.sending[kind]);
            let turn = sending.next(|key, receiver| self.has_turn(key, receiver, kind));
            self.sending[kind] = sending;
            let (key, receiver) = turn?;
            self.begin(&key, &receiver, kind)
        })
    }

    /// Whether the first of what is ready in a line can be sent: its receiver's window has room, and it has a slot or
    /// can have one. Those that have one come first.
    fn has_turn(&self, key: &KeyId, receiver: &Receiver, kind: usize) -> bool {
        let Some(lane) = self.lanes.get(receiver).filter(|lane| lane.in_flight < lane.size()) else {
            return false;
        };
        let first = lane.lines.get(key).and_then(|line| line.ready[kind].front());
        first.is_some_and(|turn| {
            turn.slot.is_some() || self.slots.room(key, lane.standing(turn.endpoint.is_probe)).now > 0
        })
    }

    fn begin(&mut self, key: &KeyId, receiver: &Receiver, kind: usize) -> Option<Turn> {
        let lane = self.lanes.get_mut(receiver)?;
        let ready = &mut lane.line(key).ready[kind];
        let mut turn = ready.pop_front()?;
        if ready.is_empty() {
            self.sending[kind].leave(key, receiver);
        }
        lane.ready -= 1;
        lane.in_flight += 1;
        if turn.slot.is_none() {
            // More may be fetched ahead.
            self.is_all_claimed = false;
            self.ahead -= 1;
            turn.slot = Some(self.slots.take(key, receiver, lane.standing(turn.endpoint.is_probe)));
        }
        Some(turn)
    }

    /// Learns from an attempt at a live event that ended: for the window not much, for it had less time than others.
    pub(super) fn live_ended(
        &mut self,
        endpoint: &DueEndpoint,
        slot: Option<SlotId>,
        outcome: &SendOutcome,
        began: Instant,
    ) {
        let Some(lane) = self.leave(endpoint, slot) else { return };
        lane.live = lane.live.saturating_sub(1);
        lane.learn(outcome);
        let is_silent = lane.is_silent();
        if outcome.status.is_some() {
            lane.window.learn(outcome, began);
        }
        if is_silent {
            self.silent.push(endpoint.receiver.clone());
        }
    }

    /// Learns from an attempt that ended; whether its endpoint is to be given up.
    pub(super) fn ended(
        &mut self,
        endpoint: &DueEndpoint,
        slot: Option<SlotId>,
        outcome: &SendOutcome,
        began: Instant,
    ) -> bool {
        if let Some(lane) = self.leave(endpoint, slot)
            && outcome.error != Some(SendError::Interrupted)
        {
            lane.learn(outcome);
            lane.learn_pace(outcome.took);
            lane.window.learn(outcome, began);
            if lane.is_silent() {
                self.silent.push(endpoint.receiver.clone());
            }
        }
        self.known.learn(endpoint, outcome)
    }

    /// An attempt is over; its lane.
    fn leave(&mut self, endpoint: &DueEndpoint, slot: Option<SlotId>) -> Option<&mut Lane> {
        self.is_all_claimed = false;
        slot.into_iter().for_each(|slot| self.slots.give_back(slot));
        self.known.let_go(endpoint);
        let lane = self.lanes.get_mut(&endpoint.receiver)?;
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let line = lane.line(&endpoint.key);
        line.held = line.held.saturating_sub(1);
        Some(lane)
    }

    /// Gives an endpoint up for now; what was claimed for it and will not be sent.
    pub(super) fn give_up(&mut self, endpoint: &DueEndpoint) -> Vec<Lease<Delivery>> {
        self.known.give_up(&endpoint.id);
        self.take_from(&endpoint.key, &endpoint.receiver, |turn| turn.endpoint.id == endpoint.id)
    }

    /// What was fetched ahead for receivers that were found not to answer: it would be late, and its place is wanted.
    pub(super) fn take_stranded(&mut self) -> Vec<Lease<Delivery>> {
        let mut stranded = Vec::new();
        for receiver in std::mem::take(&mut self.silent) {
            let keys = self.lanes.get(&receiver).map(|lane| lane.lines.keys().cloned().collect::<Vec<_>>());
            for key in keys.unwrap_or_default() {
                stranded.extend(self.take_from(&key, &receiver, |turn| turn.slot.is_none()));
            }
        }
        stranded
    }

    /// All that was claimed and will not be sent.
    pub(super) fn take_ready(&mut self) -> Vec<Lease<Delivery>> {
        let of_lane = |(receiver, lane): (&Receiver, &Lane)| {
            let receiver = receiver.clone();
            lane.lines.keys().cloned().map(move |key| (key, receiver.clone())).collect::<Vec<_>>()
        };
        let lines: Vec<_> = self.lanes.iter().flat_map(of_lane).collect();
        lines.iter().flat_map(|(key, receiver)| self.take_from(key, receiver, |_| true)).collect()
    }

    fn take_from(
        &mut self,
        key: &KeyId,
        receiver: &Receiver,
        of: impl Fn(&Turn) -> bool,
    ) -> Vec<Lease<Delivery>> {
        let Some(lane) = self.lanes.get_mut(receiver) else { return Vec::new() };
        self.is_all_claimed = false;
        let line = lane.lines.entry(key.clone()).or_default();
        let mut taken = Vec::new();
        for (ready, sending) in line.ready.iter_mut().zip(&mut self.sending) {
            let (out, stay) = std::mem::take(ready).into_iter().partition::<VecDeque<_>, _>(&of);
            *ready = stay;
            if ready.is_empty() {
                sending.leave(key, receiver);
            }
            taken.extend(out);
        }
        line.held -= taken.len();
        lane.ready -= taken.len();
        for turn in &taken {
            lane.live -= usize::from(turn.is_live());
            match turn.slot {
                Some(slot) => self.slots.give_back(slot),
                None => self.ahead -= 1,
            }
            self.known.let_go(&turn.endpoint);
        }
        taken.into_iter().map(|turn| turn.lease).collect()
    }

    /// Attempts that have been under way for long say that their receivers do not answer.
    fn grow_old(&mut self) {
        for (receiver, since) in self.slots.grow_old() {
            if let Some(lane) = self.lanes.get_mut(&receiver) {
                lane.is_waited_for(since);
                if lane.is_silent() {
                    self.silent.push(receiver);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
