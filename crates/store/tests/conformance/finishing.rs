use domain::{Completed, Fetched, JobState, Lease, NodeId, Queued};
use store::{Ending, Finish};

use crate::on_both;
use crate::world::{LONG, MAX_ATTEMPTS, NONE, NOW, World, bytes, completed, draft, failed, job, progress};

async fn a_completed_job_has_its_state_its_event_and_its_delivery(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    let (ending, event) = (completed(&lease), draft());
    let delivery = domain::DeliveryId::from_random(bytes());
    let finish = world.store.finish_job(&lease, &ending, event.clone(), Some(delivery.clone()), NOW).await;
    assert_eq!(finish.expect("finished"), Finish::Finished { sequence: 1 });

    let Ending::Completed(expected) = ending else { unreachable!("it was completed") };
    let job = world.get(&lease).await;
    assert_eq!(job.state, JobState::Completed(expected));
    let events = world.store.events_after(&job.key, 0, 10).await.expect("read");
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0].id, &events[0].body, events[0].sequence), (&event.id, &event.body, Some(1)));
    assert_eq!((&events[0].job, events[0].created_at), (&job.id, NOW));
    let deliveries = world.store.deliveries_of(&job.key, &job.id).await.expect("read");
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].delivery.id, delivery);
    assert_eq!(deliveries[0].delivery.event, events[0]);
    assert_eq!(Some(&deliveries[0].delivery.url), job.spec.options.webhook.as_ref());
    assert_eq!(world.store.queue_depth().await.expect("read").deliveries_pending, 1);
}

async fn a_failed_job_keeps_how_far_it_came_and_has_no_delivery_unasked(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    assert!(world.store.save_progress(&lease, None, Fetched::default(), progress(42)).await.expect("saved"));
    let finish = world.store.finish_job(&lease, &failed(), draft(), None, NOW).await.expect("finished");
    assert_eq!(finish, Finish::Finished { sequence: 1 });
    let job = world.get(&lease).await;
    let (Ending::Failed(expected), JobState::Failed(found)) = (failed(), &job.state) else {
        panic!("it is {}", job.state.as_str());
    };
    assert_eq!((&found.failure, found.at, found.percent.get()), (&expected.failure, NOW, 42));
    assert_eq!(world.store.deliveries_of(&job.key, &job.id).await.expect("read"), []);
    assert_eq!(world.store.events_after(&job.key, 0, 10).await.expect("read").len(), 1);
}

/// Invariant 1: only the newest attempt's lease ends a run, and exactly one row changes.
async fn only_the_newest_lease_changes_a_job(world: World) {
    let key = world.key().await;
    let bystander = world.claimed(&key, LONG).await;
    let old = world.claimed(&key, NONE).await;
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    let new = world.claim(LONG).await;
    assert_eq!((&old.item.id, old.attempt, new.attempt), (&new.item.id, 1, 2));
    let (before, beside) = (world.get(&new).await, world.get(&bystander).await);

    let fenced = world.store.finish_job(&old, &completed(&old), draft(), None, NOW).await;
    assert_eq!(fenced.expect("answered"), Finish::Fenced);
    assert!(
        !world.store.save_progress(&old, None, Fetched::default(), progress(99)).await.expect("answered")
    );
    assert!(!world.store.release_job(&old, Queued::default(), NOW, true).await.expect("answered"));
    assert_eq!(world.get(&new).await, before, "a fenced lease changed the job");
    assert_eq!(
        world.store.events_after(&key, 0, 10).await.expect("read"),
        [],
        "a fenced lease made an event"
    );

    assert_eq!(world.complete(&new).await, 1);
    let after = world.get(&new).await;
    for stale in [&old, &new] {
        let again = world.store.finish_job(stale, &failed(), draft(), None, NOW).await;
        assert_eq!(again.expect("answered"), Finish::Fenced, "a job ended twice");
        assert!(
            !world
                .store
                .save_progress(stale, None, Fetched::default(), progress(99))
                .await
                .expect("answered")
        );
        assert!(!world.store.release_job(stale, Queued::default(), NOW, true).await.expect("answered"));
    }
    assert_eq!(world.get(&new).await, after);
    assert_eq!(world.get(&bystander).await, beside, "another job changed");
    assert_eq!(world.store.events_after(&key, 0, 10).await.expect("read").len(), 1);
}

