//! Claims: for whom deliveries are fetched from the store, and how many.

use std::cell::RefCell;

use domain::{Delivery, KeyId, Lease, Receiver};
use store::DueEndpoint;
use tokio::time::Instant;

use super::Lanes;
use super::lane::{Lane, MOST_AHEAD, Turn};
use super::slots::{Room, Slots, Standing};

/// Whom to claim for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deliver) enum Whom {
    Answering,
    Anybody,
}

/// A claim to make, and how many deliveries at most.
#[derive(Debug)]
pub(in crate::deliver) struct Claim {
    pub(in crate::deliver) endpoint: DueEndpoint,
    pub(in crate::deliver) limit: usize,
    /// Its receiver is one of those that answer.
    pub(in crate::deliver) is_answering: bool,
}

impl Lanes {
    /// The next claim to make; `None` when nobody that is asked for has room for what is due. Receivers that answer and
    /// those that may not take turns, each in rounds of their own: a claim costs a disk's flush, and there may be many
    /// to make for receivers that do not answer.
    pub(in crate::deliver) fn next_claim(&mut self, whom: Whom) -> Option<Claim> {
        self.grow_old();
        if self.is_all_claimed {
            return None;
        }
        let in_turn = match whom {
            Whom::Answering => vec![0],
            Whom::Anybody if self.is_turn_of_others => vec![1, 0],
            Whom::Anybody => vec![0, 1],
        };
        let claim = in_turn.into_iter().find_map(|kind| self.next_of(kind));
        self.is_all_claimed = claim.is_none() && whom == Whom::Anybody;
        claim
    }

    /// Whether there is a claim to make.
    pub(in crate::deliver) fn can_claim(&self) -> bool {
        let rooms = RoomsByKey::new(&self.slots);
        let can_claim =
            |key: &KeyId, receiver: &Receiver| self.claim_of(key, receiver, None, &rooms).is_some();
        !self.is_all_claimed && self.claiming[0].find(can_claim).is_some()
    }

    fn next_of(&mut self, kind: usize) -> Option<Claim> {
        let mut claiming = std::mem::take(&mut self.claiming[kind]);
        let rooms = RoomsByKey::new(&self.slots);
        let turn = claiming.next(|key, receiver| self.claim_of(key, receiver, Some(kind), &rooms).is_some());
        let claim = turn.and_then(|(key, receiver)| {
            Some((self.claim_of(&key, &receiver, Some(kind), &rooms)?, key, receiver))
        });
        self.claiming[kind] = claiming;
        let ((place, limit), key, receiver) = claim?;
        let line = self.lanes.get_mut(&receiver)?.line(&key);
        let endpoint = line.due.remove(place)?;
        if line.due.is_empty() {
            self.claiming.iter_mut().for_each(|rounds| rounds.leave(&key, &receiver));
        }
        self.is_turn_of_others = kind == 0;
        Some(Claim { endpoint, limit, is_answering: kind == 0 })
    }

    /// The first of a line's endpoints that something can be claimed for, and how much: if the line is one of this kind.
    fn claim_of(
        &self,
        key: &KeyId,
        receiver: &Receiver,
        kind: Option<usize>,
        rooms: &RoomsByKey<'_>,
    ) -> Option<(usize, usize)> {
        let lane = self.lanes.get(receiver)?;
        let standing = lane.standing(false);
        if kind.is_some_and(|kind| kind != usize::from(standing > Standing::Known)) {
            return None;
        }
        let line = lane.lines.get(key)?;
        let rooms = rooms.of(key);
        let room = |standing| {
            let room: Room = rooms[standing as usize];
            Room { has_share: room.has_share && line.held == 0 && self.ahead > 0, ..room }
        };
        let (of_others, of_probes) = (room(standing), room(lane.standing(true)));
        // Most often so, where many do not answer.
        if of_others.is_none() && of_probes.is_none() {
            return None;
        }
        let share = lane.share_of(line);
        line.due.iter().enumerate().find_map(|(place, endpoint)| {
            let room = if endpoint.is_probe { of_probes } else { of_others };
            let limit = share.min(self.limit(lane, endpoint, room));
            (limit > 0).then_some((place, limit))
        })
    }

