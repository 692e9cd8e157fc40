use std::collections::HashSet;

use domain::{Fetched, Job, JobState, KeyId, Lease, NodeId, Percent, Priority, Queued, Timestamp};

use store::Finish;

use crate::on_both;
use crate::world::{LONG, MAX_ATTEMPTS, NONE, NOW, World, bytes, completed, draft, job, progress, secs};

fn keys_of(leases: &[Lease<Job>]) -> Vec<KeyId> {
    leases.iter().map(|lease| lease.item.key.clone()).collect()
}

async fn a_claim_is_processing_and_leased(world: World) {
    let key = world.key().await;
    let lease = world.claimed(&key, LONG).await;
    assert_eq!((lease.attempt, lease.item.attempts), (1, 1));
    assert_eq!(lease.holder, world.node);
    assert!(matches!(&lease.item.state, JobState::Processing(p) if p.started_at == NOW));
    assert_eq!(world.get(&lease).await, lease.item, "the row is not what was leased");
    let again = world.store.claim_jobs(&world.node, 5, LONG, NOW).await.expect("claimed");
    assert!(again.is_empty(), "it was claimed twice");
}

async fn the_key_with_the_fewest_running_jobs_is_served_first(world: World) {
    let (busy, idle) = (world.key().await, world.key().await);
    for _ in 0..6 {
        world.submit(&job(&busy)).await;
    }
    world.claim(LONG).await;
    world.claim(LONG).await;
    for _ in 0..3 {
        world.submit(&Job { created_at: NOW.plus(secs(60)), ..job(&idle) }).await;
    }
    let leases = world.store.claim_jobs(&world.node, 3, LONG, NOW).await.expect("claimed");
    assert_eq!(keys_of(&leases)[..2], [idle.clone(), idle.clone()], "one that has none running waits");
}

async fn a_single_slot_goes_round_between_keys(world: World) {
    let keys = [world.key().await, world.key().await, world.key().await];
    for key in &keys {
        for _ in 0..3 {
            world.submit(&job(key)).await;
        }
    }
    let mut served = Vec::new();
    for _ in 0..9 {
        let lease = world.claim(LONG).await;
        world.complete(&lease).await;
        served.push(lease.item.key);
    }
    for round in served.chunks(3) {
        let served: HashSet<_> = round.iter().collect();
        assert_eq!(served.len(), 3, "a key was served twice in a round");
    }
}

async fn within_a_key_priority_comes_before_age(world: World) {
    let key = world.key().await;
    let mut expected = Vec::new();
    for priority in Priority::ALL {
        for age in [0, 1, 2] {
            let mut job = job(&key);
            job.spec.options.priority = priority;
            job.created_at = NOW.minus(secs(age));
            world.submit(&job).await;
            expected.push((job.spec.options.priority, job.created_at, job.id));
        }
    }
    expected.sort_by_key(|(priority, created_at, _)| (std::cmp::Reverse(*priority), *created_at));
    let leases = world.store.claim_jobs(&world.node, 9, LONG, NOW).await.expect("claimed");
    let claimed: Vec<_> = leases.into_iter().map(|lease| lease.item.id).collect();
    let expected: Vec<_> = expected.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(claimed, expected);
}

async fn the_next_job_is_due_when_a_claim_would_get_one(world: World) {
    let key = world.key().await;
    let due = async |now| world.store.next_job_due(now).await.expect("read");
    assert_eq!(due(NOW).await, None, "nothing waits");
    let lease = world.claimed(&key, LONG).await;
    assert_eq!(due(NOW).await, None, "what is leased does not wait");
    let later = NOW.plus(secs(60));
    let queued = Queued { percent: Percent::new(0) };
    assert!(world.store.release_job(&lease, queued, later, false).await.expect("released"));
    assert_eq!(due(NOW).await, Some(later), "it is due once it may be claimed");
    assert_eq!(world.store.claim_jobs(&world.node, 1, LONG, NOW).await.expect("claimed").len(), 0);
    assert_eq!(due(later).await, Some(later));
    world.submit(&job(&key)).await;
    assert_eq!(due(NOW).await, Some(NOW), "what may be claimed already hides behind what may not");
}

