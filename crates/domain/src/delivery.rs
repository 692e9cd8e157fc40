//! Events, and the errand of bringing one to its receiver.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::ids::{DeliveryId, EndpointId, EventId, JobId, KeyId};
use crate::request_head::RequestHead;
use crate::time::Timestamp;
use crate::web::WebhookUrl;

/// What a receiver can be told about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The audio is there.
    Completed,
    /// It will not be.
    Failed,
    /// Work on it has begun.
    Started,
    /// It has come further.
    Progress,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Started, Self::Progress];
    /// What a webhook gets unasked.
    pub const DEFAULT: [Self; 2] = [Self::Completed, Self::Failed];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "job.completed",
            Self::Failed => "job.failed",
            Self::Started => "job.started",
            Self::Progress => "job.progress",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it tells of a moment of a running job. Such an event has no number, is tried once, may be dropped, and
    /// is none of anybody's once the job has ended.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Started | Self::Progress)
    }
}

/// Something that happened to a job, in the exact bytes that every receiver gets.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// What receivers see as `webhook-id`.
    pub id: EventId,
    /// Whose it is.
    pub key: KeyId,
    /// Its number among the key's events: 1, 2, 3, … without gaps, in the order in which they can be seen. A live
    /// event has none.
    pub sequence: Option<u64>,
    /// What it is about.
    pub job: JobId,
    /// What happened.
    pub kind: EventKind,
    /// The body, byte for byte: written once, in the transaction that made it true.
    pub body: Vec<u8>,
    /// When it happened.
    pub created_at: Timestamp,
}

impl fmt::Debug for Event {
    /// Without the body: it may hold a signed link.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {} #{:?} of {})", self.id, self.kind.as_str(), self.sequence, self.job)
    }
}

/// A receiver's host and port: what slots and fairness are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receiver(String);

impl Receiver {
    /// The receiver behind a URL: `host:port`, the scheme's port where none is written.
    pub fn of(url: &Url) -> Self {
        let port = url.port_or_known_default().unwrap_or(0);
        Self(format!("{}:{port}", url.host_str().unwrap_or_default()))
    }

    /// Reads back what [`Self::as_str`] wrote into the store.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// To be sent, now or at its next time.
    Pending,
    /// The receiver said 2xx.
    Delivered,
    /// Out of attempts, or the receiver said 410.
    Exhausted,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Exhausted];

    /// As written in the API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One event on its way to one URL.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its name.
    pub id: DeliveryId,
    /// What is brought.
    pub event: Event,
    /// Where to.
    pub url: WebhookUrl,
    /// How many attempts have ended.
    pub attempts: u32,
    /// How many of them failed since it was made or last asked for again: what the retry schedule goes by. None at its end.
    pub failures: u32,
    /// Whether its owner asked for it again.
    pub is_replay: bool,
    /// Until when the file that the event names can be fetched; in the past if it is gone, none if it names none.
    pub file_until: Option<Timestamp>,
}

impl Delivery {
    /// The endpoint that it goes to.
    pub fn endpoint(&self) -> EndpointId {
        EndpointId::of(&self.event.key, &self.url)
    }
}

/// Why an attempt got no answer, or none that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendError {
    /// The address may not be dialled.
    AddressRefused,
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No trusted TLS session.
    Tls,
    /// The time for the whole attempt ran out.
    Timeout,
    /// The connection broke while the request was on its way or before the answer was complete.
    Broken,
    /// What came back was not HTTP.
    Protocol,
    /// This process stopped before it knew. The receiver may have got it.
    Interrupted,
}

impl SendError {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::AddressRefused,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Broken,
        Self::Protocol,
        Self::Interrupted,
    ];

    /// As written in the store and in attempts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddressRefused => "address_refused",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Protocol => "protocol",
            Self::Interrupted => "interrupted",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.as_str() == text)
    }
}

/// How long each phase of one POST took; none where it was not reached, or not needed on a connection that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Phases {
    /// The name's addresses.
    pub dns: Option<Duration>,
    /// The TCP connection.
    pub connect: Option<Duration>,
    /// The TLS session.
    pub tls: Option<Duration>,
    /// From the first byte of the request to the head of the answer.
    pub answer: Option<Duration>,
    /// The answer's body, as far as it was read.
    pub body: Option<Duration>,
}

