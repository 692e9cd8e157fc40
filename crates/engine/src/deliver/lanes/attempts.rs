//! Attempts: which is made next, and what is learned from it.

use domain::{KeyId, Receiver, SendError, SendOutcome};
use tokio::time::Instant;

use super::Lanes;
use super::line::{Kind, Place, Turn};

impl Lanes {
    /// The next attempt to make now.
    pub(in crate::deliver) fn next_turn(&mut self) -> Option<Turn> {
        self.grow_old();
        (0..self.sending.len()).find_map(|round| {
            let mut sending = std::mem::take(&mut self.sending[round]);
            let turn = sending.next(|key, receiver| self.kind_of_turn(key, receiver, round).is_some());
            self.sending[round] = sending;
            let (key, receiver) = turn?;
            self.begin(&key, &receiver, self.kind_of_turn(&key, &receiver, round)?)
        })
    }

    /// Of which kind a line has something that can be sent: the first that is ready, for which its receiver has a place, and
    /// which has a slot or can have one. Those that have one come first.
    fn kind_of_turn(&self, key: &KeyId, receiver: &Receiver, round: usize) -> Option<Kind> {
        let lane = self.lanes.get(receiver)?;
        let line = lane.lines.get(key)?;
        let has_turn = |kind: &Kind| {
            line.first(*kind).is_some_and(|(Turn { place, .. }, has_another)| {
                let standing = || self.heard.standing(&place.endpoint, lane.answered);
                lane.has_place(*kind, has_another)
                    && (place.slot.is_some() || self.slots.room(key, standing()).now > 0)
            })
        };
        Kind::IN_ROUNDS[round].iter().copied().find(has_turn)
    }

    fn begin(&mut self, key: &KeyId, receiver: &Receiver, kind: Kind) -> Option<Turn> {
        let lane = self.lanes.get_mut(receiver)?;
        let mut turn = lane.begin(key, kind)?;
        if !lane.line(key).is_ready(kind.round()) {
            self.sending[kind.round()].leave(key, receiver);
        }
        if turn.place.slot.is_none() {
            // More may be fetched ahead.
            self.is_all_claimed = false;
            self.ahead -= 1;
            let standing = self.heard.standing(&turn.place.endpoint, lane.answered);
            turn.place.slot = Some(self.slots.take(&turn.place.endpoint, kind, standing));
        }
        Some(turn)
    }

    /// Whether live events that were due have been passed over since the last refresh, for want of room.
    pub(in crate::deliver) fn has_passed_over(&self) -> bool {
        self.has_passed_over
    }

    /// Learns from an attempt that ended; whether its endpoint is to be given up, which nobody is for a live event.
    pub(in crate::deliver) fn ended(&mut self, place: &Place, outcome: &SendOutcome, began: Instant) -> bool {
        self.is_all_claimed = false;
        place.slot.into_iter().for_each(|slot| self.slots.give_back(slot));
        self.known.let_go(&place.endpoint);
        if let Some(lane) = self.lanes.get_mut(&place.endpoint.receiver) {
            lane.end(place);
        }
        let is_live = place.kind == Kind::Live;
        if outcome.error != Some(SendError::Interrupted) {
            self.learn(place, outcome, began);
        }
        !is_live && self.known.learn(&place.endpoint, outcome)
    }

    fn learn(&mut self, place: &Place, outcome: &SendOutcome, began: Instant) {
        let endpoint = &place.endpoint;
        let Some(lane) = self.lanes.get_mut(&endpoint.receiver) else { return };
        lane.learn(place.kind, outcome, began);
        self.heard.learn(&endpoint.id, outcome, place.kind == Kind::Live);
        if self.heard.is_silent(endpoint, lane.answered) {
            lane.line(&endpoint.key).put_aside(&endpoint.id);
            self.stranded.push((endpoint.key.clone(), endpoint.receiver.clone()));
        }
    }

    /// Attempts at ends that have been under way for long say that their endpoints do not answer.
    pub(super) fn grow_old(&mut self) {
        for (endpoint, kind, since) in self.slots.grow_old() {
            if let Some(lane) = self.lanes.get_mut(&endpoint.receiver)
                && kind == Kind::End
                && lane.is_waited_for(since)
            {
                self.heard.is_waited_for(&endpoint.id);
                self.stranded.push((endpoint.key, endpoint.receiver));
            }
        }
    }
}
