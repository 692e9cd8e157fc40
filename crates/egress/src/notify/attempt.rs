//! What is known of an attempt at any moment of it, so that one that is cut off still says how far it came.

use std::time::Duration;

use domain::{Phases, RequestHead, SendError, SendOutcome};
use http::HeaderMap;
use tokio::time::Instant;

use crate::dial;
use crate::transport::Written;

/// Room for the head of a webhook without anything unusual, so that it is made in one piece.
const USUAL_HEAD_BYTES: usize = 512;

/// What an attempt is doing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Dns,
    Connect,
    Tls,
    Answer,
    Body,
}

impl From<dial::Phase> for Phase {
    fn from(phase: dial::Phase) -> Self {
        match phase {
            dial::Phase::Resolve => Self::Dns,
            dial::Phase::Connect => Self::Connect,
            dial::Phase::Tls => Self::Tls,
        }
    }
}

/// One attempt under way.
pub(super) struct Attempt {
    started: Instant,
    now_in: Option<(Phase, Instant)>,
    phases: Phases,
    /// The connection that carries the request, and what it had carried before.
    sent_on: Option<(Written, u64)>,
    pub(super) request: RequestHead,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<Duration>,
    pub(super) answer: Vec<u8>,
}

impl Attempt {
    pub(super) fn begin() -> Self {
        Self {
            started: Instant::now(),
            now_in: None,
            phases: Phases::default(),
            sent_on: None,
            request: RequestHead::default(),
            status: None,
            retry_after: None,
            answer: Vec::new(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Ends the phase before, if there is one, and begins this one.
    pub(super) fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        self.leave(now);
        self.now_in = Some((phase, now));
    }

    fn leave(&mut self, now: Instant) {
        let Some((phase, since)) = self.now_in.take() else { return };
        let took = match phase {
            Phase::Dns => &mut self.phases.dns,
            Phase::Connect => &mut self.phases.connect,
            Phase::Tls => &mut self.phases.tls,
            Phase::Answer => &mut self.phases.answer,
            Phase::Body => &mut self.phases.body,
        };
        *took = Some(now - since);
    }

    /// The request is about to be handed to this connection.
    pub(super) fn sends_on(&mut self, written: Written) {
        let before = written.bytes();
        self.sent_on = Some((written, before));
        self.enter(Phase::Answer);
    }

    /// The connection had ended before: none of the request was on it.
    pub(super) fn takes_back(&mut self) {
        self.now_in = None;
        self.sent_on = None;
    }

    /// What came of it. Out of time after the status, what was said by then is the answer.
    pub(super) fn end(mut self, error: Option<SendError>) -> SendOutcome {
        let now = Instant::now();
        self.leave(now);
        SendOutcome {
            status: self.status,
            error: error.filter(|error| self.status.is_none() || *error != SendError::Timeout),
            answer: self.answer,
            retry_after: self.retry_after,
            took: now - self.started,
            was_sent: self.sent_on.is_some_and(|(written, before)| written.bytes() > before),
            phases: self.phases,
            request: self.request,
        }
    }
}

/// The head as its owner may see it: in order, what is secret masked.
pub(super) fn shown(headers: &HeaderMap) -> RequestHead {
    let mut head = RequestHead::with_capacity(USUAL_HEAD_BYTES);
    for (name, value) in headers {
        match value.is_sensitive() {
            true => head.push(name.as_str(), "[secret]"),
            false => head.push(name.as_str(), &String::from_utf8_lossy(value.as_bytes())),
        }
    }
    head
}