async fn many_nodes_never_claim_one_job_twice(world: World) {
    let keys = [world.key().await, world.key().await];
    for key in &keys {
        for _ in 0..20 {
            world.submit(&job(key)).await;
        }
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let node = NodeId::from_random(bytes());
                store.claim_jobs(&node, 5, LONG, NOW).await.expect("claimed")
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.expect("a task").into_iter().map(|lease| lease.item.id));
    }
    let distinct: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (40, 40));
}

async fn progress_never_falls_not_even_over_attempts(world: World) {
    let key = world.key().await;
    let percent = async |lease: &Lease<Job>| world.get(lease).await.state.percent().get();
    let lease = world.claimed(&key, LONG).await;
    for (saved, seen) in [(40, 40), (30, 40), (60, 60)] {
        assert!(
            world
                .store
                .save_progress(&lease, None, Fetched::default(), progress(saved))
                .await
                .expect("saved")
        );
        assert_eq!(percent(&lease).await, seen);
    }
    let queued = Queued { percent: Percent::new(10) };
    assert!(world.store.release_job(&lease, queued, NOW, false).await.expect("released"));
    assert_eq!(percent(&lease).await, 60, "it fell when it was handed back");
    let lease = world.claim(NONE).await;
    assert_eq!(lease.item.state.percent().get(), 60, "it fell when it was claimed");
    assert!(world.store.save_progress(&lease, None, Fetched::default(), progress(1)).await.expect("saved"));
    assert_eq!(percent(&lease).await, 60);
    assert!(world.store.save_progress(&lease, None, Fetched::default(), progress(70)).await.expect("saved"));
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    assert_eq!(percent(&lease).await, 70, "it fell when the lease ran out");
}

async fn what_is_known_of_the_source_stays(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    let input = domain::InputFile {
        name: "talk.mp4".to_owned(),
        size: Some(104_857_600),
        duration_secs: Some(120.1),
        format: "mp4".to_owned(),
    };
    assert!(
        world
            .store
            .save_progress(&lease, Some(&input), Fetched::default(), progress(1))
            .await
            .expect("saved")
    );
    assert!(world.store.save_progress(&lease, None, Fetched::default(), progress(2)).await.expect("saved"));
    assert_eq!(world.get(&lease).await.input, Some(input));
    assert!(matches!(world.get(&lease).await.state, JobState::Processing(p) if p.progress == progress(2)));
}

async fn what_was_fetched_adds_up_over_attempts(world: World) {
    let fetched = |bytes, requests| Fetched { bytes, requests };
    let mut lease = world.claimed(&world.key().await, LONG).await;
    assert!(world.store.save_progress(&lease, None, fetched(100, 1), progress(1)).await.expect("saved"));
    assert_eq!(world.get(&lease).await.fetched, fetched(100, 1), "while it runs");
    lease.item.fetched = fetched(5_000_000_000, 2);
    assert!(world.store.release_job(&lease, Queued::default(), NOW, false).await.expect("released"));
    assert_eq!(world.get(&lease).await.fetched, lease.item.fetched, "handed back");
    let again = world.claim(NONE).await;
    assert_eq!(again.item.fetched, lease.item.fetched, "claimed");
    let more = fetched(6_000_000_000, 7);
    assert!(world.store.save_progress(&again, None, more, progress(2)).await.expect("saved"));
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    assert_eq!(world.get(&again).await.fetched, more, "the lease ran out");
    let mut last = world.claim(LONG).await;
    last.item.fetched = fetched(6_000_000_001, 8);
    let ended = world.store.finish_job(&last, &completed(&last), draft(), None, NOW).await;
    assert!(matches!(ended, Ok(Finish::Finished { .. })));
    assert_eq!(world.get(&last).await.fetched, last.item.fetched, "finished");
}

