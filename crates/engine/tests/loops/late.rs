//! What becomes of deliveries that were claimed and cannot be sent in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::*;
use sqlx::Connection as _;

use crate::deliver::{ScriptedReceiver, completed};
use crate::house::{House, Outcome, patiently};

/// Another connection to the house's rows.
async fn rows(house: &House) -> sqlx::SqliteConnection {
    let url = format!("sqlite:{}", house.folder.path().join("rows.db").display());
    sqlx::SqliteConnection::connect(&url).await.expect("the file")
}

async fn run(rows: &mut sqlx::SqliteConnection, text: &'static str) {
    sqlx::raw_sql(text).execute(rows).await.expect(text);
}

/// The one delivery of a job.
async fn recorded(house: &House, job: &JobId) -> store::RecordedDelivery {
    house.store.deliveries_of(&house.key, job).await.expect("deliveries").remove(0)
}

#[tokio::test]
async fn a_live_event_that_the_store_was_slow_to_claim_is_dropped() {
    let house = House::new().await;
    let job =
        house.submit_with(r#"{"webhook":"https://hooks.example/","webhookEvents":["job.started"]}"#).await;
    let extract = house.extract([Outcome::Hangs]);
    patiently(async || {
        let announced = house.store.deliveries_of(&house.key, &job).await.expect("deliveries");
        (announced.len() == 1).then_some(())
    })
    .await;
    let receiver = ScriptedReceiver::answering([]);
    let mut writer = rows(&house).await;
    run(&mut writer, "BEGIN IMMEDIATE").await;
    let live_timeout = Duration::from_secs(1);
    let deliver = house.deliver_with(receiver.clone(), |config| config.live_timeout = live_timeout);
    // Its claim waits for longer than it may itself wait.
    tokio::time::sleep(live_timeout * 2).await;
    run(&mut writer, "COMMIT").await;
    let is_over =
        async || Some(recorded(&house, &job).await).filter(|one| one.state != DeliveryState::Pending);
    let over = patiently(is_over).await;
    deliver.stop().await;
    extract.stop().await;
    assert_eq!(receiver.seen(), [], "it was sent");
    assert_eq!(over.attempts[0].outcome.disposition(), Disposition::NotSent);
}

#[tokio::test]
async fn a_delivery_that_waited_too_long_for_its_turn_is_claimed_again_and_no_attempt_of_it_recorded() {
    let house = House::new().await;
    let job = completed(&house).await;
    let receiver = ScriptedReceiver::answering([]);
    let mut writer = rows(&house).await;
    run(&mut writer, "BEGIN IMMEDIATE").await;
    let patience = Duration::from_secs(2);
    let deliver = house.deliver_with(receiver.clone(), |config| config.lease = patience * 2);
    tokio::time::sleep(patience + Duration::from_millis(500)).await;
    run(&mut writer, "COMMIT").await;
    let is_over =
        async || Some(recorded(&house, &job).await).filter(|one| one.state != DeliveryState::Pending);
    let over = patiently(is_over).await;
    deliver.stop().await;
    let attempts: Vec<_> = receiver.seen().into_iter().map(|(_, attempt, _)| attempt).collect();
    assert_eq!((attempts, over.attempts.len()), (vec![1], 1), "{:?}", over.attempts);
}

#[tokio::test]
async fn a_delivery_whose_signing_keys_cannot_be_read_is_put_off_and_no_attempt_of_it_recorded() {
    let house = House::new().await;
    let job = completed(&house).await;
    let mut rows = rows(&house).await;
    run(&mut rows, "CREATE TABLE kept AS SELECT sealed FROM signing_secrets").await;
    run(&mut rows, "UPDATE signing_secrets SET sealed = x'00'").await;
    let receiver = ScriptedReceiver::answering([]);
    let deliver = house.deliver(receiver.clone());
    let due = house.clock.now().plus(Duration::from_secs(5));
    patiently(async || (recorded(&house, &job).await.next_at == Some(due)).then_some(())).await;
    assert_eq!(receiver.seen(), []);
    run(&mut rows, "UPDATE signing_secrets SET sealed = (SELECT sealed FROM kept)").await;
    house.clock.turn(Duration::from_secs(5));
    let is_over =
        async || Some(recorded(&house, &job).await).filter(|one| one.state != DeliveryState::Pending);
    let over = patiently(is_over).await;
    deliver.stop().await;
    assert_eq!((over.state, over.attempts.len()), (DeliveryState::Delivered, 1), "{:?}", over.attempts);
}

/// Panics at the first attempt.
#[derive(Default)]
struct PanicsOnce(AtomicUsize);

impl Notifier for PanicsOnce {
    fn send<'a>(&'a self, _: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async {
            assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "as the script has it");
            SendOutcome::answered(200)
        })
    }
}

#[tokio::test]
async fn an_attempt_that_panics_leaves_its_slot_and_is_made_again_when_its_lease_has_run_out() {
    let house = House::new().await;
    let job = completed(&house).await;
    let deliver = house.deliver_with(Arc::new(PanicsOnce::default()), |config| {
        (config.slots, config.lease) = (1, Duration::from_secs(2));
    });
    let is_delivered =
        async || Some(recorded(&house, &job).await).filter(|one| one.state == DeliveryState::Delivered);
    let delivered = patiently(is_delivered).await;
    deliver.stop().await;
    let dispositions: Vec<_> =
        delivered.attempts.iter().map(|attempt| attempt.outcome.disposition()).collect();
    assert_eq!(dispositions, [Disposition::MaybeDelivered, Disposition::Delivered]);
}
