//! What this node knows of single endpoints before the store says it: hints, which hold for moments. What holds for
//! good is what is recorded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::{EndpointId, SendError, SendOutcome, Timestamp};
use store::DueEndpoint;
use tokio::time::Instant;

/// For so long a look or a claim may still tell of an endpoint as it was before it was given up.
const OUTDATED: Duration = Duration::from_secs(1);
/// How long after its last attempt it is remembered how far an endpoint has recovered.
pub(in crate::deliver) const REMEMBERED: Duration = Duration::from_secs(600);
/// Failures further apart than this are left to the store to count: nothing is claimed for so long ahead.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// An endpoint that was away and is back. It gets one attempt at once, and one more with each success, so that what has
/// piled up does not fall on it all together. With as many as any receiver gets at once it has recovered.
#[derive(Debug)]
struct Recovery {
    /// When it came back, as the store says; `None` while only this node knows.
    since: Option<Timestamp>,
    /// `None` once it has recovered.
    allowed: Option<usize>,
    /// Claimed or under way.
    at_once: usize,
    last_ended: Instant,
}

/// Endpoints of which something is known.
#[derive(Debug)]
pub(super) struct Known {
    /// After so many failures in a row one is given up.
    open_after: u32,
    /// The most attempts at once to one receiver.
    most: usize,
    /// Their one probe is claimed or under way.
    probing: HashSet<EndpointId>,
    recovering: HashMap<EndpointId, Recovery>,
    /// Failures in a row, and when the last was.
    failing: HashMap<EndpointId, (u32, Instant)>,
    /// Found dead, or in want of a rest, since then: nothing is claimed for them before the store says so too.
    given_up: HashMap<EndpointId, Instant>,
}

impl Known {
    pub(super) fn new(open_after: u32, most: usize) -> Self {
        Self {
            open_after,
            most,
            probing: HashSet::new(),
            recovering: HashMap::new(),
            failing: HashMap::new(),
            given_up: HashMap::new(),
        }
    }

    /// Forgets what a look at all that is due has made out of date.
    pub(super) fn refresh(&mut self, due: &[DueEndpoint]) {
        let is_remembered = |of: &Recovery| of.at_once > 0 || of.last_ended.elapsed() < REMEMBERED;
        self.recovering.retain(|_, recovery| is_remembered(recovery));
        self.failing.retain(|_, (_, last)| last.elapsed() < FORGOTTEN);
        if self.given_up.is_empty() {
            return;
        }
        let probes: HashSet<&EndpointId> = due.iter().filter(|one| one.is_probe).map(|one| &one.id).collect();
        // Due for a probe: the store knows. Otherwise perhaps it does not yet, or a claim from before is still to come.
        self.given_up.retain(|id, since| !probes.contains(id) && since.elapsed() < OUTDATED);
    }

    /// How many more may be claimed for it, by what is known of it.
    pub(super) fn room(&self, endpoint: &DueEndpoint) -> usize {
        if self.is_given_up(&endpoint.id) {
            return 0;
        }
        if endpoint.is_probe {
            return usize::from(!self.probing.contains(&endpoint.id));
        }
        let recovery = self.recovering.get(&endpoint.id);
        let left = recovery.and_then(|of| Some(of.allowed?.saturating_sub(of.at_once)));
        left.unwrap_or(usize::MAX)
    }

    pub(super) fn is_given_up(&self, id: &EndpointId) -> bool {
        self.given_up.contains_key(id)
    }

    pub(super) fn is_recovering(&self, id: &EndpointId) -> bool {
        self.recovering.get(id).is_some_and(|recovery| recovery.allowed.is_some())
    }

    /// So many were claimed for it.
    pub(super) fn claimed(&mut self, endpoint: &DueEndpoint, count: usize) {
        if endpoint.is_probe {
            self.probing.insert(endpoint.id.clone());
        } else if let Some(recovery) = self.recovering.get_mut(&endpoint.id) {
            recovery.at_once += count;
        }
    }

    /// One that was claimed is over, or is not sent.
    pub(super) fn let_go(&mut self, endpoint: &DueEndpoint) {
        if endpoint.is_probe {
            self.probing.remove(&endpoint.id);
        } else if let Some(recovery) = self.recovering.get_mut(&endpoint.id) {
            recovery.at_once = recovery.at_once.saturating_sub(1);
            recovery.last_ended = Instant::now();
        }
    }

    /// Learns from an attempt; whether it is to be given up.
    pub(super) fn learn(&mut self, endpoint: &DueEndpoint, outcome: &SendOutcome) -> bool {
        if outcome.is_delivered() {
            self.failing.remove(&endpoint.id);
            self.recover(endpoint);
            return false;
        }
        // None was made.
        if outcome.error == Some(SendError::Interrupted) {
            return false;
        }
        self.recover_anew(&endpoint.id);
        let now = Instant::now();
        let (failures, last) = self.failing.entry(endpoint.id.clone()).or_insert((0, now));
        *failures += 1;
        *last = now;
        endpoint.is_probe || *failures >= self.open_after
    }

    /// Heeds what the store says of an endpoint that came back lately, whichever node found it so, or was enabled.
    pub(super) fn heed(&mut self, endpoint: &DueEndpoint) {
        let Some(since) = endpoint.recovered_at.filter(|_| !endpoint.is_probe) else { return };
        match self.recovering.get_mut(&endpoint.id).map(|recovery| &mut recovery.since) {
            // This node found it so, and has known it before the store.
            Some(known @ None) => *known = Some(since),
            Some(known) if *known == Some(since) => {}
            _ => self.begin_recovery(&endpoint.id, Some(since)),
        }
    }

    fn begin_recovery(&mut self, id: &EndpointId, since: Option<Timestamp>) {
        let at_once = self.recovering.get(id).map_or(0, |recovery| recovery.at_once);
        let recovery = Recovery { since, allowed: Some(1), at_once, last_ended: Instant::now() };
        self.recovering.insert(id.clone(), recovery);
    }

    fn recover(&mut self, endpoint: &DueEndpoint) {
        if endpoint.is_probe {
            self.begin_recovery(&endpoint.id, None);
        } else if let Some(Recovery { allowed: of_it @ Some(_), .. }) = self.recovering.get_mut(&endpoint.id)
        {
            *of_it = of_it.map(|allowed| allowed + 1).filter(|allowed| *allowed <= self.most);
        }
    }

    /// An endpoint that has not recovered yet begins anew.
    fn recover_anew(&mut self, id: &EndpointId) {
        if let Some(recovery) = self.recovering.get_mut(id) {
            recovery.allowed = recovery.allowed.map(|_| 1);
        }
    }

    pub(super) fn give_up(&mut self, id: &EndpointId) {
        self.failing.remove(id);
        // After the rest that it asked for.
        self.recover_anew(id);
        self.given_up.insert(id.clone(), Instant::now());
    }
}
