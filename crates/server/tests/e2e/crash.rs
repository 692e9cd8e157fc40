//! `kill -9` of the service, and what is left of a job: everything.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::app::{Options, TestApp};
use crate::files::FileHost;
use crate::receiver::{Answer, Receiver};

const SAMPLE: &str = "faststart.mp4";

fn body(source: &str, webhook: &str) -> Value {
    json!({
        "source": {"type": "url", "url": source},
        "output": {"format": "flac"},
        "options": {"webhook": webhook},
    })
}

async fn app() -> TestApp {
    TestApp::start_with(Options::default().with("WEBHOOK_RETRY_WAITS", "1s,1s,1s,1s,1s,1s,1s,1s,1s")).await
}

/// The event that must arrive in the end, genuine, and naming a file that is there.
async fn completes(app: &TestApp, job: &str, receiver: &mut Receiver) -> String {
    let event = receiver.next().await;
    event.verify();
    assert_eq!((&event.json()["jobId"], &event.json()["event"]), (&json!(job), &json!("job.completed")));
    assert_eq!(app.status(job).await["status"], "completed");
    assert_eq!(event.json()["outputFile"]["size"], app.download(job).await.len());
    event.id().to_owned()
}

/// A host that gives a part of the file, and the rest only when a permit is there.
async fn slow_host(gate: Arc<Semaphore>) -> FileHost {
    let file = std::fs::read(testkit::samples::sample(SAMPLE)).expect("the sample");
    let routes = Router::new().fallback(move || {
        let (gate, file) = (Arc::clone(&gate), file.clone());
        async move {
            let (head, tail) = file.split_at(file.len() / 2);
            let (head, tail) = (head.to_vec(), tail.to_vec());
            let length = head.len() + tail.len();
            let pieces = futures_util::stream::unfold(0, move |piece| {
                let (gate, head, tail) = (Arc::clone(&gate), head.clone(), tail.clone());
                async move {
                    match piece {
                        0 => Some((Ok::<_, std::io::Error>(head), 1)),
                        1 => {
                            gate.acquire().await.expect("the gate").forget();
                            Some((Ok(tail), 2))
                        }
                        _ => None,
                    }
                }
            });
            ([(header::CONTENT_LENGTH, length)], axum::body::Body::from_stream(pieces)).into_response()
        }
    });
    FileHost::serving(routes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_an_extraction_the_job_completes_after_the_restart() {
    let gate = Arc::new(Semaphore::new(0));
    let host = slow_host(Arc::clone(&gate)).await;
    let mut receiver = Receiver::start().await;
    let mut app = app().await;
    let job = app.submit(&body(&host.url(SAMPLE), &receiver.url())).await;
    app.wait_until(&job, |status| status["status"] == "processing").await;
    app.kill_9();
    gate.add_permits(10);
    app.restart().await;
    completes(&app, &job, &mut receiver).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_completion_and_delivery_the_event_arrives_after_the_restart() {
    let host = FileHost::of(&[SAMPLE]).await;
    let receiver = Receiver::start().await;
    let (url, address) = (receiver.url(), receiver.address());
    // Nobody listens there until the service has been killed.
    drop(receiver);
    let mut app = app().await;
    let job = app.submit(&body(&host.url(SAMPLE), &url)).await;
    app.wait_for_end(&job).await;
    app.kill_9();
    let mut receiver = Receiver::on(address, []).await;
    app.restart().await;
    completes(&app, &job, &mut receiver).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_delivery_it_is_made_again_with_the_same_id() {
    let host = FileHost::of(&[SAMPLE]).await;
    let mut receiver = Receiver::answering([Answer::Hang, Answer::Status(503)]).await;
    let mut app = app().await;
    let job = app.submit(&body(&host.url(SAMPLE), &receiver.url())).await;
    let unanswered = receiver.next().await;
    app.kill_9();
    app.restart().await;
    let refused = receiver.next().await;
    assert_eq!((refused.id(), &refused.body), (unanswered.id(), &unanswered.body));
    let id = completes(&app, &job, &mut receiver).await;
    assert_eq!(id, unanswered.id());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_cut_off_at_every_attempt_fails_and_says_so() {
    let host = slow_host(Arc::new(Semaphore::new(0))).await;
    let mut receiver = Receiver::start().await;
    let mut app = app().await;
    let job = app.submit(&body(&host.url(SAMPLE), &receiver.url())).await;
    for _ in 0..3 {
        app.wait_until(&job, |status| status["status"] == "processing").await;
        app.kill_9();
        app.restart().await;
    }
    let event = receiver.next().await;
    event.verify();
    assert_eq!(event.json()["error"]["code"], "EXTRACTION_FAILED");
    assert!(
        event.json()["error"]["details"].as_str().expect("details").contains("3 times"),
        "{}",
        event.json()
    );
    assert_eq!(app.status(&job).await["status"], "failed");
    app.stop().await;
}
