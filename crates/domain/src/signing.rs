//! What webhooks are signed with, so that a receiver can tell ours from anybody's.

use crate::secret::Secret;

/// Everything by which one key's webhooks are made genuine (Standard Webhooks 1.0.0).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeys {
    /// `whsec_…`, newest first: one, or two while a rotation overlaps. Each gives a `v1` signature.
    pub secrets: Vec<Secret>,
    /// `whsk_…` (ed25519), newest first; each gives a `v1a` signature beside the others.
    pub private_keys: Vec<Secret>,
    /// A header of the owner's choosing, for receivers that compare a token.
    pub header: Option<SecretHeader>,
}

/// A header whose value is known to both sides alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHeader {
    /// Lower case.
    pub name: String,
    /// The token.
    pub value: Secret,
}

/// The longest value of a secret header, in bytes.
pub const MAX_SECRET_HEADER_BYTES: usize = 1024;

/// What frames the request or belongs to the connection, and what webhooks say themselves. `authorization` and
/// `cookie` are not among them: receivers that compare a token look for it there.
const RESERVED: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Beginnings of names that belong to webhooks and to proxies.
const RESERVED_PREFIXES: [&str; 2] = ["webhook-", "proxy-"];

impl SecretHeader {
    /// Reads a header that an owner chose; the error is a sentence for its owner that never repeats the value.
    pub fn parse(name: &str, value: &str) -> Result<Self, String> {
        let name = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("the name is not a header's name".to_owned());
        }
        if RESERVED.contains(&name.as_str())
            || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            return Err(format!("`{name}` is set by the service itself; choose another name"));
        }
        if value.is_empty() || value.len() > MAX_SECRET_HEADER_BYTES {
            let bytes = value.len();
            return Err(format!("the value has {bytes} bytes; 1 to {MAX_SECRET_HEADER_BYTES} are taken"));
        }
        if value.trim() != value || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err("the value has characters that a header cannot carry, or spaces around it".to_owned());
        }
        Ok(Self { name, value: Secret::new(value) })
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_the_owners_is_taken_in_lower_case() {
        for (name, value) in
            [("X-Token", "t0ken"), ("Authorization", "Bearer a.b-c="), ("cookie", "a=b; c=d"), ("x-t", "a b")]
        {
            let header = SecretHeader::parse(name, value).expect(name);
            assert_eq!((header.name, header.value.expose()), (name.to_ascii_lowercase(), value));
        }
        assert!(SecretHeader::parse("x", &"v".repeat(MAX_SECRET_HEADER_BYTES)).is_ok());
    }

    #[test]
    fn what_webhooks_say_themselves_or_a_header_cannot_carry_is_refused() {
        let long = "v".repeat(MAX_SECRET_HEADER_BYTES + 1);
        for (name, value) in [
            ("", "t0ken"),
            ("x token", "t0ken"),
            ("x:", "t0ken"),
            ("x\r\ny", "t0ken"),
            ("Host", "t0ken"),
            ("Content-Length", "t0ken"),
            ("Transfer-Encoding", "t0ken"),
            ("Webhook-Signature", "t0ken"),
            ("webhook-anything", "t0ken"),
            ("Proxy-Authorization", "t0ken"),
            ("x-token", ""),
            ("x-token", " t0ken"),
            ("x-token", "t0ken\r\nx: y"),
            ("x-token", "t\u{f6}ken"),
            ("x-token", &long),
        ] {
            let reason = SecretHeader::parse(name, value).expect_err(name);
            assert!(!reason.contains("t0ken"), "the value is repeated: {reason}");
        }
    }
}
