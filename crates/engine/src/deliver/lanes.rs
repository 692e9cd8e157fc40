//! Whose turn it is: receivers side by side, each within its own window, all under the caps of the node and of each
//! key. A receiver that does not answer fills its own window and nobody else's.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use domain::{Delivery, EndpointId, KeyId, Lease, Receiver, SendOutcome};
use store::DueEndpoint;
use tokio::time::Instant;

use super::window::{Bounds, Window};

/// Work is fetched ahead for about so long, so that a quick receiver does not wait for the database between two
/// attempts. A slow one gets nothing ahead: what is leased and not sent would only be late.
const AHEAD: Duration = Duration::from_millis(50);
/// The most that is fetched ahead for one receiver, however quick it is.
const MOST_AHEAD: usize = 256;
/// How much one attempt moves the notion of how quick a receiver is.
const SMOOTHING: f64 = 0.1;

/// Caps on attempts at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// On this node.
    pub(super) total: usize,
    /// For one API key.
    pub(super) per_key: usize,
    /// For one receiver.
    pub(super) window: Bounds,
}

/// An attempt to make: the lease, its endpoint as it stood, and since when it waits here.
pub(super) struct Turn {
    pub(super) lease: Lease<Delivery>,
    pub(super) endpoint: DueEndpoint,
    pub(super) since: Instant,
}

/// One receiver.
struct Lane {
    window: Window,
    in_flight: usize,
    /// Live events among what is ready or in flight.
    live: usize,
    /// Seconds that an attempt takes, smoothed; `None` before the first one ended.
    usual_secs: Option<f64>,
    /// Endpoints with something due, in turn.
    due: VecDeque<DueEndpoint>,
    /// Those of them that had their turn and have more: the next round.
    served: VecDeque<DueEndpoint>,
    /// Claimed, and not under way yet.
    ready: VecDeque<Turn>,
}

