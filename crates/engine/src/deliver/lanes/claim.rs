//! Claims: for whom deliveries are fetched from the store, and how many.

use std::cell::{LazyCell, RefCell};

use domain::{Delivery, KeyId, Lease, Receiver};
use store::DueEndpoint;
use tokio::time::Instant;

use super::Lanes;
use super::lane::{Lane, MOST_AHEAD};
use super::line::{Kind, Line, Place, Turn};
use super::slots::{Room, Slots, Standing};

/// Whom to claim for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::deliver) enum Whom {
    Answering,
    Anybody,
}

/// A claim to make, and how many deliveries at most.
#[derive(Debug, Clone)]
pub(in crate::deliver) struct Claim {
    pub(in crate::deliver) endpoint: DueEndpoint,
    pub(in crate::deliver) limit: usize,
    /// Its endpoint is one of those that answer.
    pub(in crate::deliver) is_answering: bool,
    /// No answer is expected.
    pub(super) is_silent: bool,
}

/// A claim to make for an endpoint of a line.
struct Wanted {
    /// Where it stands in its line, first those of which an answer is expected.
    place: usize,
    limit: usize,
}

impl Lanes {
    /// The next claim to make; `None` when nobody that is asked for has room for what is due. Endpoints that answer and
    /// those that may not take turns, each in rounds of their own: a claim costs a disk's flush, and there may be many
    /// to make for endpoints that do not answer.
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

    /// Whether there is a claim to make for somebody who is forgotten when the page of what is due is turned.
    pub(in crate::deliver) fn is_page_wanted(&self) -> bool {
        const OTHERS: usize = 1;
        let rooms = RoomsByKey::new(&self.slots);
        let can_claim =
            |key: &KeyId, receiver: &Receiver| self.claim_of(key, receiver, OTHERS, &rooms).is_some();
        !self.is_all_claimed && self.claiming[OTHERS].find(can_claim).is_some()
    }

    fn next_of(&mut self, kind: usize) -> Option<Claim> {
        let mut claiming = std::mem::take(&mut self.claiming[kind]);
        let rooms = RoomsByKey::new(&self.slots);
        let turn = claiming.next(|key, receiver| self.claim_of(key, receiver, kind, &rooms).is_some());
        let claim = turn
            .and_then(|(key, receiver)| Some((self.claim_of(&key, &receiver, kind, &rooms)?, key, receiver)));
        self.claiming[kind] = claiming;
        let (Wanted { place, limit }, key, receiver) = claim?;
        let line = self.lanes.get_mut(&receiver)?.line(&key);
        let is_silent = place >= line.due.len();
        let endpoint = match is_silent {
            true => line.mute.remove(place - line.due.len())?,
            false => line.due.remove(place)?,
        };
        if !line.is_due() {
            self.claiming.iter_mut().for_each(|rounds| rounds.leave(&key, &receiver));
        }
        self.is_turn_of_others = kind == 0;
        Some(Claim { endpoint, limit, is_answering: kind == 0, is_silent })
    }

    /// The first of a line's endpoints, of those of this kind, that something can be claimed for, and how much.
    fn claim_of(
        &self,
        key: &KeyId,
        receiver: &Receiver,
        kind: usize,
        rooms: &RoomsByKey<'_>,
    ) -> Option<Wanted> {
        let is_of_kind = |standing| kind == usize::from(standing > Standing::Known);
        // First, since a key can have very many lines that wait for room.
        let has_room = |standing| self.one_of(rooms.of(key, standing)) > 0;
        if !Standing::ALL.into_iter().any(|standing| is_of_kind(standing) && has_room(standing)) {
            return None;
        }
        let lane = self.lanes.get(receiver)?;
        let line = lane.lines.get(key)?;
        let share = LazyCell::new(|| lane.share_of(line));
        let due = line.due.iter().map(|endpoint| {
            let standing = self.heard.standing(endpoint, lane.answered);
            match is_of_kind(standing) {
                true => self.limit(lane, line, endpoint, standing, rooms.of(key, standing), &share),
                false => 0,
            }
        });
        // Most often none, where many do not answer.
        let of_mute = match is_of_kind(Standing::Mute) && line.held(Kind::Silent) == 0 {
            true => self.one_of(rooms.of(key, Standing::Mute)),
            false => 0,
        };
        let mute = line.mute.iter().take(if of_mute > 0 { usize::MAX } else { 0 });
        let mute = mute.map(|endpoint| of_mute.min(self.known.room(endpoint)));
        let limits = due.chain(mute).enumerate();
        limits.map(|(place, limit)| Wanted { place, limit }).find(|wanted| wanted.limit > 0)
    }

