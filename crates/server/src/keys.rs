//! Making API keys.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{ApiKey, KeyId, Scopes, Secret, Timestamp};
use serde::Serialize;
use store::NewKey;

use crate::cli::Stop;

/// A key with fresh secrets. The prefix lets secret scanners and people know what they have found.
pub(crate) fn new_key(name: &str, scopes: Scopes, now: Timestamp) -> Result<NewKey, Stop> {
    let id = KeyId::from_random(engine::random_id());
    let secret = URL_SAFE_NO_PAD.encode(engine::random_bytes::<32>());
    let webhook_secret =
        egress::sign::generate_secret().map_err(|cause| Stop::Failed(format!("no random bytes: {cause}")))?;
    Ok(NewKey {
        key: ApiKey { id, name: name.to_owned(), scopes, created_at: now, revoked_at: None },
        api_key: Secret::new(format!("ae_{secret}")),
        webhook_secret,
    })
}

/// How long the secret before still signs when that of the configured key is changed, as `keys rotate-secret` has it
/// where nothing else is said.
pub(crate) const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// The name of the key that the settings give. It is always the same, so that its jobs stay its own when the key is
/// changed, and on every node.
pub(crate) fn configured_id() -> KeyId {
    KeyId::from_random([0; 8])
}

/// The key that the settings give.
pub(crate) fn configured(api_key: Secret, webhook_secret: Secret, now: Timestamp) -> Result<NewKey, Stop> {
    egress::sign::SigningSecret::parse(&webhook_secret)
        .map_err(|cause| Stop::Usage(format!("webhook_secret: {cause}")))?;
    let name = "from the configuration".to_owned();
    let key = ApiKey { id: configured_id(), name, scopes: Scopes::all(), created_at: now, revoked_at: None };
    Ok(NewKey { key, api_key, webhook_secret })
}

/// A new key as it is shown, once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownKey<'a> {
    id: &'a str,
    name: &'a str,
    api_key: &'a str,
    webhook_secret: &'a str,
}

impl<'a> From<&'a NewKey> for ShownKey<'a> {
    fn from(new: &'a NewKey) -> Self {
        Self {
            id: new.key.id.as_str(),
            name: &new.key.name,
            api_key: new.api_key.expose(),
            webhook_secret: new.webhook_secret.expose(),
        }
    }
}
