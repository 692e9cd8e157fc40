//! Standard Webhooks 1.0.0: scheme v1, HMAC-SHA256 over `{id}.{timestamp}.{body}`. [`ed25519`] is scheme v1a.

pub mod ed25519;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Secret, SigningKeys, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use self::ed25519::{MalformedKey, PrivateKey, PublicKey, generate_private_key};

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
/// Bytes of a new secret: the width of the hash, and within what the specification allows (24 to 64).
const NEW_SECRET_BYTES: usize = 32;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How far the timestamp of a delivery may be from the receiver's clock, by the specification's libraries.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Why a text is no signing secret. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret is `whsec_` and the base64 of 24 to 64 bytes")]
pub struct MalformedSecret;

/// Why nothing could be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A secret is none, or there is none at all.
    #[error(transparent)]
    Secret(#[from] MalformedSecret),
    /// A private key is none.
    #[error(transparent)]
    Key(#[from] MalformedKey),
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The secret to verify with is malformed.
    #[error(transparent)]
    Secret(#[from] MalformedSecret),
    /// Sent too long ago, or in the future: a replay by a third party, or a wrong clock.
    #[error("the timestamp is more than five minutes from this clock")]
    Timestamp,
    /// None of the signatures fits.
    #[error("no signature fits this secret and body")]
    Signature,
}

/// A signing secret, ready to sign.
pub struct SigningSecret {
    key: Vec<u8>,
}

impl SigningSecret {
    /// Reads `whsec_…`.
    pub fn parse(secret: &Secret) -> Result<Self, MalformedSecret> {
        let text = secret.expose().strip_prefix(PREFIX).ok_or(MalformedSecret)?;
        let key = STANDARD.decode(text).map_err(|_| MalformedSecret)?;
        if SECRET_BYTES.contains(&key.len()) { Ok(Self { key }) } else { Err(MalformedSecret) }
    }

    fn mac(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> Result<Hmac<Sha256>, MalformedSecret> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(|_| MalformedSecret)?;
        mac.update(format!("{id}.{timestamp_secs}.").as_bytes());
        mac.update(body);
        Ok(mac)
    }
}

/// A new secret from the system's random source.
pub fn generate_secret() -> Result<Secret, getrandom::Error> {
    let mut key = [0; NEW_SECRET_BYTES];
    getrandom::fill(&mut key)?;
    Ok(Secret::new(format!("{PREFIX}{}", STANDARD.encode(key))))
}

/// The value of `webhook-signature`: one `v1,…` for each secret, in their order.
pub fn sign(
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
    secrets: &[Secret],
) -> Result<String, MalformedSecret> {
    let mut header = String::new();
    for secret in secrets {
        let mac = SigningSecret::parse(secret)?.mac(id, timestamp_secs, body)?;
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str(VERSION);
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut header);
    }
    if header.is_empty() { Err(MalformedSecret) } else { Ok(header) }
}

/// Whether one of the signatures in `header` is this secret's, and the timestamp is near `now`.
pub fn verify(
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
    header: &str,
    secret: &Secret,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let mac = SigningSecret::parse(secret)?.mac(id, timestamp_secs, body)?;
    if now.as_secs().abs_diff(timestamp_secs) > TOLERANCE.as_secs() {
        return Err(VerifyError::Timestamp);
    }
    let fits = header
        .split(' ')
        .filter_map(|entry| STANDARD.decode(entry.strip_prefix(VERSION)?).ok())
        // `verify_slice` compares in constant time.
        .any(|signature| mac.clone().verify_slice(&signature).is_ok());
    if fits { Ok(()) } else { Err(VerifyError::Signature) }
}

/// The value of `webhook-signature` by everything that a key has: `v1,…` for each secret, then `v1a,…` for each
/// private key. There must be at least one secret: every receiver can verify v1.
pub fn sign_with(
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
    keys: &SigningKeys,
) -> Result<String, SignError> {
    let mut header = sign(id, timestamp_secs, body, &keys.secrets)?;
    for key in &keys.private_keys {
        header.push(' ');
        header.push_str(&PrivateKey::parse(key)?.sign(id, timestamp_secs, body));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn published() -> Secret {
        Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn the_published_vector_is_signed_and_verified() {
        assert_eq!(sign(ID, AT, BODY, &[published()]).as_deref(), Ok(SIGNATURE));
        assert_eq!(verify(ID, AT, BODY, SIGNATURE, &published(), at(AT)), Ok(()));
    }

    #[test]
    fn during_a_rotation_either_secret_verifies() {
        let (new, other) = (generate_secret().expect("random"), generate_secret().expect("random"));
        let header = sign(ID, AT, BODY, &[new.clone(), published()]).expect("signed");
        assert_eq!(header.split(' ').count(), 2);
        for secret in [&new, &published()] {
            assert_eq!(verify(ID, AT, BODY, &header, secret, at(AT)), Ok(()));
        }
        assert_eq!(verify(ID, AT, BODY, &header, &other, at(AT)), Err(VerifyError::Signature));
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let secret = published();
        let cases = [
            ("msg_other", AT, BODY, SIGNATURE),
            (ID, AT + 1, BODY, SIGNATURE),
            (ID, AT, b"{}".as_slice(), SIGNATURE),
            (ID, AT, BODY, "v1,AAAA"),
            (ID, AT, BODY, "v1,"),
            (ID, AT, BODY, ""),
            (ID, AT, BODY, &SIGNATURE.replace("v1,", "v2,")),
        ];
        for (id, timestamp, body, header) in cases {
            let verdict = verify(id, timestamp, body, header, &secret, at(AT));
            assert_eq!(verdict, Err(VerifyError::Signature), "{id} {timestamp} {header}");
        }
        for now in [AT - 301, AT + 301] {
            let verdict = verify(ID, AT, BODY, SIGNATURE, &secret, at(now));
            assert_eq!(verdict, Err(VerifyError::Timestamp), "{now}");
        }
        assert_eq!(verify(ID, AT, BODY, SIGNATURE, &secret, at(AT + 300)), Ok(()));
    }

    #[test]
    fn secrets_outside_of_the_specification_are_refused() {
        let of_bytes = |n: usize| Secret::new(format!("whsec_{}", STANDARD.encode(vec![7; n])));
        for (secret, taken) in [
            (of_bytes(23), false),
            (of_bytes(24), true),
            (of_bytes(64), true),
            (of_bytes(65), false),
            (Secret::new("whsec_"), false),
            (Secret::new("whsec_!!!"), false),
            (Secret::new("C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), false),
        ] {
            assert_eq!(SigningSecret::parse(&secret).is_ok(), taken, "{}", secret.expose());
        }
        assert!(sign(ID, AT, BODY, &[]).is_err(), "a webhook is never sent unsigned");
    }
}
