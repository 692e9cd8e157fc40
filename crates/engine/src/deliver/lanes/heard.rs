//! Which endpoints hold a slot for long. That one does not answer is its own: at a shared host the next customer's hook
//! may be quick, and so may another one of the same key.

use std::collections::HashMap;
use std::time::Duration;

use domain::{EndpointId, SendOutcome};
use store::DueEndpoint;
use tokio::time::Instant;

use super::slots::{PROMPT, Standing};

/// How long after it was last heard of it is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How long an endpoint holds a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    /// The last one until it answered, which was late.
    Late,
    /// It has been asked, and has not answered yet.
    Waiting,
    /// The last one for all the time that it had.
    Silent,
}

/// Those that are slow. Of all others, how their receivers answer says what is known.
#[derive(Debug, Default)]
pub(super) struct Heard {
    slow: HashMap<EndpointId, (Slow, Instant)>,
}

impl Heard {
    /// Forgets what is old.
    pub(super) fn refresh(&mut self) {
        self.slow.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
    }

    /// How an endpoint stands whose receiver has `answered` somebody promptly at that time. A probe goes to where nothing
    /// has been answered for some time, unless this node knows better.
    pub(super) fn standing(&self, endpoint: &DueEndpoint, answered: Option<Instant>) -> Standing {
        match (self.slow(endpoint), answered) {
            (Some(Slow::Late), _) => Standing::Unsure,
            (Some(Slow::Waiting | Slow::Silent), _) => Standing::Mute,
            (None, Some(at)) if at.elapsed() <= PROMPT => Standing::Answering,
            (None, Some(_)) => Standing::Known,
            (None, None) if endpoint.is_probe => Standing::Mute,
            (None, None) => Standing::Unsure,
        }
    }

    /// Whether it is to be expected that it does not answer.
    pub(super) fn is_silent(&self, endpoint: &DueEndpoint, answered: Option<Instant>) -> bool {
        match self.slow(endpoint) {
            Some(slow) => slow == Slow::Silent,
            None => endpoint.is_probe && answered.is_none(),
        }
    }

    /// Learns from an attempt that was made. A live event has less time, so that no answer to one says little.
    pub(super) fn learn(&mut self, id: &EndpointId, outcome: &SendOutcome, is_live: bool) {
        let slow = match outcome.status {
            _ if outcome.took <= PROMPT => {
                self.slow.remove(id);
                return;
            }
            Some(_) => Slow::Late,
            None if is_live => return,
            None => Slow::Silent,
        };
        self.slow.insert(id.clone(), (slow, Instant::now()));
    }

    /// An attempt has had no answer for long, which is new of those alone that were not slow.
    pub(super) fn is_waited_for(&mut self, id: &EndpointId) {
        self.slow.entry(id.clone()).or_insert_with(|| (Slow::Waiting, Instant::now()));
    }

    fn slow(&self, endpoint: &DueEndpoint) -> Option<Slow> {
        self.slow.get(&endpoint.id).map(|(slow, _)| *slow)
    }
}
