//! For the operator: whether the process lives, whether it can serve, and how much it does.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::refusal::Refusal;
use super::{Api, json};

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// `GET /livez`: the process answers. It asks nothing of the database: restarting does not mend that.
pub(super) async fn live() -> Response {
    json(StatusCode::OK, wire::error::success(Health { status: "live" }))
}

/// `GET /readyz`: the database and the file store answer, and the service is not stopping.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    if api.stop.is_cancelled() {
        return Err(Refusal::unavailable("Send traffic elsewhere: the service is stopping."));
    }
    let (rows, files) = tokio::join!(api.store.ping(), api.files.ping());
    for (part, outcome) in [("the database", rows), ("the file store", files)] {
        if let Err(cause) = outcome {
            tracing::warn!(%cause, "not ready");
            return Err(Refusal::unavailable("Send traffic elsewhere until this part is back.")
                .with_details(format!("{part} does not answer; the log says why")));
        }
    }
    Ok(json(StatusCode::OK, wire::error::success(Health { status: "ready" })))
}

/// `GET /metrics`, in the text format of Prometheus. The queue is counted when it is asked for.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    match api.store.queue_depth().await {
        Ok(depth) => {
            metrics::gauge!("audio_extract_jobs_queued").set(depth.queued as f64);
            metrics::gauge!("audio_extract_jobs_processing").set(depth.processing as f64);
            metrics::gauge!("audio_extract_deliveries_pending").set(depth.deliveries_pending as f64);
        }
        Err(cause) => tracing::warn!(%cause, "the queue could not be counted"),
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], api.metrics.render()).into_response()
}
