//! Whose turn it is: receivers side by side, each within its own window, all under the caps of the node and of each
//! key. A receiver that does not answer fills its own window and nobody else's.

use std::collections::{BTreeMap, HashMap, VecDeque};

use domain::{Delivery, EndpointId, KeyId, Lease, Receiver, SendOutcome};
use store::DueEndpoint;
use tokio::time::Instant;

use self::known::Known;
use self::lane::{Lane, MOST_AHEAD};
use super::window::Bounds;

mod known;
mod lane;

pub(super) use lane::Turn;

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
    caps: Caps,
    lanes: BTreeMap<Receiver, Lane>,
    /// Whose turn comes next: the first lane after this one.
    last: Option<Receiver>,
    /// What the cap of the node counts: in flight, or ready and not ahead.
    at_once: usize,
    /// The same of each key.
    per_key: HashMap<KeyId, usize>,
    known: Known,
    /// Whether something due was passed over because of a cap.
    has_passed_over: bool,
}

impl Lanes {
    pub(super) fn new(caps: Caps) -> Self {
        Self {
            caps,
            lanes: BTreeMap::new(),
            last: None,
            at_once: 0,
            per_key: HashMap::new(),
            known: Known::new(caps.open_after, caps.window.most),
            has_passed_over: false,
        }
    }

    /// Takes over what is due by now; what was known before is forgotten, for it is in there.
    pub(super) fn refresh(&mut self, due: Vec<DueEndpoint>) {
        self.has_passed_over = false;
        self.known.refresh(&due);
        for lane in self.lanes.values_mut() {
            lane.due.clear();
            lane.served.clear();
        }
        for endpoint in due {
            let lane =
                self.lanes.entry(endpoint.receiver.clone()).or_insert_with(|| Lane::new(self.caps.window));
            lane.due.push_back(endpoint);
        }
        // A receiver that nothing is due for, and that was not sent to lately, is not kept.
        self.lanes.retain(|_, lane| {
            lane.in_flight > 0 || lane.has_due() || !lane.ready.is_empty() || lane.is_remembered()
        });
    }

    /// Whether something that was due has been passed over since the last refresh, for want of room.
    pub(super) fn has_passed_over(&self) -> bool {
        self.has_passed_over
    }

    /// The next claim to make, and how many at most; `None` when every lane has what it wants.
    pub(super) fn next_claim(&mut self) -> Option<(DueEndpoint, usize)> {
        loop {
            let ahead: usize = self.lanes.values().map(|lane| lane.ready_ahead).sum();
            let receiver = self.next_receiver(|lane| lane.has_due() && lane.wanted() > 0)?;
            self.last = Some(receiver.clone());
            let lane = self.lanes.get_mut(&receiver)?;
            let (wanted, free) = (lane.wanted(), lane.free());
            let is_waiting = lane.in_flight == 0 && lane.ready.is_empty();
            let endpoint = lane.next_due()?;
            // Endpoints of one receiver share what it wants evenly, so that none waits for all of another's.
            let share = wanted.div_ceil(lane.due.len() + 1);
            let room = self.room_of(&endpoint);
            let now = free.min(room);
            let is_steady = !endpoint.is_probe && !self.known.is_recovering(&endpoint.id);
            let left = if is_steady { MOST_AHEAD.saturating_sub(ahead) } else { 0 };
            let ahead = match (room > now, self.known.is_given_up(&endpoint.id)) {
                (true, _) => (wanted - free).min(left),
                // Nothing is ahead of what could not be sent now, but for a receiver that would wait for ever while
                // others have all that gets free because theirs is here already: one of its own stands in line too.
                (false, false) if is_waiting && ahead > 0 => {
                    MOST_AHEAD.saturating_sub(ahead).min(1).min(self.known.room(&endpoint))
                }
                (false, _) => 0,
            };
            let limit = share.min(now + ahead);
            if limit > 0 {
                return Some((endpoint, limit));
            }
            self.has_passed_over = true;
        }
    }

    /// What is left for an endpoint, by the caps and by what is known of it.
    fn room_of(&self, endpoint: &DueEndpoint) -> usize {
        let of_caps = match endpoint.is_probe {
            true => self.caps.total.saturating_sub(self.at_once),
            false => self.room_of_key(&endpoint.key),
        };
        of_caps.min(self.known.room(endpoint))
    }

    /// What the caps leave for a key.
    fn room_of_key(&self, key: &KeyId) -> usize {
        let of_key = self.per_key.get(key).copied().unwrap_or(0);
        let room = self.caps.total.saturating_sub(self.at_once);
        room.min(self.caps.per_key.saturating_sub(of_key))
    }

    /// How many live events may be claimed for an endpoint, of which final ones were claimed just now.
    pub(super) fn live_room(&mut self, endpoint: &DueEndpoint) -> usize {
        if !endpoint.has_live || endpoint.is_probe {
            return 0;
        }
        let room = self.lanes.get(&endpoint.receiver).map_or(0, Lane::live_room);
        self.has_passed_over |= room == 0;
        room
    }

