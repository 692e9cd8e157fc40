//! Trying a receiver out: one signed sample, sent at once and kept nowhere.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{Event, EventId, EventKind, JobId, KeyId, Notice, WebhookUrl};
use engine::random_id;
use wire::response::SAMPLE_FILENAME;
use wire::webhook::TestResponse;

use super::super::auth::Manager;
use super::super::body::Whole;
use super::super::refusal::Refusal;
use super::super::{Api, json};

/// `POST /v1/webhooks/test`
pub(in super::super) async fn test(
    State(api): State<Arc<Api>>,
    Manager(key): Manager,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let url = wire::parse_test(&body)?;
    api.policy.check(url.url()).map_err(|refused| wire::query::wrong(format!("`url`: {}", refused.0)))?;
    let _slot = api.tries.take(&key).await.ok_or_else(Refusal::busy)?;
    let event = sample(&api, &key);
    let outcome = send(&api, &event, &url).await?;
    Ok(json(StatusCode::OK, wire::error::success(TestResponse::new(&event, &outcome))))
}

async fn send(api: &Api, event: &Event, url: &WebhookUrl) -> Result<domain::SendOutcome, Refusal> {
    let at = api.clock.now();
    let signing = api.store.signing_keys(&event.key, at).await?;
    let notice = Notice {
        event,
        url,
        attempt: 1,
        at,
        signing: &signing,
        is_replay: false,
        is_file_gone: false,
        at_most: None,
    };
    Ok(api.notifier.send(notice).await)
}

/// A `job.completed` of a job that never was. It has no number among the key's events: theirs begin at 1.
fn sample(api: &Api, key: &KeyId) -> Event {
    let (job, now) = (JobId::from_random(random_id()), api.clock.now());
    let link = api.links.public_url(&job, SAMPLE_FILENAME);
    Event {
        id: EventId::from_random(random_id()),
        key: key.clone(),
        sequence: Some(0),
        body: wire::event::sample(&job, now, &link),
        job,
        kind: EventKind::Completed,
        created_at: now,
    }
}
