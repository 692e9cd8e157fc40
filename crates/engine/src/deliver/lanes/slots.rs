//! Who may take a slot, which is one attempt at once on this node.
//!
//! What a slot costs the others is how long it is held. An endpoint that does not answer holds it until the attempt times
//! out, one that answers gives it back at once. So endpoints stand in an order ([`Standing`]), and those that stand worse
//! share less: all slots are for those that answer just now, three quarters for all others that answered promptly the
//! last time, half for those of which that is not known, and a quarter for those that did not answer. An attempt that is
//! under way for long counts as one that is not answered, before it has timed out.
//!
//! Of each of these shares
//!
//! 1. a key has no more than its cap's, so that its receivers that do not answer leave most of its slots to those that
//!    do, and
//! 2. a key has no more than it leaves free: one alone half, two a third each, and so on (the dynamic thresholds of
//!    Choudhury and Hahne, 1998), so that whatever a key's receivers hold, another key finds some.
//!
//! A slot that got free goes to who is next in the rounds ([`super::rounds`]) of those that may take it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use domain::KeyId;
use store::DueEndpoint;
use tokio::time::Instant;

use super::line::Kind;

/// An answer within so long is prompt. Most take less than a tenth of it; a dead receiver takes many times as long.
pub(super) const PROMPT: Duration = Duration::from_secs(2);

/// What is expected of an endpoint: the first gives a slot back soonest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Its receiver has answered promptly a moment ago.
    Answering,
    /// Its receiver answered promptly the last time.
    Known,
    /// It has not been asked, or it answers late.
    Unsure,
    /// It did not answer in time, or has been asked and does not.
    Mute,
}

impl Standing {
    pub(super) const ALL: [Self; 4] = [Self::Answering, Self::Known, Self::Unsure, Self::Mute];

    /// How much is for those that stand like this or worse; never nothing.
    fn share_of(self, of: usize) -> usize {
        let quarters = Self::ALL.len() - self as usize;
        of.saturating_mul(quarters).div_ceil(Self::ALL.len())
    }
}

/// What may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// How many slots more.
    pub(super) now: usize,
    /// Whether the share of those that stand so leaves room. If there is none nevertheless, only slots are in the way
    /// that are given back soon.
    pub(super) has_share: bool,
}

/// A slot that was taken.
#[derive(Debug, PartialEq, Eq, Hash, Clone, Copy)]
pub(in crate::deliver) struct SlotId(u64);

struct Slot {
    endpoint: DueEndpoint,
    kind: Kind,
    /// As when it was taken, or mute since.
    standing: Standing,
    since: Instant,
}

/// Slots that are held, by standing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Held([usize; 4]);

impl Held {
    /// By those that stand like this or worse.
    fn down_from(self, standing: Standing) -> usize {
        self.0.iter().skip(standing as usize).sum()
    }

    fn count(&mut self, standing: Standing, by: isize) {
        let count = &mut self.0[standing as usize];
        *count = count.saturating_add_signed(by);
    }
}

/// All slots of this node.
pub(super) struct Slots {
    total: usize,
    per_key: usize,
    taken: HashMap<SlotId, Slot>,
    /// How many slots each key holds, by standing, and how many all hold.
    held: HashMap<KeyId, Held>,
    held_by_all: Held,
    /// In the order in which they were taken: those that are not old yet, and some that were given back.
    young: VecDeque<SlotId>,
    last: u64,
}

impl Slots {
    pub(super) fn new(total: usize, per_key: usize) -> Self {
        let (taken, held, young) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self { total, per_key, taken, held, held_by_all: Held::default(), young, last: 0 }
    }

    /// What a key may take for an endpoint of this standing.
    pub(super) fn room(&self, key: &KeyId, standing: Standing) -> Room {
        let held = self.held.get(key).copied().unwrap_or_default();
        let left = |share: Standing| {
            let (of_key, of_all) = (held.down_from(share), self.held_by_all.down_from(share));
            let free = share.share_of(self.total).saturating_sub(of_all);
            // So many more, that what it holds is no more than what is free then.
            let fair = free.saturating_sub(of_key).div_ceil(2);
            share.share_of(self.per_key).saturating_sub(of_key).min(fair)
        };
        let shares = Standing::ALL.into_iter().filter(|share| *share <= standing);
        let of_share = shares.skip(1).map(left).min().unwrap_or(usize::MAX);
        Room { now: left(Standing::Answering).min(of_share), has_share: of_share > 0 }
    }

    pub(super) fn take(&mut self, endpoint: &DueEndpoint, kind: Kind, standing: Standing) -> SlotId {
        self.last += 1;
        let id = SlotId(self.last);
        let slot = Slot { endpoint: endpoint.clone(), kind, standing, since: Instant::now() };
        self.count(&endpoint.key, standing, 1);
        self.taken.insert(id, slot);
        self.young.push_back(id);
        id
    }

    pub(super) fn give_back(&mut self, id: SlotId) {
        if let Some(slot) = self.taken.remove(&id) {
            self.count(&slot.endpoint.key, slot.standing, -1);
        }
    }

    /// Counts slots that are held for long as held by who does not answer; by whom, what for, and since when.
    pub(super) fn grow_old(&mut self) -> Vec<(DueEndpoint, Kind, Instant)> {
        let mut old = Vec::new();
        while let Some(id) = self.young.front() {
            match self.taken.get_mut(id) {
                Some(slot) if slot.since.elapsed() <= PROMPT => break,
                Some(slot) => {
                    let before = std::mem::replace(&mut slot.standing, Standing::Mute);
                    let (endpoint, kind, since) = (slot.endpoint.clone(), slot.kind, slot.since);
                    self.count(&endpoint.key, before, -1);
                    self.count(&endpoint.key, Standing::Mute, 1);
                    old.push((endpoint, kind, since));
                }
                None => {}
            }
            self.young.pop_front();
        }
        old
    }

    fn count(&mut self, key: &KeyId, standing: Standing, by: isize) {
        self.held_by_all.count(standing, by);
        let held = self.held.entry(key.clone()).or_default();
        held.count(standing, by);
        if *held == Held::default() {
            self.held.remove(key);
        }
    }
}
