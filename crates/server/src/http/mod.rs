//! The API over HTTP: what is asked becomes a call of the engine or the store, what they say becomes an answer.
//!
//! [`serve`] has the connections, [`router`] the endpoints, `auth` who may, `refusal` how errors are answered.

mod auth;
mod body;
mod disposition;
mod health;
mod jobs;
pub(crate) mod openapi;
mod query;
mod range;
mod refusal;
mod request_id;
mod results;
pub(crate) mod serve;
mod slots;
mod timed_writes;
mod unread;
mod uploads;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, head, patch, post};
use axum::{Router, http::Method};
use domain::{AddressPolicy, Clock, Notifier};
use engine::{CancellationToken, Links, Submit};
use metrics_exporter_prometheus::PrometheusHandle;
use store::{FileStore, Store};
use tower_http::catch_panic::CatchPanicLayer;
use wire::{BASE_PATH, ErrorCode};

use refusal::Refusal;

pub(crate) use auth::Limits;
pub(crate) use slots::Slots;
pub(crate) use uploads::{PaceConfig, UploadParts};

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) files: FileStore,
    pub(crate) submit: Submit,
    pub(crate) upload: UploadParts,
    /// For what is sent while somebody waits: a try of a webhook.
    pub(crate) notifier: Arc<dyn Notifier>,
    /// Such tries at once.
    pub(crate) tries: Slots,
    /// What may be sent to.
    pub(crate) policy: Arc<dyn AddressPolicy>,
    pub(crate) links: Links,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Option<Limits>,
    pub(crate) metrics: PrometheusHandle,
    /// Cancelled when the service begins to stop.
    pub(crate) stop: CancellationToken,
    /// The largest body that is read, in bytes.
    pub(crate) max_body_bytes: usize,
    /// How long a request may take until its answer begins.
    pub(crate) request_timeout: Duration,
}

/// The endpoints of the API and the public links, in front of those of the operator.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let v1 = Router::new()
        .route("/v1/extract", post(jobs::extract))
        .route("/v1/batch", post(jobs::batch))
        .route("/v1/batch/{batch_id}", get(jobs::batch_status))
        .route("/v1/status/{job_id}", get(jobs::status))
        .route("/v1/download/{job_id}", get(results::download))
        .route("/v1/events", get(webhooks::events))
        .route("/v1/webhooks/deliveries", get(webhooks::deliveries))
        .route("/v1/webhooks/deliveries/{delivery_id}", get(webhooks::delivery))
        .route("/v1/webhooks/deliveries/{delivery_id}/replay", post(webhooks::replay))
        .route("/v1/webhooks/endpoints", get(webhooks::endpoints))
        .route("/v1/webhooks/endpoints/{endpoint_id}/enable", post(webhooks::enable))
        .route("/v1/webhooks/replay", post(webhooks::replay_many))
        .route("/v1/webhooks/replay/{replay_id}", get(webhooks::replay_progress))
        .route("/v1/webhooks/test", post(webhooks::test))
        .route("/v1/openapi.json", get(openapi::get));
    // Bodies that may take their time: `within_time` is not for them.
    let resumable = Router::new()
        .route("/v1/uploads", post(uploads::create).options(uploads::say_what_is_spoken))
        .route("/v1/uploads/{file_id}", patch(uploads::append).merge(uploads_besides()))
        .route_layer(middleware::from_fn(uploads::resumable));
    let uploads = resumable.route("/v1/upload", post(uploads::upload));
    let uploads = Router::new().nest(BASE_PATH, uploads);
    let timed = Router::new()
        .nest(BASE_PATH, v1)
        .route("/audio/{job_id}/{filename}", get(results::public_link))
        .route("/.well-known/webhook-keys/{key_id}", get(webhooks::public_keys))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), within_time));
    let routes = uploads
        .merge(timed)
        .route_layer(middleware::from_fn_with_state(Arc::clone(&api), refuse_while_stopping))
        .merge(timed_health_router(&api))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed);
    layered(routes).with_state(api)
}

/// What else can be done with a resumable upload, in the methods that tus gives it.
fn uploads_besides() -> MethodRouter<Arc<Api>> {
    head(uploads::progress)
        .delete(uploads::delete)
        .post(uploads::overridden)
        .options(uploads::say_what_is_spoken)
}

/// The endpoints of the operator alone: what a node serves that has no API.
pub(crate) fn operator_router(api: Arc<Api>) -> Router {
    let routes =
        timed_health_router(&api).fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    layered(routes).with_state(api)
}

fn timed_health_router(api: &Arc<Api>) -> Router<Arc<Api>> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(middleware::from_fn_with_state(Arc::clone(api), within_time))
}

fn layered(routes: Router<Arc<Api>>) -> Router<Arc<Api>> {
    routes.layer(CatchPanicLayer::custom(refusal::panicked)).layer(middleware::from_fn(request_id::layer))
}

/// An answer in the envelope.
fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, kind, Body::from(body)).into_response()
}

async fn not_found() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "Check the path: there is nothing here.")
}

async fn method_not_allowed(method: Method) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Use a method that the `Allow` header names.")
        .with_details(format!(
            "this path does not take {}",
            &method.as_str()[..method.as_str().len().min(32)]
        ))
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// A service that stops takes nothing new, so that a client goes to another node or comes back.
async fn refuse_while_stopping(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if api.stop.is_cancelled() {
        return Refusal::unavailable("Try again in a moment: the service is restarting.").into_response();
    }
    next.run(request).await
}

/// Bounds what a request takes until its answer begins; a body that drips in is part of it.
async fn within_time(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(api.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::unavailable("Try again in a moment: the request took too long.").into_response(),
    }
}
