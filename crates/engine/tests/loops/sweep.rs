use std::time::Duration;

use domain::*;
use sqlx::Connection as _;

use crate::house::{House, MARGIN, Outcome, RETENTION, circuit};

const HOUR: Duration = Duration::from_secs(3600);

async fn completed(house: &House) -> (JobId, Completed) {
    let id = house.submit().await;
    let extract = house.extract([Outcome::Makes(b"the audio")]);
    let job = house.job_until(&id, |job| matches!(job.state, JobState::Completed(_))).await;
    extract.stop().await;
    let JobState::Completed(done) = job.state else { unreachable!("as waited for") };
    (id, done)
}

async fn expires_at(house: &House, job: &JobId) -> Timestamp {
    let JobState::Completed(done) = house.job(job).await.state else { panic!("it was completed") };
    done.expires_at
}

#[tokio::test]
async fn an_announced_result_is_readable_until_its_expiry_which_only_moves_later() {
    let house = House::new().await;
    let (job, done) = completed(&house).await;
    let sweeper = house.sweeper();
    let (mut announced, mut moved) = (done.expires_at, 0);
    assert_eq!(announced, done.at.plus(RETENTION));
    // Its event is never delivered: hour by hour the result is kept, for 80 hours and no longer.
    while house.clock.now() < done.at.plus(80 * HOUR) {
        house.clock.turn(HOUR / 2);
        sweeper.retention().await.expect("swept");
        let expires = expires_at(&house, &job).await;
        assert!(expires >= announced, "the expiry moved earlier");
        moved += u32::from(expires > announced);
        announced = expires;
        if house.clock.now() < announced {
            assert_eq!(house.files.head(&done.result.location).await.expect("the file is there"), 9);
        }
    }
    assert!(moved > 0, "an undelivered result is kept beyond its retention");
    assert_eq!(announced, done.at.plus(80 * HOUR));
    assert!(house.files.head(&done.result.location).await.is_err(), "the file is gone after 80 hours");
}

#[tokio::test]
async fn a_result_that_is_delivered_late_is_there_for_the_whole_margin_whenever_that_is() {
    let house = House::new().await;
    let (job, done) = completed(&house).await;
    let every = Duration::from_secs(60);
    let sweeper = house.sweeper_every(every);
    while house.clock.now() < done.at.plus(RETENTION + MARGIN) {
        sweeper.retention().await.expect("swept");
        // Just before the next sweep, which began a little late.
        house.clock.turn(every + every / 2);
        let left = expires_at(&house, &job).await.since(house.clock.now());
        assert!(left >= MARGIN, "delivered now, it is there for {left:?}");
        house.clock.turn(HOUR);
    }
}

#[tokio::test]
async fn files_that_went_before_their_rows_were_marked_are_marked_by_the_next_sweep() {
    let house = House::new().await;
    let (job, done) = completed(&house).await;
    house.clock.turn(81 * HOUR);
    let take = async || house.store.take_expired(house.clock.now(), 80 * HOUR, 10).await.expect("taken");
    // As a kill between the two leaves it.
    assert_eq!(take().await, std::slice::from_ref(&job));
    house.files.delete_prefix(job.as_str()).await.expect("deleted");
    assert_eq!(take().await, [job], "it is taken again");
    house.sweeper().retention().await.expect("swept");
    assert_eq!(take().await, []);
    assert!(house.files.head(&done.result.location).await.is_err(), "the file is gone");
}

#[tokio::test]
async fn a_lost_job_that_cannot_be_ended_keeps_no_other_from_its_end() {
    let house = House::new().await;
    let (broken, sound) = (house.submit().await, house.submit().await);
    let node = NodeId::from_random([9; 8]);
    for _ in 0..3 {
        let leases = house.store.claim_jobs(&node, 2, Duration::ZERO, house.clock.now()).await;
        assert_eq!(leases.expect("claimed").len(), 2);
        house.store.release_expired_jobs(3).await.expect("released");
    }
    let rows = format!("sqlite:{}", house.folder.path().join("rows.db").display());
    let mut rows = sqlx::SqliteConnection::connect(&rows).await.expect("the file");
    let breaking = format!(
        "CREATE TRIGGER broken BEFORE INSERT ON events WHEN NEW.job_id = '{broken}' \
         BEGIN SELECT RAISE(ABORT, 'broken'); END"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(breaking)).execute(&mut rows).await.expect("a trigger");
    house.sweeper().leases().await.expect("swept");
    assert!(matches!(house.job(&sound).await.state, JobState::Failed(_)));
    assert!(matches!(house.job(&broken).await.state, JobState::Processing(_)), "it is tried again later");
}

#[tokio::test]
async fn rows_of_ended_jobs_go_after_their_time() {
    let house = House::new().await;
    let id = house.submit().await;
    let failure = Failure::permanent(FailureCode::InvalidVideo, "Give a media file.");
    let extract = house.extract([Outcome::Fails(failure)]);
    house.job_until(&id, |job| matches!(job.state, JobState::Failed(_))).await;
    extract.stop().await;
    let sweeper = house.sweeper();
    sweeper.retention().await.expect("swept");
    house.clock.turn(29 * 24 * HOUR);
    sweeper.retention().await.expect("swept");
    house.job(&id).await;
    let lease = Duration::from_secs(1);
    let node = NodeId::from_random([9; 8]);
    let due = house.store.due_endpoints(house.clock.now(), 10, None).await.expect("looked up");
    for endpoint in due.endpoints {
        let claimed = house.store.claim_deliveries(&node, &endpoint, 10, lease, house.clock.now()).await;
        for delivery in claimed.expect("claimed") {
            let outcome = SendOutcome::answered(200);
            let attempt =
                DeliveryAttempt { number: delivery.attempt, started_at: house.clock.now(), outcome };
            let ended = [(delivery, attempt, store::Next::Delivered, EndpointVerdict::Succeeded)];
            assert_eq!(
                house.store.record_attempts(&ended, &circuit(), house.clock.now()).await.expect("recorded"),
                [true]
            );
        }
    }
    house.clock.turn(2 * 24 * HOUR);
    sweeper.retention().await.expect("swept");
    assert!(house.store.job(&house.key, &id).await.expect("a store").is_none(), "its row is gone");
}
