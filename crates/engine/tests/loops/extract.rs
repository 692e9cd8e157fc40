use std::time::Duration;

use domain::*;

use crate::house::{House, Outcome, patiently};

fn busy() -> Failure {
    Failure::transient(FailureCode::DownloadFailed, "Try again later.").with_details("the host answered 503")
}

fn is_queued_after(attempts: u32) -> impl Fn(&Job) -> bool {
    move |job| matches!(job.state, JobState::Queued(_)) && job.attempts == attempts
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_three_times_with_waits_and_then_told() {
    let house = House::new().await;
    let job = house.submit().await;
    let extract = house.extract((0..3).map(|_| Outcome::Fails(busy())));
    house.job_until(&job, is_queued_after(1)).await;
    house.clock.turn(Duration::from_secs(2));
    let again = house.job_until(&job, is_queued_after(2)).await;
    assert!(again.state.percent().get() >= 50, "what was seen does not fall");
    house.clock.turn(Duration::from_secs(10));
    let failed = house.job_until(&job, |job| matches!(job.state, JobState::Failed(_))).await;
    let JobState::Failed(failed) = failed.state else { unreachable!("as waited for") };
    assert_eq!(failed.failure.details.as_deref(), Some("the host answered 503; tried 3 times"));
    extract.stop().await;
}

#[tokio::test]
async fn a_failure_that_stays_is_told_at_once() {
    let house = House::new().await;
    let job = house.submit().await;
    let failure =
        Failure::permanent(FailureCode::InvalidVideo, "Give a media file.").with_private("10.0.0.7");
    let extract = house.extract([Outcome::Fails(failure)]);
    let failed = house.job_until(&job, |job| matches!(job.state, JobState::Failed(_))).await;
    assert_eq!(failed.attempts, 1);
    let events = house.store.events_after(&house.key, 0, 10).await.expect("events");
    assert_eq!((events.len(), events[0].kind, events[0].sequence), (1, EventKind::Failed, Some(1)));
    assert!(!String::from_utf8_lossy(&events[0].body).contains("10.0.0.7"), "what is private stays so");
    assert_eq!(house.store.deliveries_of(&house.key, &job).await.expect("deliveries").len(), 1);
    extract.stop().await;
}

#[tokio::test]
async fn a_stop_hands_back_what_runs_and_gives_the_attempt_back() {
    let house = House::new().await;
    let job = house.submit().await;
    let extract = house.extract([Outcome::Hangs]);
    house.job_until(&job, |job| job.state.percent().get() >= 50).await;
    extract.stop().await;
    let job = house.job(&job).await;
    assert!(matches!(job.state, JobState::Queued(_)), "{job:?}");
    assert_eq!(job.attempts, 0);
    assert!(job.state.percent().get() >= 50, "what was seen does not fall");
}

#[tokio::test]
async fn what_was_handed_back_is_taken_at_once_by_a_node_whose_clock_is_behind() {
    let house = House::new().await;
    let job = house.submit().await;
    house.clock.turn(Duration::from_secs(3600));
    let ahead = house.extract([Outcome::Hangs]);
    house.job_until(&job, |job| job.state.percent().get() >= 50).await;
    ahead.stop().await;
    house.clock.turn_back(Duration::from_secs(3600));
    let behind = house.extract([Outcome::Makes(b"the audio")]);
    house.job_until(&job, |job| matches!(job.state, JobState::Completed(_))).await;
    behind.stop().await;
}

#[tokio::test]
async fn only_the_newest_lease_ends_a_job_and_a_lost_one_leaves_nothing() {
    let house = House::new().await;
    let job = house.submit().await;
    let slow = house.extract([Outcome::Hangs]);
    house.job_until(&job, |job| job.state.percent().get() >= 50).await;
    // As if the first node had been silent for too long: its lease is taken away, and another node takes the job.
    house.store.release_everything().await.expect("released");
    house.sweeper().leases().await.expect("swept");
    slow.stop().await;
    let quick = house.extract([Outcome::Makes(b"the audio")]);
    let done = house.job_until(&job, |job| matches!(job.state, JobState::Completed(_))).await;
    let JobState::Completed(done) = done.state else { unreachable!("as waited for") };
    assert_eq!(done.result.location, format!("{job}/2/audio.mp3"), "made by the second lease");
    assert_eq!(house.files.head(&done.result.location).await.expect("the result"), 9);
    assert_eq!(house.store.events_after(&house.key, 0, 10).await.expect("events").len(), 1);
    quick.stop().await;
}

#[tokio::test]
async fn a_run_that_panics_lets_go_of_its_lease_and_the_job_is_tried_again() {
    let house = House::new().await;
    let job = house.submit().await;
    let extract = house.extract([Outcome::Panics, Outcome::Makes(b"the audio")]);
    let sweeper = house.sweeper();
    let done = patiently(async || {
        sweeper.leases().await.expect("swept");
        Some(house.job(&job).await).filter(|job| matches!(job.state, JobState::Completed(_)))
    })
    .await;
    assert_eq!(done.attempts, 2);
    extract.stop().await;
}