    /// Takes over what was claimed `since` then; what of it is to go back, because its endpoint was given up meanwhile.
    /// Where a claim was filled there is more, so the endpoint gets in line again.
    pub(super) fn claimed(
        &mut self,
        endpoint: DueEndpoint,
        limit: usize,
        since: Instant,
        leases: Vec<Lease<Delivery>>,
    ) -> Vec<Lease<Delivery>> {
        let room = self.room_of(&endpoint);
        let lane = self.lanes.get_mut(&endpoint.receiver);
        let Some(lane) = lane.filter(|_| !self.known.is_given_up(&endpoint.id)) else { return leases };
        if leases.is_empty() {
            return leases;
        }
        self.known.claimed(&endpoint, leases.len());
        if !endpoint.is_probe && leases.len() == limit {
            lane.served.push_back(endpoint.clone());
        }
        lane.live += leases.iter().filter(|lease| lease.item.event.kind.is_live()).count();
        // While the claim was under way others may have been begun.
        let now = leases.len().min(lane.free()).min(room);
        lane.ready_ahead += leases.len() - now;
        let turn = |(n, lease)| Turn { lease, endpoint: endpoint.clone(), since, is_ahead: n >= now };
        lane.ready.extend(leases.into_iter().enumerate().map(turn));
        self.enter(&endpoint.key, now);
        Vec::new()
    }

    /// The next attempt to make now.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        let receiver = self.next_receiver(|lane| self.next_of(lane).is_some())?;
        let next = self.next_of(self.lanes.get(&receiver)?)?;
        let lane = self.lanes.get_mut(&receiver)?;
        let turn = lane.ready.remove(next)?;
        lane.in_flight += 1;
        if turn.is_ahead {
            lane.ready_ahead = lane.ready_ahead.saturating_sub(1);
            self.enter(&turn.endpoint.key, 1);
        }
        self.last = Some(receiver);
        Some(turn)
    }

    /// Which of what is ready in a lane is sent next, within its window and the caps: live events only when nothing
    /// else is.
    fn next_of(&self, lane: &Lane) -> Option<usize> {
        if lane.in_flight >= lane.window.size() {
            return None;
        }
        let may_begin = |turn: &Turn| !turn.is_ahead || self.room_of_key(&turn.endpoint.key) > 0;
        let is_final = |turn: &Turn| !turn.lease.item.event.kind.is_live();
        lane.ready
            .iter()
            .position(|turn| is_final(turn) && may_begin(turn))
            .or_else(|| lane.ready.iter().position(may_begin))
    }

    /// Learns from an attempt at a live event that ended: not much, for it had less time than others.
    pub(super) fn live_ended(&mut self, endpoint: &DueEndpoint, outcome: &SendOutcome, began: Instant) {
        self.leave(endpoint);
        if let Some(lane) = self.lanes.get_mut(&endpoint.receiver) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.live = lane.live.saturating_sub(1);
            if outcome.status.is_some() {
                lane.window.learn(outcome, began);
            }
        }
    }

    /// Learns from an attempt that ended; whether its endpoint is to be given up.
    pub(super) fn ended(&mut self, endpoint: &DueEndpoint, outcome: &SendOutcome, began: Instant) -> bool {
        self.leave(endpoint);
        if let Some(lane) = self.lanes.get_mut(&endpoint.receiver) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.window.learn(outcome, began);
            lane.learn_pace(outcome.took);
        }
        self.known.learn(endpoint, outcome)
    }

    /// Gives an endpoint up for now; what was claimed for it and will not be sent.
    pub(super) fn give_up(&mut self, id: &EndpointId) -> Vec<Lease<Delivery>> {
        self.known.give_up(id);
        self.take_ready(|endpoint| endpoint.id == *id)
    }

    /// What was claimed and will not be sent: at the stop, or because its endpoint has just failed.
    pub(super) fn take_ready(&mut self, of: impl Fn(&DueEndpoint) -> bool) -> Vec<Lease<Delivery>> {
        let mut taken = Vec::new();
        for lane in self.lanes.values_mut() {
            let (out, stay): (VecDeque<Turn>, VecDeque<Turn>) =
                std::mem::take(&mut lane.ready).into_iter().partition(|turn| of(&turn.endpoint));
            lane.ready = stay;
            let live = out.iter().filter(|turn| turn.lease.item.event.kind.is_live()).count();
            lane.live = lane.live.saturating_sub(live);
            let ahead = out.iter().filter(|turn| turn.is_ahead).count();
            lane.ready_ahead = lane.ready_ahead.saturating_sub(ahead);
            taken.extend(out);
        }
        for turn in &taken {
            match turn.is_ahead {
                true => self.known.let_go(&turn.endpoint),
                false => self.leave(&turn.endpoint),
            }
        }
        taken.into_iter().map(|turn| turn.lease).collect()
    }

    /// So many of a key's deliveries count from now on.
    fn enter(&mut self, key: &KeyId, count: usize) {
        self.at_once += count;
        if count > 0 {
            *self.per_key.entry(key.clone()).or_default() += count;
        }
    }

    fn leave(&mut self, endpoint: &DueEndpoint) {
        self.at_once = self.at_once.saturating_sub(1);
        if let Some(count) = self.per_key.get_mut(&endpoint.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_key.remove(&endpoint.key);
            }
        }
        self.known.let_go(endpoint);
    }

    /// The first lane after the last one served that satisfies the condition, round and round.
    fn next_receiver(&self, is_wanted: impl Fn(&Lane) -> bool) -> Option<Receiver> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.last.as_ref().map_or(Unbounded, Excluded);
        let mut in_turn = self.lanes.range::<Receiver, _>((after, Unbounded)).chain(self.lanes.iter());
        in_turn.find(|(_, lane)| is_wanted(lane)).map(|(receiver, _)| receiver.clone())
    }
}

#[cfg(test)]
mod tests;
