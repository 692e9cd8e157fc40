//! What one key has at a receiver: what is due, what is ready, and what is under way.

use std::collections::VecDeque;

use domain::{Delivery, EndpointId, Lease};
use store::DueEndpoint;
use tokio::time::Instant;

use super::slots::SlotId;

/// Kinds of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// At the end of a job.
    End,
    /// The same, where no answer is expected: one after the other of each line, and beside the window, which is for those
    /// that answer.
    Silent,
    /// At a live event.
    Live,
}

impl Kind {
    /// Those that go in turns, all before the next: live events only when no end can be sent. Of a line those come first of
    /// which it has one at a time, for they keep no other from its turn.
    pub(super) const IN_ROUNDS: [&'static [Self]; 2] = [&[Self::Silent, Self::End], &[Self::Live]];

    /// In which of them.
    pub(super) fn round(self) -> usize {
        usize::from(self == Self::Live)
    }

    /// Of which kind an attempt is that was claimed.
    pub(super) fn of(lease: &Lease<Delivery>, is_silent: bool) -> Self {
        match (lease.item.event.kind.is_live(), is_silent) {
            (true, _) => Self::Live,
            (false, true) => Self::Silent,
            (false, false) => Self::End,
        }
    }

    /// Whether it takes one of its receiver's window.
    pub(super) fn is_in_window(self) -> bool {
        self != Self::Silent
    }
}

/// What an attempt takes up, from when it is claimed until it is over.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::deliver) struct Place {
    /// As it stood.
    pub(in crate::deliver) endpoint: DueEndpoint,
    pub(super) kind: Kind,
    /// None where it was fetched ahead: it takes one when it is begun.
    pub(super) slot: Option<SlotId>,
}

/// An attempt to make: the lease, and when it was claimed at the earliest.
pub(in crate::deliver) struct Turn {
    pub(in crate::deliver) lease: Lease<Delivery>,
    pub(in crate::deliver) place: Place,
    pub(in crate::deliver) since: Instant,
}

/// What one key has at a receiver.
#[derive(Default)]
pub(super) struct Line {
    /// Endpoints with something due, in turn.
    pub(super) due: VecDeque<DueEndpoint>,
    /// Those of which no answer is expected.
    pub(super) mute: VecDeque<DueEndpoint>,
    /// Claimed, and not under way yet.
    pub(super) ready: [VecDeque<Turn>; 3],
    /// Under way.
    pub(super) in_flight: [usize; 3],
}

impl Line {
    /// Takes over that something is due for an endpoint. One that is in line keeps its place.
    pub(super) fn add(&mut self, endpoint: DueEndpoint, is_silent: bool) {
        let (into, other) = match is_silent {
            true => (&mut self.mute, &mut self.due),
            false => (&mut self.due, &mut self.mute),
        };
        other.retain(|known| known.id != endpoint.id);
        match into.iter_mut().find(|known| known.id == endpoint.id) {
            Some(known) => *known = endpoint,
            None => into.push_back(endpoint),
        }
    }

    /// An endpoint has fallen silent.
    pub(super) fn put_aside(&mut self, id: &EndpointId) {
        if let Some(place) = self.due.iter().position(|one| one.id == *id) {
            self.mute.extend(self.due.remove(place));
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty() || !self.mute.is_empty()
    }

    /// How many of a kind are claimed, under way or not.
    pub(super) fn held(&self, kind: Kind) -> usize {
        self.ready[kind as usize].len() + self.in_flight[kind as usize]
    }

    /// How many ends may be claimed however full the window is: one, if the line has none.
    pub(super) fn sure(&self) -> usize {
        usize::from(self.held(Kind::End) == 0)
    }

    /// The first of what is ready of a kind, and whether another of that kind is under way.
    pub(super) fn first(&self, kind: Kind) -> Option<(&Turn, bool)> {
        Some((self.ready[kind as usize].front()?, self.in_flight[kind as usize] > 0))
    }

    /// What is ready and has no slot: behind what has one, so that the first in line is the first to be sent.
    pub(super) fn without_slot(&mut self) -> impl Iterator<Item = &mut Turn> {
        self.ready.iter_mut().flat_map(|ready| {
            let first = ready.partition_point(|turn| turn.place.slot.is_some());
            ready.range_mut(first..)
        })
    }

    /// Whether something is ready that goes in this round.
    pub(super) fn is_ready(&self, round: usize) -> bool {
        Kind::IN_ROUNDS[round].iter().any(|kind| !self.ready[*kind as usize].is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        let mut kinds = Kind::IN_ROUNDS.into_iter().flatten();
        !self.is_due() && kinds.all(|kind| self.held(*kind) == 0)
    }
}
