//! Webhooks that ask to be told while a job runs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::app::{Options, TestApp, json};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};
use crate::webhooks::{DELIVERIES, data};

const PIECES: usize = 16;

/// A host that gives a long sound piece by piece, with pauses, once the gate is open.
async fn slow_host(gate: Arc<Semaphore>) -> FileHost {
    let file = tokio::task::spawn_blocking(|| std::fs::read(testkit::samples::sample("sound.wav")));
    let file = Bytes::from(file.await.expect("the sample").expect("the sample"));
    let routes = Router::new().fallback(move || {
        let (gate, file) = (Arc::clone(&gate), file.clone());
        let pieces = futures_util::stream::unfold(file, move |mut rest| {
            let gate = Arc::clone(&gate);
            async move {
                drop(gate.acquire().await.expect("the gate"));
                tokio::time::sleep(Duration::from_millis(50)).await;
                let piece = rest.split_to(rest.len().min(1_152_078 / PIECES + 1));
                (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), rest))
            }
        });
        async move { Body::from_stream(pieces) }
    });
    FileHost::serving(routes).await
}

fn watched(host: &FileHost, receiver: &Receiver) -> Value {
    json!({
        "source": {"type": "url", "url": host.url("sound.wav")},
        "output": {"format": "flac"},
        "options": {
            "webhook": receiver.url(),
            "webhookEvents": ["job.started", "job.progress", "job.completed", "job.failed"],
            "metadata": {"order": "17"},
        },
    })
}

async fn app() -> TestApp {
    let options = Options::default()
        .with("PROGRESS_INTERVAL", "20ms")
        .with("WEBHOOK_LIVE_INTERVAL", "20ms")
        .with("WEBHOOK_LIVE_TIMEOUT", "1s")
        .with("WEBHOOK_TIMEOUT", "10m")
        .with("REQUEST_TIMEOUT", "11m");
    TestApp::start_with(options).await
}

fn fields(payload: &Value) -> Vec<&str> {
    let mut fields: Vec<_> = payload.as_object().expect("an object").keys().map(String::as_str).collect();
    fields.retain(|name| *name != "estimatedTimeRemaining");
    fields
}

async fn recorded(app: &TestApp, job: &str) -> Vec<Value> {
    let page = data(app.get(&format!("{DELIVERIES}?jobId={job}"))).await;
    let mut recorded = Vec::new();
    for item in page["items"].as_array().expect("items").iter().rev() {
        let path = format!("{DELIVERIES}/{}", item["id"].as_str().expect("an id"));
        recorded.push(data(app.get(&path)).await);
    }
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_told_of_start_progress_and_end_and_who_does_not_of_the_end_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let host = slow_host(Arc::clone(&gate)).await;
    let (mut receiver, mut other) = (Receiver::start().await, Receiver::start().await);
    let app = app().await;
    let job = app.submit(&watched(&host, &receiver)).await;
    let mut unasked = watched(&host, &other);
    unasked["options"].as_object_mut().expect("an object").remove("webhookEvents");
    let unasked = app.submit(&unasked).await;

    let started = receiver.next().await;
    started.verify();
    let payload = started.json();
    assert_eq!(fields(&payload), ["event", "jobId", "metadata", "status", "timestamp"]);
    assert_eq!((&payload["event"], &payload["status"]), (&json!("job.started"), &json!("processing")));
    assert_eq!((&payload["jobId"], &payload["metadata"]), (&json!(job), &json!({"order": "17"})));
    assert!(started.headers.get("webhook-sequence").is_none(), "it has no number");
    gate.add_permits(1);

    let (mut percents, mut ids) = (Vec::new(), vec![started.id().to_owned()]);
    let end = loop {
        let received = receiver.next().await;
        received.verify();
        ids.push(received.id().to_owned());
        let payload = received.json();
        if payload["event"] != "job.progress" {
            break received;
        }
        let expected = ["currentStep", "event", "jobId", "metadata", "progress", "status", "timestamp"];
        assert_eq!(fields(&payload), expected);
        percents.push(payload["progress"].as_u64().expect("a number"));
    };
    assert!(percents.len() >= 2 && percents.is_sorted(), "{percents:?}");
    assert_eq!((&end.json()["event"], end.header("webhook-attempt")), (&json!("job.completed"), "1"));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), percents.len() + 2, "each has an id of its own");
    app.wait_for_end(&unasked).await;
    assert_eq!(other.next().await.json()["event"], "job.completed");

    let all = recorded(&app, &job).await;
    assert_eq!(all.len(), ids.len(), "every one is on record");
    assert!(all.iter().all(|one| one["attempts"].as_array().expect("attempts").len() == 1));
    assert_eq!(all[0]["body"], started.json());
    assert_eq!((&all[0]["event"], &all[0]["sequence"]), (&json!("job.started"), &Value::Null));
    let path = format!("{DELIVERIES}/{}/replay", all[0]["id"].as_str().expect("an id"));
    let (status, answer) = json(app.request(Method::POST, &path)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_REQUEST")));
    let feed = data(app.get("/audio-extract/v1/events")).await;
    let feed: Vec<_> = feed["items"].as_array().expect("items").iter().map(|e| &e["sequence"]).collect();
    assert_eq!(feed, [&json!(1), &json!(2)], "only ends are numbered");
    assert_eq!(recorded(&app, &unasked).await.len(), 1);
    app.stop().await;
    assert!(receiver.rest().is_empty() && other.rest().is_empty(), "something came after the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_on_progress_gets_the_end_when_that_is_over_and_keeps_its_good_name() {
    let gate = Arc::new(Semaphore::new(0));
    let host = slow_host(Arc::clone(&gate)).await;
    let mut receiver = Receiver::answering([Answer::Status(200), Answer::Hang]).await;
    let app = app().await;
    let job = app.submit(&watched(&host, &receiver)).await;
    assert_eq!(receiver.next().await.json()["event"], "job.started");
    assert_eq!(receiver.next().await.json()["event"], "job.progress");
    gate.add_permits(1);
    app.wait_for_end(&job).await;
    let end = loop {
        let received = receiver.next().await;
        if received.json()["event"] != "job.progress" {
            break received;
        }
    };
    assert_eq!(end.json()["event"], "job.completed");
    let all = recorded(&app, &job).await;
    let hung = all.iter().find(|one| one["lastError"] == "timeout").expect("the attempt that hung");
    assert_eq!((&hung["event"], &hung["state"]), (&json!("job.progress"), &json!("exhausted")));
    assert_eq!(hung["attempts"].as_array().expect("attempts").len(), 1, "it is not tried again");
    let endpoint = &all[0]["endpoint"];
    assert_eq!((&endpoint["state"], &endpoint["failures"]), (&json!("healthy"), &json!(0)));
    app.stop().await;
    assert!(receiver.rest().is_empty(), "something came after the end");
}
