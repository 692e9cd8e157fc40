//! Sending many deliveries again, in the background.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::{KeyId, ReplayId};
use store::{MAX_REPLAYS, ReplayFilter};
use wire::ErrorCode;
use wire::webhook::ReplayResponse;

use super::super::auth::Manager;
use super::super::body::Whole;
use super::super::refusal::Refusal;
use super::super::{Api, json};

/// `POST /v1/webhooks/replay`
pub(in super::super) async fn start(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let request = wire::parse_replay(&body)?;
    let filter = ReplayFilter { state: request.state, after: request.after, before: request.before };
    let id = api.store.start_replay(&key, &filter, api.clock.now()).await?.ok_or_else(too_many)?;
    answer(&api, &key, &id, StatusCode::ACCEPTED).await
}

/// `GET /v1/webhooks/replay/{id}`
pub(in super::super) async fn progress(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = ReplayId::parse(&id).map_err(|malformed| {
        Refusal::new(ErrorCode::InvalidJobId, "Use the `replayId` that asking for the replay answered.")
            .with_details(malformed.to_string())
    })?;
    answer(&api, &key, &id, StatusCode::OK).await
}

fn too_many() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Ask again when one of this API key's replays has finished.")
        .with_details(format!("{MAX_REPLAYS} of them are running"))
        .with_status(StatusCode::CONFLICT)
}

async fn answer(api: &Api, key: &KeyId, id: &ReplayId, status: StatusCode) -> Result<Response, Refusal> {
    let progress = api.store.replay_progress(key, id).await?.ok_or_else(|| {
        Refusal::new(ErrorCode::NotFound, "Check the replay id: this API key has no such replay.")
    })?;
    let done = (progress.replayed, progress.skipped, progress.total);
    let shown = ReplayResponse::new(&progress.id, done, progress.created_at, progress.finished_at);
    Ok(json(status, wire::error::success(shown)))
}
