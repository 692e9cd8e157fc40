//! Secrets at rest.
//!
//! Sealed with XChaCha20-Poly1305 under the master key. Its nonce has 192 bits, so that a random one never comes
//! twice. Where a secret belongs (its table, row and name) is authenticated with it, so that a sealed value that
//! was copied into another row does not open there.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use domain::Secret;

use crate::error::StoreError;

/// Bytes of a nonce (draft-irtf-cfrg-xchacha, 2).
const NONCE_BYTES: usize = 24;

/// The key that seals the secrets in the database: 32 bytes, the same on all nodes.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

/// A text that is no master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a master key is the base64 of 32 random bytes (44 characters), as `openssl rand -base64 32` makes it"
)]
pub struct MalformedMasterKey;

impl MasterKey {
    /// Reads base64 of 32 bytes; white space around it is no matter, it often comes from a file.
    pub fn parse(text: &str) -> Result<Self, MalformedMasterKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| MalformedMasterKey)?;
        bytes.try_into().map(Self).map_err(|_| MalformedMasterKey)
    }

    /// A new one.
    pub fn generate() -> Result<Self, StoreError> {
        Ok(Self(random()?))
    }

    /// What [`Self::parse`] reads.
    pub fn to_text(&self) -> Secret {
        Secret::new(STANDARD.encode(self.0))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[master key]")
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Defect(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

#[derive(Clone)]
pub(crate) struct Vault {
    cipher: XChaCha20Poly1305,
}

impl Vault {
    pub(crate) fn new(key: &MasterKey) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&key.0.into()) }
    }

    /// Seals a secret for the place where it belongs.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed =
            sealed.map_err(|_| StoreError::Defect("a secret is too long to be sealed".to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this place with this key; `None` if it was not.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }

    /// Opens a secret that is text.
    pub(crate) fn open_text(&self, place: &str, sealed: &[u8]) -> Option<Secret> {
        String::from_utf8(self.open(place, sealed)?).ok().map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_in_its_place_and_unaltered() {
        let key = MasterKey::generate().expect("random bytes");
        let vault = Vault::new(&key);
        let sealed = vault.seal("keys key_1", b"whsec_x").expect("sealed");
        assert!(!sealed.windows(7).any(|window| window == b"whsec_x"), "it is in clear");
        assert_eq!(vault.open("keys key_1", &sealed).as_deref(), Some(b"whsec_x".as_slice()));
        assert_eq!(vault.open("keys key_2", &sealed), None, "another place");
        let other = Vault::new(&MasterKey::generate().expect("random bytes"));
        assert_eq!(other.open("keys key_1", &sealed), None, "another key");
        for index in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[index] ^= 1;
            assert_eq!(vault.open("keys key_1", &altered), None, "byte {index} altered");
            assert_eq!(vault.open("keys key_1", &sealed[..index]), None, "cut at {index}");
        }
        assert_ne!(vault.seal("keys key_1", b"whsec_x").expect("sealed"), sealed, "the nonce came twice");
    }

    #[test]
    fn a_master_key_reads_back_and_does_not_print() {
        let key = MasterKey::generate().expect("random bytes");
        let text = key.to_text();
        let read = MasterKey::parse(&format!("{}\n", text.expose())).expect("its own text");
        assert_eq!(read.0, key.0);
        assert!(!format!("{key:?}").contains(text.expose()));
        for text in ["", "secret", "AAAA", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33])] {
            assert!(MasterKey::parse(text).is_err(), "{text} was taken");
        }
    }
}
