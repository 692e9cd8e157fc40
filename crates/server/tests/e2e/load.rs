//! Many jobs at once, in the order of their priority, on both databases.

use serde_json::{Value, json};

use crate::app::{Options, TestApp, json};
use crate::files::FileHost;
use crate::receiver::Receiver;

const JOBS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_jobs_complete_by_priority_on_sqlite() {
    two_hundred_jobs_complete_by_priority(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_jobs_complete_by_priority_on_postgresql() {
    let database = testkit::postgres().create_database();
    two_hundred_jobs_complete_by_priority(Options::default().with("DATABASE_URL", database)).await;
}

fn priority(index: usize) -> &'static str {
    ["low", "normal", "high"][index % 3]
}

async fn two_hundred_jobs_complete_by_priority(options: Options) {
    let host = FileHost::of(&["second.m4a"]).await;
    let mut receiver = Receiver::start().await;
    // While the queue is being filled no job is taken, so that all of them are there to be ordered.
    let mut app = TestApp::start_with(options.with("ROLE", "api")).await;
    let mut submitted = Vec::new();
    for index in 0..JOBS {
        let body = json!({
            "source": {"type": "url", "url": host.url("second.m4a")},
            "output": {"format": "wav"},
            "options": {"webhook": receiver.url(), "priority": priority(index)},
        });
        submitted.push(app.submit(&body).await);
    }
    app.become_role("all").await;
    let mut finished = Vec::new();
    for _ in 0..JOBS {
        let event = receiver.next().await;
        assert_eq!(event.json()["event"], "job.completed");
        finished.push((
            event.header("webhook-sequence").parse::<u64>().expect("a number"),
            job_of(&event.json()),
        ));
    }
    finished.sort();
    assert_eq!(
        finished.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(),
        (1..=JOBS as u64).collect::<Vec<_>>()
    );
    assert_order(&submitted, &finished.into_iter().map(|(_, job)| job).collect::<Vec<_>>());
    let (_, answer) = json(app.get(&format!("/audio-extract/v1/status/{}", submitted[0]))).await;
    assert_eq!(answer["data"]["status"], "completed");
    app.stop().await;
}

fn job_of(event: &Value) -> String {
    event["jobId"].as_str().expect("a job id").to_owned()
}

/// High before normal before low. Two workers finish side by side, so at each border one job may be out of place.
fn assert_order(submitted: &[String], finished: &[String]) {
    let rank = |job: &String| 2 - submitted.iter().position(|id| id == job).expect("one of ours") % 3;
    let ranks: Vec<usize> = finished.iter().map(rank).collect();
    let mut sorted = ranks.clone();
    sorted.sort_unstable();
    let misplaced = ranks.iter().zip(&sorted).filter(|(found, right)| found != right).count();
    assert!(misplaced <= 4, "{misplaced} jobs finished out of order: {ranks:?}");
}
