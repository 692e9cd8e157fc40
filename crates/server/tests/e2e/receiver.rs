//! Somebody's webhook endpoint: keeps what it gets, and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::app::{PATIENCE, WEBHOOK_SECRET};

/// One POST as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("the header {name} is missing"));
        value.to_str().expect("a text")
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Checks the signature with the published library, and the headers with the published document.
    pub(crate) fn verify(&self) {
        let webhook = standardwebhooks::Webhook::new(WEBHOOK_SECRET).expect("a secret");
        webhook.verify(&self.body, &self.headers).expect("a genuine webhook");
        let document: Value = serde_json::from_str(include_str!("../../openapi.json")).expect("JSON");
        let event = &document["webhooks"][self.json()["event"].as_str().expect("a text")]["post"];
        let described = event["parameters"].as_array().expect("headers");
        for header in described.iter().filter(|header| header["required"] == true) {
            self.header(header["name"].as_str().expect("a name"));
        }
        for name in self.headers.keys().filter(|name| name.as_str().starts_with("webhook-")) {
            assert!(
                described.iter().any(|header| header["name"] == name.as_str()),
                "{name} is described nowhere"
            );
        }
    }
}

/// What the endpoint does with the next POST.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// Takes the request and never answers.
    Hang,
}

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    received: mpsc::UnboundedSender<Received>,
}

pub(crate) struct Receiver {
    address: SocketAddr,
    script: Arc<Script>,
    received: mpsc::UnboundedReceiver<Received>,
    server: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub(crate) async fn start() -> Self {
        Self::answering([]).await
    }

    /// Answers as told, then 200.
    pub(crate) async fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)), answers).await
    }

    /// The same at an address that was taken before.
    pub(crate) async fn on(address: SocketAddr, answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, received) = mpsc::unbounded_channel();
        let script =
            Arc::new(Script { answers: Mutex::new(answers.into_iter().collect()), received: sender });
        let routes = Router::new().fallback(take).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { address, script, received, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next POST like this.
    pub(crate) fn will(&self, answer: Answer) {
        self.script.answers.lock().expect("the script").push_back(answer);
    }

    /// The next POST.
    pub(crate) async fn next(&mut self) -> Received {
        let received = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        received.expect("a webhook in time").expect("the receiver runs")
    }

    /// What has come and was not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = script.answers.lock().expect("the script").pop_front().unwrap_or(Answer::Status(200));
    // The test may have ended.
    let _ = script.received.send(Received { headers, body });
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status"),
        Answer::Hang => std::future::pending().await,
    }
}
