//! An endpoint: one exact URL of one key. What its owner's receiver does is remembered here and nowhere wider, so
//! that a customer's dead hook at a shared host disables nobody else's.

use sha2::{Digest, Sha256};

use crate::delivery::Receiver;
use crate::ids::{EndpointId, KeyId};
use crate::time::Timestamp;
use crate::web::WebhookUrl;

impl EndpointId {
    /// The endpoint of this key and URL as written: the same on every node and for ever.
    pub fn of(key: &KeyId, url: &WebhookUrl) -> Self {
        let digest = Sha256::new()
            .chain_update(key.as_str())
            .chain_update(b"\n")
            .chain_update(url.as_written())
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self::from_random(first)
    }
}

/// What is thought of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndpointState {
    /// It may be sent to.
    Healthy,
    /// Its circuit is open: nothing is sent before its next time, and then one probe.
    Failing,
    /// Nothing is sent until its owner enables it.
    Disabled,
}

impl EndpointState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Failing, Self::Disabled];

    /// As written in the API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One exact URL of one key, and how it has been doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// Whose it is.
    pub key: KeyId,
    /// Where it is.
    pub url: WebhookUrl,
    /// Its host and port.
    pub receiver: Receiver,
    /// What is thought of it.
    pub state: EndpointState,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// When the first of them did.
    pub first_failed_at: Option<Timestamp>,
    /// Nothing is sent before: because it asked for a rest, or, while it is failing, until the next probe.
    pub retry_at: Option<Timestamp>,
    /// Why it is disabled, for its owner.
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub changed_at: Timestamp,
}

/// What an attempt says of its endpoint. What follows is for [`crate::EndpointHealth::learn`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointVerdict {
    /// It is well: its failures are forgotten and its circuit is closed.
    Succeeded,
    /// One failure more.
    Failed {
        /// It was claimed to find out whether an endpoint whose circuit is open is back.
        is_probe: bool,
        /// The receiver wants nothing before.
        rest_until: Option<Timestamp>,
    },
    /// Nothing: a live event that was not taken says little, for it is given less time.
    Unchanged,
    /// No failure, but the receiver wants nothing before.
    Resting {
        /// This time.
        until: Timestamp,
    },
    /// It said that it will never be back.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_one_key_and_one_url_as_written() {
        let key = |last| KeyId::from_random([0, 0, 0, 0, 0, 0, 0, last]);
        let url = |text| WebhookUrl::parse(text).expect("a URL");
        let one = EndpointId::of(&key(1), &url("https://a.example/x"));
        assert_eq!(one, EndpointId::of(&key(1), &url("https://a.example/x")));
        // printf 'key_0000000000000001\nhttps://a.example/x' | sha256sum
        assert_eq!(one.as_str(), "ep_83c6dfe378dc960c");
        assert_ne!(one, EndpointId::of(&key(2), &url("https://a.example/x")));
        assert_ne!(one, EndpointId::of(&key(1), &url("https://a.example/x?")));
    }
}
