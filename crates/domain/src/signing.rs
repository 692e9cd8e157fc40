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