async fn a_job_is_not_claimed_before_its_time(world: World) {
    let key = world.key().await;
    let lease = world.claimed(&key, LONG).await;
    let later = NOW.plus(secs(5));
    assert!(world.store.release_job(&lease, Queued::default(), later, false).await.expect("released"));
    let claim =
        async |now: Timestamp| world.store.claim_jobs(&world.node, 1, LONG, now).await.expect("claimed");
    assert!(claim(later.minus(secs(1))).await.is_empty());
    let lease = claim(later).await.remove(0);
    assert_eq!((lease.attempt, lease.item.attempts), (2, 2));
}

async fn a_graceful_hand_back_gives_the_attempt_back_but_not_the_fence(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    assert!(world.store.release_job(&lease, Queued::default(), NOW, true).await.expect("released"));
    let lease = world.claim(LONG).await;
    assert_eq!((lease.attempt, lease.item.attempts), (2, 1));
}

async fn a_heartbeat_names_what_was_lost(world: World) {
    let key = world.key().await;
    let kept = world.claimed(&key, LONG).await;
    let lost = world.claimed(&key, NONE).await;
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    let held = [(kept.item.id.clone(), kept.attempt), (lost.item.id.clone(), lost.attempt)];
    let missing = world.store.extend_jobs(&world.node, &held, LONG).await.expect("extended");
    assert_eq!(missing, std::slice::from_ref(&lost.item.id));
    let other = NodeId::from_random(bytes());
    let missing = world.store.extend_jobs(&other, &held[..1], LONG).await.expect("extended");
    assert_eq!(missing, std::slice::from_ref(&kept.item.id), "another node's lease was extended");
}

async fn a_heartbeat_saves_a_lease_that_would_run_out(world: World) {
    let lease = world.claimed(&world.key().await, NONE).await;
    let held = [(lease.item.id.clone(), lease.attempt)];
    assert!(world.store.extend_jobs(&world.node, &held, LONG).await.expect("extended").is_empty());
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 0);
}

async fn a_job_that_is_lost_three_times_is_spent(world: World) {
    let key = world.key().await;
    world.submit(&job(&key)).await;
    for attempt in 1..=MAX_ATTEMPTS {
        let lease = world.claim(NONE).await;
        assert_eq!(lease.attempt, attempt);
        let released = world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released");
        assert_eq!(released, u64::from(attempt < MAX_ATTEMPTS), "attempt {attempt}");
    }
    let claim = async || {
        let claimed = world.store.claim_spent_jobs(&world.node, MAX_ATTEMPTS, LONG, 10, NOW).await;
        claimed.expect("claimed")
    };
    let mut spent = claim().await;
    assert_eq!(spent.len(), 1);
    assert!(claim().await.is_empty(), "it was claimed twice");
    let lease = spent.remove(0);
    assert_eq!((lease.attempt, lease.item.attempts), (MAX_ATTEMPTS + 1, MAX_ATTEMPTS));
    assert!(matches!(lease.item.state, JobState::Processing(_)));
}

async fn at_the_start_of_an_embedded_service_every_lease_has_run_out(world: World) {
    let key = world.key().await;
    let finished = world.claimed(&key, LONG).await;
    world.complete(&finished).await;
    let running = world.claimed(&key, LONG).await;
    let sending = world.send(1, LONG, NOW).await;
    assert_eq!(sending.len(), 1);
    world.store.release_everything().await.expect("released");
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    assert_eq!(world.claim(LONG).await.item.id, running.item.id);
    let sending = world.send(1, LONG, NOW).await;
    assert_eq!(sending[0].attempt, 2);
}

on_both! {
    a_claim_is_processing_and_leased
    the_key_with_the_fewest_running_jobs_is_served_first
    a_single_slot_goes_round_between_keys
    within_a_key_priority_comes_before_age
    the_next_job_is_due_when_a_claim_would_get_one
    many_nodes_never_claim_one_job_twice
    progress_never_falls_not_even_over_attempts
    what_is_known_of_the_source_stays
    what_was_fetched_adds_up_over_attempts
    a_job_is_not_claimed_before_its_time
    a_graceful_hand_back_gives_the_attempt_back_but_not_the_fence
    a_heartbeat_names_what_was_lost
    a_heartbeat_saves_a_lease_that_would_run_out
    a_job_that_is_lost_three_times_is_spent
    at_the_start_of_an_embedded_service_every_lease_has_run_out
}
