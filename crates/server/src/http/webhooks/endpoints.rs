//! Endpoints: how each URL has been doing, and enabling one that was disabled.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::EndpointId;
use wire::ErrorCode;
use wire::webhook::{EndpointResponse, ListResponse};

use super::super::auth::Manager;
use super::super::query::Pairs;
use super::super::refusal::Refusal;
use super::super::{Api, json};
use super::parse_cursor;

/// `GET /v1/webhooks/endpoints`
pub(in super::super) async fn list(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Pairs(pairs): Pairs,
) -> Result<Response, Refusal> {
    let query = wire::query::parse_endpoints(&pairs)?;
    let cursor = query.cursor.as_deref().map(|text| parse_cursor(text, EndpointId::parse)).transpose()?;
    let page = api.store.endpoints(&key, query.state, cursor.as_ref(), query.limit).await?;
    let now = api.clock.now();
    let items = page.items.iter().map(|endpoint| EndpointResponse::new(endpoint, now)).collect();
    let next_cursor = page.next.map(|cursor| cursor.to_text());
    Ok(json(StatusCode::OK, wire::error::success(ListResponse { items, next_cursor })))
}

/// `POST /v1/webhooks/endpoints/{id}/enable`
pub(in super::super) async fn enable(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = EndpointId::parse(&id).map_err(|malformed| {
        Refusal::new(ErrorCode::InvalidJobId, "Use the `id` that the list of endpoints shows.")
            .with_details(malformed.to_string())
    })?;
    let not_found =
        || Refusal::new(ErrorCode::NotFound, "Check the endpoint id: this API key has no such endpoint.");
    if !api.store.enable_endpoint(&key, &id, api.clock.now()).await? {
        return Err(not_found());
    }
    let endpoint = api.store.endpoint(&key, &id).await?.ok_or_else(not_found)?;
    Ok(json(StatusCode::OK, wire::error::success(EndpointResponse::new(&endpoint, api.clock.now()))))
}
