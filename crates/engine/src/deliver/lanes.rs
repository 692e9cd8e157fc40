//! Whose turn it is: receivers side by side, each within its own window ([`lane`]), under what a key and the node may
//! have at once ([`slots`]), in turns ([`rounds`]). A receiver that does not answer fills its own window and nobody
//! else's; a customer whose receivers all do not answer delays those of no other customer, and those of his own that
//! do answer no more.

use std::collections::{HashMap, HashSet, VecDeque};

use domain::{Delivery, EndpointId, KeyId, Lease, Receiver};
use store::DueEndpoint;

use self::heard::Heard;
use self::known::Known;
use self::lane::Lane;
use self::line::Kind;
use self::rounds::Rounds;
use self::slots::{Slots, Standing};
use super::window::Bounds;

mod attempts;
mod claim;
mod heard;
mod known;
mod lane;
mod line;
mod rounds;
mod slots;

pub(super) use claim::{Claim, Whom};
pub(super) use known::REMEMBERED as RECOVERY_REMEMBERED;
pub(super) use line::{Place, Turn};

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
    /// Who has something ready, in the rounds of [`Kind::IN_ROUNDS`].
    sending: [Rounds; 2],
    /// What is ready and has no slot yet.
    ahead: usize,
    /// Lines that have an endpoint which was found not to answer.
    stranded: Vec<(KeyId, Receiver)>,
    heard: Heard,
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
            stranded: Vec::new(),
            heard: Heard::default(),
            known: Known::new(caps.open_after, caps.window.most),
            has_passed_over: false,
        }
    }

    /// Takes over what is due by now; what is not in there is forgotten. What is known already keeps its place in line.
    pub(super) fn refresh(&mut self, due: Vec<DueEndpoint>) {
        self.look(due, false);
    }

    /// The same of a page of what is due. Of others those stay that answer: their page may come late, and a claim that
    /// finds nothing forgets them.
    pub(super) fn turn_page(&mut self, due: Vec<DueEndpoint>) {
        self.look(due, true);
    }

    fn look(&mut self, due: Vec<DueEndpoint>, is_page: bool) {
        self.has_passed_over = false;
        self.known.refresh(&due);
        self.heard.refresh();
        let places = self.forget_due(is_page);
        self.add(due);
        for (receiver, lane) in &mut self.lanes {
            for (key, line) in &mut lane.lines {
                let place = |one: &DueEndpoint| places.get(&one.id).copied().unwrap_or(usize::MAX);
                line.due.make_contiguous().sort_by_key(place);
                line.mute.make_contiguous().sort_by_key(place);
                if !line.is_due() {
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
            let is_silent = self.heard.is_silent(&endpoint, lane.answered);
            lane.line(&endpoint.key).add(endpoint, is_silent);
        }
    }

    /// Empties all lines of what is due, but for endpoints that answer if they `are_kept`, and leaves the lines in their
    /// rounds. Which place each endpoint had.
    fn forget_due(&mut self, are_kept: bool) -> HashMap<EndpointId, usize> {
        let mut places = HashMap::new();
        for lane in self.lanes.values_mut() {
            let (answered, heard) = (lane.answered, &self.heard);
            let is_kept = |one: &DueEndpoint| are_kept && heard.standing(one, answered) <= Standing::Known;
            for line in lane.lines.values_mut() {
                let due = line.due.iter().chain(&line.mute).enumerate();
                places.extend(due.map(|(place, one)| (one.id.clone(), place)));
                line.due.retain(is_kept);
                line.mute.clear();
            }
        }
        places
    }

    /// Gives an endpoint up for now; what was claimed for it and will not be sent.
    pub(super) fn give_up(&mut self, endpoint: &DueEndpoint) -> Vec<Lease<Delivery>> {
        self.known.give_up(&endpoint.id);
        self.take_from(&endpoint.key, &endpoint.receiver, |turn| turn.place.endpoint.id == endpoint.id)
    }

    /// What was fetched ahead for endpoints that were found not to answer: it would be late, and its place is wanted.
    pub(super) fn take_stranded(&mut self) -> Vec<Lease<Delivery>> {
        let mut stranded = Vec::new();
        for (key, receiver) in std::mem::take(&mut self.stranded) {
            let Some(lane) = self.lanes.get_mut(&receiver) else { continue };
            let (answered, heard) = (lane.answered, &self.heard);
            let is_ahead = |turn: &Turn| turn.place.slot.is_none() && turn.place.kind != Kind::Silent;
            let ahead = lane.line(&key).without_slot().filter(|turn| is_ahead(turn));
            let ahead = ahead.map(|turn| &turn.place.endpoint);
            let late: HashSet<EndpointId> = ahead
                .filter(|endpoint| heard.standing(endpoint, answered) > Standing::Known)
                .map(|endpoint| endpoint.id.clone())
                .collect();
            let is_late = |turn: &Turn| is_ahead(turn) && late.contains(&turn.place.endpoint.id);
            stranded.extend(self.take_from(&key, &receiver, is_late));
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
        for ready in &mut line.ready {
            let (out, stay) = std::mem::take(ready).into_iter().partition::<VecDeque<_>, _>(&of);
            *ready = stay;
            taken.extend(out);
        }
        for (round, sending) in self.sending.iter_mut().enumerate() {
            if !line.is_ready(round) {
                sending.leave(key, receiver);
            }
        }
        for turn in &taken {
            lane.drop_ready(turn.place.kind);
            match turn.place.slot {
                Some(slot) => self.slots.give_back(slot),
                None => self.ahead -= 1,
            }
            self.known.let_go(&turn.place.endpoint);
        }
        taken.into_iter().map(|turn| turn.lease).collect()
    }
}

#[cfg(test)]
mod tests;
