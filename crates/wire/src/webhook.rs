//! Deliveries, attempts, events and endpoints, as their owner is shown them.

use std::borrow::Cow;

use domain::{
    DeliveryAttempt, DeliveryId, DeliveryState, Endpoint, Event, EventId, EventKind, JobId, Phases, Receiver,
    ReplayId, SendError, SendOutcome, Timestamp, WebhookUrl,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::text;

/// A page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResponse<T> {
    /// In their order.
    pub items: Vec<T>,
    /// What asks for the next page; none where this was the last.
    pub next_cursor: Option<String>,
}

/// What a list shows of a delivery.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryFacts<'a> {
    /// Its name.
    pub id: &'a DeliveryId,
    /// What is brought.
    pub event: &'a EventId,
    /// Its kind.
    pub kind: EventKind,
    /// Its number among the key's events, where it has one.
    pub sequence: Option<u64>,
    /// What it is about.
    pub job: &'a JobId,
    /// Where to.
    pub url: &'a WebhookUrl,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts have ended.
    pub attempts: u32,
    /// What the last of them was answered.
    pub last_status: Option<u16>,
    /// Why the last of them got no answer that counts.
    pub last_error: Option<SendError>,
    /// Whether its owner asked for it again.
    pub is_replay: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the next attempt is due, while one is.
    pub next_at: Option<Timestamp>,
}

/// A delivery in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryResponse<'a> {
    id: &'a str,
    event_id: &'a str,
    event: &'static str,
    sequence: Option<u64>,
    job_id: &'a str,
    url: Cow<'a, str>,
    receiver: String,
    state: &'static str,
    attempt_count: u32,
    last_status: Option<u16>,
    last_error: Option<&'static str>,
    is_replay: bool,
    created_at: String,
    next_attempt_at: Option<String>,
}

impl<'a> From<DeliveryFacts<'a>> for DeliveryResponse<'a> {
    fn from(facts: DeliveryFacts<'a>) -> Self {
        let is_pending = facts.state == DeliveryState::Pending;
        Self {
            id: facts.id.as_str(),
            event_id: facts.event.as_str(),
            event: facts.kind.as_str(),
            sequence: facts.sequence,
            job_id: facts.job.as_str(),
            url: facts.url.masked(),
            receiver: Receiver::of(facts.url.url()).as_str().to_owned(),
            state: facts.state.as_str(),
            attempt_count: facts.attempts,
            last_status: facts.last_status,
            last_error: facts.last_error.map(SendError::as_str),
            is_replay: facts.is_replay,
            created_at: text::precise_timestamp(facts.created_at),
            next_attempt_at: facts.next_at.filter(|_| is_pending).map(text::precise_timestamp),
        }
    }
}

/// A delivery with every attempt: `GET /v1/webhooks/deliveries/{id}`.
#[derive(Debug, Serialize)]
pub struct RecordedDeliveryResponse<'a> {
    #[serde(flatten)]
    delivery: DeliveryResponse<'a>,
    body: Option<Box<RawValue>>,
    attempts: Vec<AttemptResponse<'a>>,
    endpoint: EndpointResponse<'a>,
}

impl<'a> RecordedDeliveryResponse<'a> {
    /// A delivery, what each attempt brings, its attempts in order, and what is thought by `now` of where it goes.
    pub fn new(
        facts: DeliveryFacts<'a>,
        body: &[u8],
        attempts: &'a [DeliveryAttempt],
        endpoint: &'a Endpoint,
        now: Timestamp,
    ) -> Self {
        Self {
            delivery: facts.into(),
            body: raw(body),
            attempts: attempts.iter().map(AttemptResponse::from).collect(),
            endpoint: EndpointResponse::new(endpoint, now),
        }
    }
}

/// One attempt: what was sent, what came, and where the time went.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptResponse<'a> {
    number: u32,
    started_at: String,
    #[serde(flatten)]
    outcome: OutcomeResponse<'a>,
}

impl<'a> From<&'a DeliveryAttempt> for AttemptResponse<'a> {
    fn from(attempt: &'a DeliveryAttempt) -> Self {
        Self {
            number: attempt.number,
            started_at: text::precise_timestamp(attempt.started_at),
            outcome: OutcomeResponse::from(&attempt.outcome),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutcomeResponse<'a> {
    disposition: &'static str,
    status: Option<u16>,
    error: Option<&'static str>,
    duration_ms: f64,
    phases: PhasesResponse,
    request: Vec<HeaderResponse<'a>>,
    answer: String,
    retry_after: Option<u64>,
}

impl<'a> From<&'a SendOutcome> for OutcomeResponse<'a> {
    fn from(outcome: &'a SendOutcome) -> Self {
        Self {
            disposition: outcome.disposition().as_str(),
            status: outcome.status,
            error: outcome.error.map(SendError::as_str),
            duration_ms: text::millis(outcome.took),
            phases: outcome.phases.into(),
            request: outcome.request.fields().map(|(name, value)| HeaderResponse { name, value }).collect(),
            // A text for people: what is not UTF-8 shows as such.
            answer: String::from_utf8_lossy(&outcome.answer).into_owned(),
            retry_after: outcome.retry_after.map(|wait| wait.as_secs()),
        }
    }
}