    /// How much may be claimed for an endpoint, to be sent now or ahead.
    fn limit(
        &self,
        lane: &Lane,
        line: &Line,
        endpoint: &DueEndpoint,
        standing: Standing,
        room: Room,
        share: &LazyCell<usize, impl FnOnce() -> usize>,
    ) -> usize {
        if room.now == 0 {
            let has_another = line.held(Kind::End) + line.held(Kind::Live) > 0;
            let one = if has_another { 0 } else { self.out_of_turn(room) };
            return if one > 0 { one.min(self.known.room(endpoint)).min(**share) } else { 0 };
        }
        let of_all = room.now.min(self.known.room(endpoint));
        let now = of_all.min(lane.free());
        let left = MOST_AHEAD.saturating_sub(self.ahead);
        let is_steady =
            standing <= Standing::Known && !endpoint.is_probe && !self.known.is_recovering(&endpoint.id);
        let ahead = match of_all > now && is_steady {
            true => lane.wanted().saturating_sub(lane.free()).min(left),
            false => 0,
        };
        let sure = line.sure().min(of_all);
        if now + ahead > sure { (now + ahead).min(**share).max(sure) } else { sure }
    }

    /// One, if it can be sent now or may wait for its turn.
    fn one_of(&self, room: Room) -> usize {
        if room.now > 0 { 1 } else { self.out_of_turn(room) }
    }

    /// Nothing is ahead of what could not be sent now, but for a line that would wait for ever while others of its key have
    /// all that gets free because theirs is here already: one of its own is here too, for its turn.
    fn out_of_turn(&self, room: Room) -> usize {
        match room.has_share && self.ahead > 0 {
            true => (2 * MOST_AHEAD).saturating_sub(self.ahead).min(1),
            false => 0,
        }
    }

    /// How many more live events may be claimed for an endpoint, of which final ones are claimed just now.
    pub(in crate::deliver) fn live_room(&mut self, endpoint: &DueEndpoint) -> usize {
        if !endpoint.has_live || endpoint.is_probe {
            return 0;
        }
        let room = self.lanes.get(&endpoint.receiver).map_or(0, |lane| lane.live_room(&endpoint.key));
        self.has_passed_over |= room == 0;
        room
    }

    /// Takes over what was claimed `since` then; what of it is to go back, because its endpoint was given up meanwhile.
    /// Where a claim was filled there is more, so the endpoint gets in line again.
    pub(in crate::deliver) fn claimed(
        &mut self,
        claim: Claim,
        since: Instant,
        leases: Vec<Lease<Delivery>>,
    ) -> Vec<Lease<Delivery>> {
        let Claim { endpoint, limit, is_silent, .. } = claim;
        let of_endpoint = self.known.room(&endpoint);
        let Some(lane) = self.lanes.get_mut(&endpoint.receiver) else { return leases };
        if leases.is_empty() || self.known.is_given_up(&endpoint.id) {
            return leases;
        }
        self.known.claimed(&endpoint, leases.len());
        self.is_all_claimed = false;
        let standing = if is_silent { Standing::Mute } else { self.heard.standing(&endpoint, lane.answered) };
        // While the claim was under way others may have been begun.
        let room = self.slots.room(&endpoint.key, standing).now.min(of_endpoint);
        let free = if is_silent { 1 } else { lane.free().max(lane.line(&endpoint.key).sure()) };
        let now = leases.len().min(free).min(room);
        self.ahead += leases.len() - now;
        if !endpoint.is_probe && leases.len() == limit {
            let is_silent = self.heard.is_silent(&endpoint, lane.answered);
            lane.line(&endpoint.key).add(endpoint.clone(), is_silent);
            self.claiming.iter_mut().for_each(|rounds| rounds.join(&endpoint.key, &endpoint.receiver));
        }
        for lease in leases {
            let kind = Kind::of(&lease, is_silent);
            self.sending[kind.round()].join(&endpoint.key, &endpoint.receiver);
            let place = Place { endpoint: endpoint.clone(), kind, slot: None };
            lane.push(Turn { lease, place, since });
        }
        let other = if is_silent { Kind::End } else { Kind::Silent };
        let is_claimed = |turn: &&mut Turn| turn.place.kind != other;
        for turn in lane.line(&endpoint.key).without_slot().filter(is_claimed).take(now) {
            let Place { endpoint, kind, slot } = &mut turn.place;
            *slot = Some(self.slots.take(endpoint, *kind, standing));
        }
        Vec::new()
    }
}

/// What keys may take, reckoned once for all of a key's lines that are looked at after each other.
struct RoomsByKey<'a> {
    slots: &'a Slots,
    /// By standing.
    last: RefCell<Option<(KeyId, [Room; 4])>>,
}

impl<'a> RoomsByKey<'a> {
    fn new(slots: &'a Slots) -> Self {
        Self { slots, last: RefCell::new(None) }
    }

    fn of(&self, key: &KeyId, standing: Standing) -> Room {
        let mut last = self.last.borrow_mut();
        let rooms = match &*last {
            Some((of, rooms)) if of == key => *rooms,
            _ => {
                let rooms = Standing::ALL.map(|standing| self.slots.room(key, standing));
                *last = Some((key.clone(), rooms));
                rooms
            }
        };
        rooms[standing as usize]
    }
}