    /// How much may be claimed for an endpoint, to be sent now or ahead.
    fn limit(&self, lane: &Lane, endpoint: &DueEndpoint, room: Room) -> usize {
        let of_endpoint = self.known.room(endpoint);
        let of_all = room.now.min(of_endpoint);
        let now = of_all.min(lane.free());
        let left = MOST_AHEAD.saturating_sub(self.ahead);
        let is_steady = !endpoint.is_probe && !self.known.is_recovering(&endpoint.id);
        if of_all > now && is_steady {
            return now + lane.wanted().saturating_sub(lane.free()).min(left);
        }
        // Nothing is ahead of what could not be sent now, but for a line that would wait for ever while others of its
        // key have all that gets free because theirs is here already: one of its own is here too, for its turn.
        if now == 0 && room.has_share {
            return (2 * MOST_AHEAD).saturating_sub(self.ahead).min(of_endpoint).min(1);
        }
        now
    }

    /// How many more live events may be claimed for an endpoint, of which final ones were claimed just now.
    pub(in crate::deliver) fn live_room(&mut self, endpoint: &DueEndpoint) -> usize {
        if !endpoint.has_live || endpoint.is_probe {
            return 0;
        }
        let room = self.lanes.get(&endpoint.receiver).map_or(0, Lane::live_room);
        self.has_passed_over |= room == 0;
        room
    }

    /// Takes over what was claimed `since` then; what of it is to go back, because its endpoint was given up meanwhile.
    /// Where a claim was filled there is more, so the endpoint gets in line again.
    pub(in crate::deliver) fn claimed(
        &mut self,
        endpoint: DueEndpoint,
        limit: usize,
        since: Instant,
        leases: Vec<Lease<Delivery>>,
    ) -> Vec<Lease<Delivery>> {
        let of_endpoint = self.known.room(&endpoint);
        let Some(lane) = self.lanes.get_mut(&endpoint.receiver) else { return leases };
        if leases.is_empty() || self.known.is_given_up(&endpoint.id) {
            return leases;
        }
        self.known.claimed(&endpoint, leases.len());
        self.is_all_claimed = false;
        let standing = lane.standing(endpoint.is_probe);
        // While the claim was under way others may have been begun.
        let room = self.slots.room(&endpoint.key, standing).now.min(of_endpoint);
        let now = leases.len().min(lane.free()).min(room);
        self.ahead += leases.len() - now;
        lane.ready += leases.len();
        let line = lane.lines.entry(endpoint.key.clone()).or_default();
        line.held += leases.len();
        if !endpoint.is_probe && leases.len() == limit {
            line.due.push_back(endpoint.clone());
            self.claiming.iter_mut().for_each(|rounds| rounds.join(&endpoint.key, &endpoint.receiver));
        }
        for lease in leases {
            let turn = Turn { lease, endpoint: endpoint.clone(), since, slot: None };
            let kind = usize::from(turn.is_live());
            lane.live += kind;
            self.sending[kind].join(&endpoint.key, &endpoint.receiver);
            line.ready[kind].push_back(turn);
        }
        for turn in line.without_slot().take(now) {
            turn.slot = Some(self.slots.take(&endpoint.key, &endpoint.receiver, standing));
        }
        Vec::new()
    }
}

/// What keys may take, reckoned once for all of a key's lines that are looked at after each other.
struct RoomsByKey<'a> {
    slots: &'a Slots,
    last: RefCell<Option<(KeyId, [Room; 4])>>,
}

impl<'a> RoomsByKey<'a> {
    fn new(slots: &'a Slots) -> Self {
        Self { slots, last: RefCell::new(None) }
    }

    /// By standing.
    fn of(&self, key: &KeyId) -> [Room; 4] {
        let mut last = self.last.borrow_mut();
        match &*last {
            Some((of, rooms)) if of == key => *rooms,
            _ => {
                let rooms = Standing::ALL.map(|standing| self.slots.room(key, standing));
                *last = Some((key.clone(), rooms));
                rooms
            }
        }
    }
}