impl Lane {
    fn new(bounds: Bounds) -> Self {
        Self {
            window: Window::new(bounds),
            in_flight: 0,
            live: 0,
            usual_secs: None,
            due: VecDeque::new(),
            served: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    fn has_due(&self) -> bool {
        !self.due.is_empty() || !self.served.is_empty()
    }

    fn next_due(&mut self) -> Option<DueEndpoint> {
        if self.due.is_empty() {
            std::mem::swap(&mut self.due, &mut self.served);
        }
        self.due.pop_front()
    }

    /// How many more should be claimed: what the window has free, and some ahead where it is quick. What is ahead is
    /// fetched when half of it is used up, for a claim of many costs hardly more than a claim of one.
    fn wanted(&self) -> usize {
        let window = self.window.size();
        let ahead = self.ahead(window);
        if ahead > 0 && self.ready.len() > ahead / 2 {
            return 0;
        }
        (window + ahead).saturating_sub(self.in_flight + self.ready.len())
    }

    /// How many more live events may be claimed: they get half of the window, so that there is room for the end of
    /// another job while a receiver is slow with them.
    fn live_room(&self) -> usize {
        (self.window.size() / 2).max(1).saturating_sub(self.live)
    }

    /// What is sent next: live events only when nothing else is ready.
    fn next_ready(&mut self) -> Option<Turn> {
        let is_final = |turn: &Turn| !turn.lease.item.event.kind.is_live();
        let next = self.ready.iter().position(is_final).unwrap_or(0);
        self.ready.remove(next)
    }

    /// How many the receiver can take in the time that is fetched ahead for; none if one takes longer than that.
    fn ahead(&self, window: usize) -> usize {
        match self.usual_secs {
            Some(secs) if secs < AHEAD.as_secs_f64() => {
                let ahead = window as f64 * AHEAD.as_secs_f64() / secs.max(1e-6);
                // Not negative, and bounded; the cast saturates.
                (ahead as usize).min(MOST_AHEAD)
            }
            _ => 0,
        }
    }
}

/// All of them.
pub(super) struct Lanes {
    caps: Caps,
    lanes: BTreeMap<Receiver, Lane>,
    /// Whose turn comes next: the first lane after this one.
    last: Option<Receiver>,
    in_flight: usize,
    per_key: HashMap<KeyId, usize>,
    /// Endpoints whose one probe is claimed or under way.
    probing: HashSet<EndpointId>,
    /// Endpoints that were away and are back: how many they get at a time. One more for each success, so that what
    /// has piled up does not fall on them all at once.
    recovering: HashMap<EndpointId, usize>,
    /// Whether something due was passed over because of a cap.
    has_passed_over: bool,
}

impl Lanes {
    pub(super) fn new(caps: Caps) -> Self {
        Self {
            caps,
            lanes: BTreeMap::new(),
            last: None,
            in_flight: 0,
            per_key: HashMap::new(),
            probing: HashSet::new(),
            recovering: HashMap::new(),
            has_passed_over: false,
        }
    }

    /// Takes over what is due by now; what was known before is forgotten, for it is in there.
    pub(super) fn refresh(&mut self, due: Vec<DueEndpoint>) {
        self.has_passed_over = false;
        for lane in self.lanes.values_mut() {
            lane.due.clear();
            lane.served.clear();
        }
        for endpoint in due {
            let lane =
                self.lanes.entry(endpoint.receiver.clone()).or_insert_with(|| Lane::new(self.caps.window));
            lane.due.push_back(endpoint);
        }
        // A receiver that nothing is due for and nothing is known of is not kept.
        self.lanes.retain(|_, lane| {
            lane.in_flight > 0 || lane.has_due() || !lane.ready.is_empty() || lane.usual_secs.is_some()
        });
    }

    /// Whether something that was due has been passed over since the last refresh, for want of room.
    pub(super) fn has_passed_over(&self) -> bool {
        self.has_passed_over
    }

    /// The next claim to make, and how many at most; `None` when every lane has what it wants.
    pub(super) fn next_claim(&mut self) -> Option<(DueEndpoint, usize)> {
        loop {
            let claimed: usize = self.lanes.values().map(|lane| lane.ready.len()).sum();
            let room = self.caps.total.saturating_sub(self.in_flight + claimed);
            let receiver = self.next_receiver(|lane| lane.has_due() && lane.wanted() > 0)?;
            let lane = self.lanes.get_mut(&receiver)?;
            let wanted = lane.wanted();
            let endpoint = lane.next_due()?;
            // Endpoints of one receiver share what it wants evenly, so that none waits for all of another's.
            let share = wanted.div_ceil(lane.due.len() + 1);
            let limit = share.min(room).min(self.room_of(&endpoint));
            if limit > 0 {
                return Some((endpoint, limit));
            }
            self.has_passed_over = true;
        }
    }

    /// What the caps leave for an endpoint.
    fn room_of(&self, endpoint: &DueEndpoint) -> usize {
        if endpoint.is_probe {
            return usize::from(!self.probing.contains(&endpoint.id));
        }
        let of_key = self.per_key.get(&endpoint.key).copied().unwrap_or(0);
        let recovering = self.recovering.get(&endpoint.id).copied().unwrap_or(usize::MAX);
        self.caps.per_key.saturating_sub(of_key).min(recovering)
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

    /// Takes over what was claimed. Where a claim was filled there is more, so the endpoint gets in line again.
    pub(super) fn claimed(&mut self, endpoint: DueEndpoint, limit: usize, leases: Vec<Lease<Delivery>>) {
        let Some(lane) = self.lanes.get_mut(&endpoint.receiver) else { return };
        if leases.is_empty() {
            return;
        }
        if endpoint.is_probe {
            self.probing.insert(endpoint.id.clone());
        } else if leases.len() == limit {
            lane.served.push_back(endpoint.clone());
        }
        *self.per_key.entry(endpoint.key.clone()).or_default() += leases.len();
        let since = Instant::now();
        lane.live += leases.iter().filter(|lease| lease.item.event.kind.is_live()).count();
        lane.ready.extend(leases.into_iter().map(|lease| Turn { lease, endpoint: endpoint.clone(), since }));
    }

    /// The next attempt to make now.
    pub(super) fn next_turn(&mut self) -> Option<Turn> {
        if self.in_flight >= self.caps.total {
            return None;
        }
        let receiver =
            self.next_receiver(|lane| !lane.ready.is_empty() && lane.in_flight < lane.window.size())?;
        let lane = self.lanes.get_mut(&receiver)?;
        let turn = lane.next_ready()?;
        lane.in_flight += 1;
        self.in_flight += 1;
        Some(turn)
    }

    /// Learns from an attempt at a live event that ended: not much, for it had less time than others.
    pub(super) fn live_ended(&mut self, endpoint: &DueEndpoint, outcome: &SendOutcome, began: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.leave(endpoint);
        if let Some(lane) = self.lanes.get_mut(&endpoint.receiver) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.live = lane.live.saturating_sub(1);
            if outcome.status.is_some() {
                lane.window.learn(outcome, began);
            }
        }
    }

    /// Learns from an attempt that ended.
    pub(super) fn ended(&mut self, endpoint: &DueEndpoint, outcome: &SendOutcome, began: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.leave(endpoint);
        self.recover(endpoint, outcome.is_delivered());
        if let Some(lane) = self.lanes.get_mut(&endpoint.receiver) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            lane.window.learn(outcome, began);
            let secs = outcome.took.as_secs_f64();
            lane.usual_secs = Some(lane.usual_secs.map_or(secs, |usual| usual + SMOOTHING * (secs - usual)));
        }
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
            taken.extend(out);
        }
        taken.iter().for_each(|turn| self.leave(&turn.endpoint));
        taken.into_iter().map(|turn| turn.lease).collect()
    }

    fn recover(&mut self, endpoint: &DueEndpoint, is_delivered: bool) {
        if !is_delivered {
            self.recovering.remove(&endpoint.id);
        } else if endpoint.is_probe {
            self.recovering.insert(endpoint.id.clone(), 1);
        } else if let Some(at_a_time) = self.recovering.get_mut(&endpoint.id) {
            *at_a_time += 1;
            if *at_a_time > self.caps.window.most {
                self.recovering.remove(&endpoint.id);
            }
        }
    }

    fn leave(&mut self, endpoint: &DueEndpoint) {
        if let Some(count) = self.per_key.get_mut(&endpoint.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_key.remove(&endpoint.key);
            }
        }
        if endpoint.is_probe {
            self.probing.remove(&endpoint.id);
        }
    }

    /// The first lane after the last one served that satisfies the condition, round and round.
    fn next_receiver(&mut self, is_wanted: impl Fn(&Lane) -> bool) -> Option<Receiver> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.last.clone().map_or(Unbounded, Excluded);
        let mut in_turn = self.lanes.range((after, Unbounded)).chain(self.lanes.iter());
        let receiver = in_turn.find(|(_, lane)| is_wanted(lane)).map(|(receiver, _)| receiver.clone())?;
        self.last = Some(receiver.clone());
        Some(receiver)
    }
}

#[cfg(test)]
mod tests;
