//! Deliveries: listed, in full, and sent again.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::{DeliveryId, KeyId};
use store::{DeliveryFilter, DeliverySummary, RecordedDelivery, Replayed};
use wire::ErrorCode;
use wire::webhook::{DeliveryFacts, DeliveryResponse, ListResponse, RecordedDeliveryResponse};

use super::super::auth::Manager;
use super::super::query::Pairs;
use super::super::refusal::Refusal;
use super::super::{Api, json};
use super::parse_cursor;

/// `GET /v1/webhooks/deliveries`
pub(in super::super) async fn list(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Pairs(pairs): Pairs,
) -> Result<Response, Refusal> {
    let query = wire::query::parse_deliveries(&pairs)?;
    let cursor = query.cursor.as_deref().map(|text| parse_cursor(text, DeliveryId::parse)).transpose()?;
    let filter = DeliveryFilter {
        job: query.job,
        state: query.state,
        receiver: query.receiver,
        after: query.after,
        before: query.before,
    };
    let page = api.store.deliveries(&key, &filter, cursor.as_ref(), query.limit).await?;
    let items = page.items.iter().map(|item| DeliveryResponse::from(summarised(item))).collect();
    let next_cursor = page.next.map(|cursor| cursor.to_text());
    Ok(json(StatusCode::OK, wire::error::success(ListResponse { items, next_cursor })))
}

/// `GET /v1/webhooks/deliveries/{id}`
pub(in super::super) async fn delivery(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&id)?;
    answer(&api, &key, &id, StatusCode::OK).await
}

/// `POST /v1/webhooks/deliveries/{id}/replay`
pub(in super::super) async fn replay(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = parse_id(&id)?;
    match api.store.replay(&key, &id, api.clock.now()).await? {
        Replayed::Waiting => answer(&api, &key, &id, StatusCode::ACCEPTED).await,
        Replayed::UnderWay => Err(under_way()),
        Replayed::Live => Err(live()),
        Replayed::Unknown => Err(not_found()),
    }
}

async fn answer(api: &Api, key: &KeyId, id: &DeliveryId, status: StatusCode) -> Result<Response, Refusal> {
    let recorded = api.store.delivery(key, id).await?.ok_or_else(not_found)?;
    let (facts, body) = (in_full(&recorded), &recorded.delivery.event.body);
    let (attempts, endpoint) = (&recorded.attempts, &recorded.endpoint);
    let shown = RecordedDeliveryResponse::new(facts, body, attempts, endpoint, api.clock.now());
    Ok(json(status, wire::error::success(shown)))
}

fn summarised(summary: &DeliverySummary) -> DeliveryFacts<'_> {
    DeliveryFacts {
        id: &summary.id,
        event: &summary.event,
        kind: summary.kind,
        sequence: summary.sequence,
        job: &summary.job,
        url: &summary.url,
        state: summary.state,
        attempts: summary.attempts,
        last_status: summary.last_status,
        last_error: summary.last_error,
        is_replay: summary.is_replay,
        created_at: summary.created_at,
        next_at: summary.next_at,
    }
}

fn in_full(recorded: &RecordedDelivery) -> DeliveryFacts<'_> {
    let (delivery, last) = (&recorded.delivery, recorded.attempts.last());
    DeliveryFacts {
        id: &delivery.id,
        event: &delivery.event.id,
        kind: delivery.event.kind,
        sequence: delivery.event.sequence,
        job: &delivery.event.job,
        url: &delivery.url,
        state: recorded.state,
        attempts: delivery.attempts,
        last_status: last.and_then(|attempt| attempt.outcome.status),
        last_error: last.and_then(|attempt| attempt.outcome.error),
        is_replay: delivery.is_replay,
        created_at: recorded.created_at,
        next_at: recorded.next_at,
    }
}

fn parse_id(text: &str) -> Result<DeliveryId, Refusal> {
    DeliveryId::parse(text).map_err(|malformed| {
        Refusal::new(ErrorCode::InvalidJobId, "Use the `id` that the list of deliveries shows.")
            .with_details(malformed.to_string())
    })
}

fn under_way() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Ask again when the attempt that is under way has ended.")
        .with_details("the delivery is just being sent, and not sent a second time beside that")
        .with_status(StatusCode::CONFLICT)
}

fn live() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Send a job's end again: job.started and job.progress are not.")
        .with_details("the delivery's event tells of a moment of a running job, which is over")
}

fn not_found() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "Check the delivery id: this API key has no such delivery.")
}
