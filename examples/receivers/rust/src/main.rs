//! Receives webhooks, and believes only those that audio-extract signed.
//!
//! ```sh
//! WEBHOOK_SECRET=whsec_… PORT=3000 cargo run
//! ```

use std::env;
use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;

async fn receive(
    State(webhook): State<Arc<Webhook>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    // The signature covers the bytes as they came, so the body is verified before it is parsed.
    if webhook.verify(&body, &headers).is_err() {
        return (StatusCode::BAD_REQUEST, "Not genuine");
    }
    let Ok(payload) = serde_json::from_slice::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "Not JSON");
    };

    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/event") {
        "job.completed" => {
            println!("Job {} completed", text("/jobId"));
            println!("Download: {}", text("/outputFile/url"));
        }
        "job.failed" => eprintln!("Job {} failed: {}", text("/jobId"), text("/error/message")),
        _ => {}
    }

    (StatusCode::OK, "Received")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let webhook = Arc::new(Webhook::new(&env::var("WEBHOOK_SECRET")?)?);
    let app = Router::new().route("/webhook", post(receive)).with_state(webhook);

    // PORT=0 takes a free port; the line below says which.
    let port: u16 = env::var("PORT").unwrap_or_else(|_| "3000".to_owned()).parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("Listening on port {}", listener.local_addr()?.port());
    axum::serve(listener, app).await?;
    Ok(())
}