#[derive(Debug, Serialize)]
struct HeaderResponse<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhasesResponse {
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    answer_ms: Option<f64>,
    body_ms: Option<f64>,
}

impl From<Phases> for PhasesResponse {
    fn from(phases: Phases) -> Self {
        Self {
            dns_ms: phases.dns.map(text::millis),
            connect_ms: phases.connect.map(text::millis),
            tls_ms: phases.tls.map(text::millis),
            answer_ms: phases.answer.map(text::millis),
            body_ms: phases.body.map(text::millis),
        }
    }
}

/// What came of a try: `POST /v1/webhooks/test`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResponse<'a> {
    event_id: &'a str,
    is_delivered: bool,
    #[serde(flatten)]
    outcome: OutcomeResponse<'a>,
}

impl<'a> TestResponse<'a> {
    /// This event came to this.
    pub fn new(event: &'a Event, outcome: &'a SendOutcome) -> Self {
        Self { event_id: event.id.as_str(), is_delivered: outcome.is_delivered(), outcome: outcome.into() }
    }
}

/// One exact URL of a key, and how it has been doing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointResponse<'a> {
    id: &'a str,
    url: Cow<'a, str>,
    receiver: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    failures: u32,
    first_failed_at: Option<String>,
    retry_at: Option<String>,
    changed_at: String,
}

impl<'a> EndpointResponse<'a> {
    /// How it is doing by `now`. A time before which nothing is to be sent says nothing once it has passed.
    pub fn new(endpoint: &'a Endpoint, now: Timestamp) -> Self {
        Self {
            id: endpoint.id.as_str(),
            url: endpoint.url.masked(),
            receiver: endpoint.receiver.as_str(),
            state: endpoint.state.as_str(),
            reason: endpoint.reason.as_deref(),
            failures: endpoint.failures,
            first_failed_at: endpoint.first_failed_at.map(text::precise_timestamp),
            retry_at: endpoint.retry_at.filter(|at| *at > now).map(text::precise_timestamp),
            changed_at: text::precise_timestamp(endpoint.changed_at),
        }
    }
}

/// An event in `GET /v1/events`, its body byte for byte as receivers get it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventResponse<'a> {
    sequence: u64,
    id: &'a str,
    event: &'static str,
    job_id: &'a str,
    created_at: String,
    body: Box<RawValue>,
}

impl<'a> EventResponse<'a> {
    /// `None` where it has no number, as no event in that list, or its body is not JSON, as none of ours.
    pub fn new(event: &'a Event) -> Option<Self> {
        Some(Self {
            sequence: event.sequence?,
            id: event.id.as_str(),
            event: event.kind.as_str(),
            job_id: event.job.as_str(),
            created_at: text::precise_timestamp(event.created_at),
            body: raw(&event.body)?,
        })
    }
}

/// An event's body byte for byte; `None` where it is not JSON, as none of ours.
fn raw(body: &[u8]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(body.to_vec()).ok()?).ok()
}

/// How far the errand of sending many deliveries again is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayResponse<'a> {
    replay_id: &'a str,
    state: &'static str,
    total: Option<u64>,
    replayed: u64,
    skipped: u64,
    created_at: String,
    finished_at: Option<String>,
}

impl<'a> ReplayResponse<'a> {
    /// So many were made to wait again, so many skipped, of so many if they were counted; and when the last of them was.
    pub fn new(
        id: &'a ReplayId,
        (replayed, skipped, total): (u64, u64, Option<u64>),
        created_at: Timestamp,
        finished_at: Option<Timestamp>,
    ) -> Self {
        Self {
            replay_id: id.as_str(),
            state: if finished_at.is_some() { "finished" } else { "running" },
            total,
            replayed,
            skipped,
            created_at: text::precise_timestamp(created_at),
            finished_at: finished_at.map(text::precise_timestamp),
        }
    }
}

/// The public keys of one API key's webhooks: `GET /.well-known/webhook-keys/{keyId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKeysResponse<'a> {
    /// Whose.
    pub key_id: &'a str,
    /// `whpk_…`, the newest first; none where events carry no `v1a` signature.
    pub public_keys: Vec<String>,
}
