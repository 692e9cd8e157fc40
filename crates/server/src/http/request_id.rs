//! A name for each request, what is logged of it, and what is counted.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

tokio::task_local! {
    static CURRENT: String;
}

/// The running request's id; outside of one, a dash.
pub(super) fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_else(|_| "-".to_owned())
}

/// Gives each request an id that its answer shows, and logs and counts it when its head is answered. Of the address
/// only the route is logged: queries and ids may be secrets.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let id = format!("req_{:016x}", u64::from_be_bytes(engine::random_id()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let began = Instant::now();
    let mut response = CURRENT.scope(id.clone(), next.run(request)).await;
    let took = began.elapsed();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    let status = response.status().as_u16();
    tracing::debug!(request = %id, %method, route, status, millis = took.as_millis(), "answered");
    let method = method_label(&method);
    metrics::counter!("audio_extract_http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("audio_extract_http_seconds", "method" => method, "route" => route)
        .record(took.as_secs_f64());
    response
}

/// A bounded set of labels: the method is the client's text.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}