/// What is known of the receiver after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It has the event: a 2xx.
    Delivered,
    /// It answered, and did not take it.
    Rejected,
    /// The request may have reached it; whether it did is not known.
    MaybeDelivered,
    /// Not a byte of the request left.
    NotSent,
}

impl Disposition {
    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Rejected => "rejected",
            Self::MaybeDelivered => "maybe_delivered",
            Self::NotSent => "not_sent",
        }
    }
}

/// What one POST came to.
#[derive(Debug, Clone, PartialEq)]
pub struct SendOutcome {
    /// The answer's status, where one came.
    pub status: Option<u16>,
    /// Why there was none, or why it does not count.
    pub error: Option<SendError>,
    /// The first bytes of the answer's body.
    pub answer: Vec<u8>,
    /// How long the receiver asked to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// From the first byte of work to the last.
    pub took: Duration,
    /// Whether a byte of the request may have left.
    pub was_sent: bool,
    /// Where the time went.
    pub phases: Phases,
    /// The request's head as it was written, with secrets masked: names in lower case, in order.
    pub request: RequestHead,
}

impl SendOutcome {
    /// An attempt that got no answer.
    pub fn failed(error: SendError) -> Self {
        Self { error: Some(error), ..Self::nothing() }
    }

    /// An attempt that got an answer with this status and no body.
    pub fn answered(status: u16) -> Self {
        Self { status: Some(status), was_sent: true, ..Self::nothing() }
    }

    fn nothing() -> Self {
        Self {
            status: None,
            error: None,
            answer: Vec::new(),
            retry_after: None,
            took: Duration::ZERO,
            was_sent: false,
            phases: Phases::default(),
            request: RequestHead::default(),
        }
    }

    /// What is known of the receiver.
    pub fn disposition(&self) -> Disposition {
        match self.status {
            _ if self.is_delivered() => Disposition::Delivered,
            Some(status) if !(200..300).contains(&status) => Disposition::Rejected,
            // A 2xx that broke off, or no answer at all.
            _ if self.was_sent => Disposition::MaybeDelivered,
            _ => Disposition::NotSent,
        }
    }

    /// Whether the receiver has it: a 2xx, and nothing else. A redirect is not a delivery.
    pub fn is_delivered(&self) -> bool {
        self.error.is_none() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver said never to come back (410 Gone, as Standard Webhooks has it).
    pub fn is_gone(&self) -> bool {
        self.error.is_none() && self.status == Some(410)
    }
}

/// One attempt, as it is recorded for good.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// What it came to.
    pub outcome: SendOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_delivered_and_only_410_is_gone() {
        let outcome = SendOutcome::answered;
        for (status, delivered, gone) in [
            (200, true, false),
            (204, true, false),
            (302, false, false),
            (410, false, true),
            (500, false, false),
        ] {
            assert_eq!(
                (outcome(status).is_delivered(), outcome(status).is_gone()),
                (delivered, gone),
                "{status}"
            );
        }
        let broken = SendOutcome { error: Some(SendError::Broken), ..outcome(200) };
        assert!(!broken.is_delivered(), "an answer that broke off is none");
    }

    #[test]
    fn a_receiver_is_host_and_port() {
        let receiver = |text| Receiver::of(&Url::parse(text).expect(text));
        assert_eq!(receiver("https://a.example/x?y").as_str(), "a.example:443");
        assert_eq!(receiver("http://[::1]:8080/").as_str(), "[::1]:8080");
    }

    #[test]
    fn what_is_known_of_the_receiver_depends_on_what_left_and_what_came() {
        use Disposition::*;
        let sent = |error| SendOutcome { was_sent: true, ..SendOutcome::failed(error) };
        let broken = SendOutcome { error: Some(SendError::Broken), ..SendOutcome::answered(200) };
        for (outcome, expected) in [
            (SendOutcome::answered(204), Delivered),
            (SendOutcome::answered(302), Rejected),
            (SendOutcome::answered(500), Rejected),
            (broken, MaybeDelivered),
            (sent(SendError::Timeout), MaybeDelivered),
            (sent(SendError::Interrupted), MaybeDelivered),
            (SendOutcome::failed(SendError::Dns), NotSent),
            (SendOutcome::failed(SendError::Timeout), NotSent),
        ] {
            assert_eq!(outcome.disposition(), expected, "{outcome:?}");
        }
    }
}
