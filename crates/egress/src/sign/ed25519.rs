//! Scheme v1a: ed25519 over the same bytes as v1. The private key is ours alone; anybody may have the public one, so a
//! receiver keeps no secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Secret;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

const PRIVATE_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";
const VERSION: &str = "v1a,";
/// The private key of RFC 8032, which a public key of the same length follows.
const SEED_BYTES: usize = 32;
const PRIVATE_BYTES: usize = 64;

/// Why a text is no key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// Not what we sign with.
    #[error("a private key is `whsk_` and the base64 of 64 bytes: an ed25519 seed and its public key")]
    Private,
    /// Not what anybody verifies with.
    #[error("a public key is `whpk_` and the base64 of 32 bytes")]
    Public,
}

/// A private key, ready to sign.
pub struct PrivateKey {
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// Reads `whsk_…`; its two halves must belong together.
    pub fn parse(secret: &Secret) -> Result<Self, MalformedKey> {
        let text = secret.expose().strip_prefix(PRIVATE_PREFIX).ok_or(MalformedKey::Private)?;
        let bytes = STANDARD.decode(text).map_err(|_| MalformedKey::Private)?;
        if bytes.len() != PRIVATE_BYTES {
            return Err(MalformedKey::Private);
        }
        let (seed, public) = bytes.split_at(SEED_BYTES);
        let pair =
            Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| MalformedKey::Private)?;
        Ok(Self { pair })
    }

    /// One entry of `webhook-signature`: `v1a,…`.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut entry = VERSION.to_owned();
        STANDARD.encode_string(self.pair.sign(&content(id, timestamp_secs, body)), &mut entry);
        entry
    }

    /// What receivers verify with.
    pub fn public_key(&self) -> PublicKey {
        PublicKey { text: format!("{PUBLIC_PREFIX}{}", STANDARD.encode(self.pair.public_key())) }
    }
}

/// A public key: `whpk_…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    text: String,
}

impl PublicKey {
    /// Reads `whpk_…`.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let key = Self { text: text.to_owned() };
        if key.bytes().is_some_and(|bytes| bytes.len() == SEED_BYTES) {
            Ok(key)
        } else {
            Err(MalformedKey::Public)
        }
    }

    /// `whpk_…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether one of the signatures in `header` is this key's. The time is for the caller to judge.
    pub fn verifies(&self, id: &str, timestamp_secs: i64, body: &[u8], header: &str) -> bool {
        let Some(bytes) = self.bytes() else { return false };
        let (key, content) = (UnparsedPublicKey::new(&ED25519, bytes), content(id, timestamp_secs, body));
        header
            .split(' ')
            .filter_map(|entry| STANDARD.decode(entry.strip_prefix(VERSION)?).ok())
            .any(|signature| key.verify(&content, &signature).is_ok())
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.text.strip_prefix(PUBLIC_PREFIX)?).ok()
    }
}

/// A new private key from the system's random source.
pub fn generate_private_key() -> Result<Secret, getrandom::Error> {
    let mut seed = [0; SEED_BYTES];
    getrandom::fill(&mut seed)?;
    // Every 32 bytes are a seed.
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| getrandom::Error::UNEXPECTED)?;
    let bytes = [seed.as_slice(), pair.public_key().as_ref()].concat();
    Ok(Secret::new(format!("{PRIVATE_PREFIX}{}", STANDARD.encode(bytes))))
}

fn content(id: &str, timestamp_secs: i64, body: &[u8]) -> Vec<u8> {
    let mut content = format!("{id}.{timestamp_secs}.").into_bytes();
    content.extend_from_slice(body);
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str =
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    fn published() -> PrivateKey {
        PrivateKey::parse(&Secret::new(PRIVATE)).expect("a key")
    }

    #[test]
    fn the_published_vector_is_signed_and_verified() {
        assert_eq!(published().sign(ID, AT, BODY), SIGNATURE);
        assert_eq!(published().public_key().as_str(), PUBLIC);
        let public = PublicKey::parse(PUBLIC).expect("a key");
        assert!(public.verifies(ID, AT, BODY, SIGNATURE));
        assert!(public.verifies(ID, AT, BODY, &format!("v1,AAAA {SIGNATURE}")));
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let public = published().public_key();
        for (id, at, body, header) in [
            ("msg_other", AT, BODY, SIGNATURE),
            (ID, AT + 1, BODY, SIGNATURE),
            (ID, AT, b"{}".as_slice(), SIGNATURE),
            (ID, AT, BODY, &SIGNATURE.replace("v1a,", "v1,")),
            (ID, AT, BODY, "v1a,AAAA"),
            (ID, AT, BODY, ""),
        ] {
            assert!(!public.verifies(id, at, body, header), "{id} {at} {header}");
        }
        let other = PrivateKey::parse(&generate_private_key().expect("random")).expect("a key").public_key();
        assert!(!other.verifies(ID, AT, BODY, SIGNATURE));
    }

    #[test]
    fn a_new_key_signs_for_its_own_public_key() {
        let key = PrivateKey::parse(&generate_private_key().expect("random")).expect("a key");
        assert!(key.public_key().verifies(ID, AT, BODY, &key.sign(ID, AT, BODY)));
        assert_ne!(key.public_key(), published().public_key());
    }

    #[test]
    fn texts_that_are_no_keys_are_refused() {
        let halves_of_two = {
            let mut bytes = STANDARD.decode(&PRIVATE[5..]).expect("base64");
            bytes[0] ^= 1;
            format!("whsk_{}", STANDARD.encode(bytes))
        };
        for text in
            ["", "whsk_", "whsk_AAAA", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", PUBLIC, &halves_of_two]
        {
            assert!(PrivateKey::parse(&Secret::new(text)).is_err(), "{text}");
        }
        for text in ["", "whpk_", "whpk_AAAA", PRIVATE] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
    }
}
