//! A key's events in their order, so that a receiver that was down can prove that it has them all.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use wire::webhook::{EventResponse, ListResponse};

use super::super::auth::Manager;
use super::super::query::Pairs;
use super::super::refusal::Refusal;
use super::super::{Api, json};

/// `GET /v1/events`. The next page's cursor is the last event's number: its `afterSequence`.
pub(in super::super) async fn list(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Pairs(pairs): Pairs,
) -> Result<Response, Refusal> {
    let query = wire::query::parse_events(&pairs)?;
    // One more than asked for tells whether there is a next page.
    let mut events = api.store.events_after(&key, query.after_sequence, query.limit + 1).await?;
    let is_last = events.len() <= query.limit;
    events.truncate(query.limit);
    let last = events.last().filter(|_| !is_last).and_then(|event| event.sequence);
    let next_cursor = last.map(|sequence| sequence.to_string());
    let items: Option<Vec<_>> = events.iter().map(EventResponse::new).collect();
    let items = items.ok_or_else(|| Refusal::internal("the body of an event is no JSON"))?;
    Ok(json(StatusCode::OK, wire::error::success(ListResponse { items, next_cursor })))
}
