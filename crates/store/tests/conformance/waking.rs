use std::time::Duration;

use store::{ReplayFilter, Store};

use crate::on_both;
use crate::world::{LONG, NOW, World, job};

/// Long enough for the slowest machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

async fn a_submission_and_an_ending_wake_who_waits(world: World) {
    let key = world.key().await;
    let (mut jobs, mut deliveries) = (world.store.wakes(), world.store.wakes());
    world.submit(&job(&key)).await;
    tokio::time::timeout(PATIENCE, jobs.jobs()).await.expect("a hint of the job");
    let lease = world.claim(LONG).await;
    world.complete(&lease).await;
    tokio::time::timeout(PATIENCE, deliveries.deliveries()).await.expect("a hint of the delivery");
}

async fn another_process_is_woken_where_there_can_be_one(world: World) {
    if world.store.is_embedded() {
        return;
    }
    let other = Store::connect(&world.url, world.master_key.clone()).await.expect("connected");
    let mut wakes = other.wakes();
    let key = world.key().await;
    // Hints are sent until one is heard, because a listener that is not connected yet hears none.
    let heard = tokio::spawn(async move { wakes.jobs().await });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !heard.is_finished() {
        assert!(tokio::time::Instant::now() < deadline, "no hint came");
        world.submit(&job(&key)).await;
        tokio::task::yield_now().await;
    }
}

async fn asking_for_a_replay_wakes_who_waits(world: World) {
    let key = world.key().await;
    let mut wakes = world.store.wakes();
    world.store.start_replay(&key, &ReplayFilter::default(), NOW).await.expect("started");
    tokio::time::timeout(PATIENCE, wakes.replays()).await.expect("a hint of the replay");
}

on_both! {
    a_submission_and_an_ending_wake_who_waits
    asking_for_a_replay_wakes_who_waits
    another_process_is_woken_where_there_can_be_one
}
