//! What a receiver verifies `v1a` signatures with. Anybody may ask, by the id of one key: there is no list, so that
//! nobody learns who the customers are.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::KeyId;
use egress::sign::PrivateKey;
use wire::ErrorCode;
use wire::webhook::PublicKeysResponse;

use super::super::refusal::Refusal;
use super::super::{Api, json};

/// `GET /.well-known/webhook-keys/{keyId}`. A key without such signatures is as unknown as none.
/// Without the envelope, which no verifier would look through.
pub(in super::super) async fn get(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let not_found = || Refusal::new(ErrorCode::NotFound, "Check the key id: it has no public keys.");
    let key = KeyId::parse(&id).map_err(|_| not_found())?;
    let signing = api.store.signing_keys(&key, api.clock.now()).await?;
    if signing.private_keys.is_empty() {
        return Err(not_found());
    }
    let public = |secret| PrivateKey::parse(secret).map(|key| key.public_key().as_str().to_owned());
    let public_keys = signing.private_keys.iter().map(public).collect::<Result<_, _>>();
    let shown =
        PublicKeysResponse { key_id: key.as_str(), public_keys: public_keys.map_err(Refusal::internal)? };
    Ok(json(StatusCode::OK, serde_json::to_vec(&shown).map_err(Refusal::internal)?))
}