async fn of_many_that_finish_one_lease_at_once_one_does(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, lease) = (world.store.clone(), lease.clone());
            tokio::spawn(async move {
                let ending = completed(&lease);
                store.finish_job(&lease, &ending, draft(), None, NOW).await.expect("answered")
            })
        })
        .collect();
    let mut finished = 0;
    for task in tasks {
        finished += usize::from(task.await.expect("a task") != Finish::Fenced);
    }
    assert_eq!(finished, 1);
    assert_eq!(world.store.events_after(&lease.item.key, 0, 10).await.expect("read").len(), 1);
}

/// Invariant 5: numbered without gaps, in the order in which they can be seen.
async fn events_are_gapless_and_appear_in_order_while_many_finish_at_once(world: World) {
    const JOBS: u64 = 40;
    let key = world.key().await;
    for _ in 0..JOBS {
        world.submit(&job(&key)).await;
    }
    let leases = world.store.claim_jobs(&world.node, JOBS as usize, LONG, NOW).await.expect("claimed");
    let watcher = {
        let (store, key) = (world.store.clone(), key.clone());
        tokio::spawn(async move {
            let mut seen = 0;
            while seen < JOBS {
                for event in store.events_after(&key, seen, 100).await.expect("read") {
                    assert_eq!(
                        event.sequence,
                        Some(seen + 1),
                        "a later event was seen before an earlier one"
                    );
                    seen += 1;
                }
            }
        })
    };
    let tasks: Vec<_> = leases
        .into_iter()
        .map(|lease: Lease<_>| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let finish = store.finish_job(&lease, &completed(&lease), draft(), None, NOW).await;
                match finish.expect("finished") {
                    Finish::Finished { sequence } => sequence,
                    Finish::Fenced => panic!("fenced"),
                }
            })
        })
        .collect();
    let mut sequences = Vec::new();
    for task in tasks {
        sequences.push(task.await.expect("a task"));
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=JOBS).collect::<Vec<_>>());
    watcher.await.expect("the watcher");
}

async fn a_finish_that_cannot_be_whole_is_not_at_all(world: World) {
    let key = world.key().await;
    let mut unwatched = job(&key);
    unwatched.spec.options.webhook = None;
    world.submit(&unwatched).await;
    let lease = world.claim(LONG).await;
    let delivery = Some(domain::DeliveryId::from_random(bytes()));
    let finish = world.store.finish_job(&lease, &completed(&lease), draft(), delivery, NOW).await;
    finish.expect_err("there is nobody to deliver to");
    assert_eq!(world.get(&lease).await, lease.item);
    let finish = world.store.finish_job(&lease, &completed(&lease), draft(), None, NOW).await;
    assert_eq!(finish.expect("finished"), Finish::Finished { sequence: 1 }, "a number was lost");
}

async fn a_spent_job_is_failed_by_who_claimed_it(world: World) {
    let key = world.key().await;
    let lost = world.claimed(&key, NONE).await;
    let node = NodeId::from_random(bytes());
    let spent = world.store.claim_spent_jobs(&node, 1, LONG, 10, NOW).await.expect("claimed").remove(0);
    let late = world.store.finish_job(&lost, &completed(&lost), draft(), None, NOW).await;
    assert_eq!(late.expect("answered"), Finish::Fenced, "the one that lost it still finished it");
    let finish = world.store.finish_job(&spent, &failed(), draft(), None, NOW).await.expect("finished");
    assert_eq!(finish, Finish::Finished { sequence: 1 });
    assert!(matches!(world.get(&spent).await.state, JobState::Failed(_)));
}

async fn a_lease_that_ran_out_unnoticed_still_finishes(world: World) {
    let lease = world.claimed(&world.key().await, NONE).await;
    world.complete(&lease).await;
    let state = world.get(&lease).await.state;
    assert!(matches!(state, JobState::Completed(Completed { .. })));
}

on_both! {
    a_completed_job_has_its_state_its_event_and_its_delivery
    a_failed_job_keeps_how_far_it_came_and_has_no_delivery_unasked
    only_the_newest_lease_changes_a_job
    of_many_that_finish_one_lease_at_once_one_does
    events_are_gapless_and_appear_in_order_while_many_finish_at_once
    a_finish_that_cannot_be_whole_is_not_at_all
    a_spent_job_is_failed_by_who_claimed_it
    a_lease_that_ran_out_unnoticed_still_finishes
}
