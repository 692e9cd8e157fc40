use std::time::Duration;

use domain::{EndpointVerdict, Job, JobState, Lease, Timestamp};
use store::{Idempotency, Next, ReplayFilter, Replayed, Submission, Submitted};

use crate::delivering::answered;
use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NOW, World, draft, failed, job, secs};

const HOUR: Duration = Duration::from_secs(3600);
/// How long an undelivered result is kept at most.
const AT_MOST: Duration = Duration::from_secs(80 * 3600);

fn hours(hours: u32) -> Timestamp {
    NOW.plus(HOUR * hours)
}

impl World {
    async fn take(&self, now: Timestamp) -> Vec<domain::JobId> {
        self.store.take_expired(now, AT_MOST, 10).await.expect("taken")
    }

    /// A job that was completed at `NOW` and expires 24 hours later, with its event on its way.
    async fn undelivered(&self) -> Lease<Job> {
        let lease = self.claimed(&self.key().await, LONG).await;
        self.complete(&lease).await;
        lease
    }

    async fn expires_at(&self, lease: &Lease<Job>) -> Timestamp {
        match self.get(lease).await.state {
            JobState::Completed(completed) => completed.expires_at,
            state => panic!("it is {}", state.as_str()),
        }
    }

    async fn deliver(&self) {
        let lease = self.send(1, LONG, NOW).await.remove(0);
        let outcome = domain::SendOutcome::answered(200);
        let attempt = domain::DeliveryAttempt { number: 1, started_at: NOW, outcome };
        let group = [(lease, attempt, Next::Delivered, EndpointVerdict::Succeeded)];
        let recorded = self.store.record_attempts(&group, &NEVER_OPENS, NOW).await;
        assert_eq!(recorded.expect("recorded"), [true]);
    }
}

/// Invariant 8: an expiry only ever moves later, and that of an undelivered result does, up to a bound.
async fn an_undelivered_result_is_kept_longer_up_to_a_bound(world: World) {
    let lease = world.undelivered().await;
    for (now, expires_at) in [
        (hours(1), hours(24)),
        (hours(22), hours(24)),
        (hours(23), hours(24)),
        (hours(24), hours(25)),
        (hours(40), hours(41)),
        (hours(30), hours(41)),
        (hours(79), hours(80)),
        (hours(90), hours(80)),
    ] {
        world.store.keep_undelivered(now, HOUR, AT_MOST).await.expect("kept");
        assert_eq!(world.expires_at(&lease).await, expires_at, "at {now:?}");
    }
    assert_eq!(world.take(hours(79)).await, []);
    assert_eq!(world.take(hours(80)).await, [lease.item.id]);
}

async fn a_delivered_result_expires_when_it_was_said_to(world: World) {
    let lease = world.undelivered().await;
    world.deliver().await;
    assert_eq!(world.store.keep_undelivered(hours(24), HOUR, AT_MOST).await.expect("kept"), 0);
    assert_eq!(world.expires_at(&lease).await, hours(24));
    let before = Timestamp::from_millis(hours(24).as_millis() - 1);
    assert_eq!(world.take(before).await, []);
    assert_eq!(world.take(hours(24)).await, [lease.item.id]);
}

async fn what_was_swept_is_swept_once_and_not_kept(world: World) {
    let lease = world.undelivered().await;
    world.deliver().await;
    let expired = world.take(hours(24)).await;
    assert_eq!(world.take(hours(24)).await, expired, "what a crash left in between is taken again");
    world.store.mark_swept(&expired).await.expect("marked");
    assert_eq!(world.take(hours(99)).await, []);
    assert_eq!(world.store.keep_undelivered(hours(24), HOUR, AT_MOST).await.expect("kept"), 0);
    assert_eq!(world.expires_at(&lease).await, hours(24));
}

async fn a_replay_finds_a_result_either_kept_or_gone(world: World) {
    let (early, late) = (world.undelivered().await, world.undelivered().await);
    world.deliver().await;
    world.deliver().await;
    let replay = async |lease: &Lease<Job>| {
        let deliveries = world.store.deliveries_of(&lease.item.key, &lease.item.id).await.expect("read");
        world.store.replay(&lease.item.key, &deliveries[0].delivery.id, hours(24)).await.expect("replayed")
            == Replayed::Waiting
    };
    assert!(replay(&early).await);
    assert_eq!(
        world.take(hours(24)).await,
        std::slice::from_ref(&late.item.id),
        "the other waits to be kept"
    );
    assert!(replay(&late).await);
    assert_eq!(world.store.keep_undelivered(hours(24), HOUR, AT_MOST).await.expect("kept"), 1);
    assert_eq!(world.expires_at(&early).await, hours(25));
    let mut sent = world.send(2, LONG, hours(24)).await;
    sent.sort_by_key(|delivery| delivery.item.event.job == late.item.id);
    assert_eq!(sent[0].item.file_until, Some(hours(25)));
    assert!(sent[1].item.file_until < Some(NOW), "it is said before the files are deleted");
}

async fn what_is_claimed_up_to_the_bound_is_kept_and_stays_gone_once_it_is(world: World) {
    let lease = world.undelivered().await;
    let claimed = world.send(1, LONG, NOW).await;
    let last = Timestamp::from_millis(hours(80).as_millis() - 1);
    let keep = async |now| {
        let mut claimed = claimed.clone();
        world.store.keep_claimed(&mut claimed, now, HOUR, AT_MOST).await.expect("kept");
        (claimed[0].item.file_until.expect("it names one"), world.expires_at(&lease).await)
    };
    for (now, kept) in
        [(hours(22), hours(24)), (hours(24), hours(25)), (hours(78), hours(79)), (last, last.plus(HOUR))]
    {
        assert_eq!(keep(now).await, (kept, kept), "at {now:?}");
    }
    let kept = last.plus(HOUR);
    assert_eq!(keep(hours(30)).await, (kept, kept), "an expiry moved earlier");
    assert_eq!(keep(hours(80)).await, (kept, kept), "it was kept for ever");
    assert_eq!(world.store.keep_undelivered(hours(80), HOUR, AT_MOST).await.expect("kept"), 0);
    assert_eq!(world.take(last.plus(HOUR / 2)).await, [], "it is there as long as was said");
    assert_eq!(world.take(kept).await, std::slice::from_ref(&lease.item.id));
    let (told, expires_at) = keep(hours(79)).await;
    assert!(told < NOW && expires_at == kept, "what is being deleted was kept");
}

async fn what_a_failed_job_left_may_go_at_once_and_what_runs_stays(world: World) {
    let key = world.key().await;
    let running = world.claimed(&key, LONG).await;
    let lease = world.claimed(&key, LONG).await;
    world.store.finish_job(&lease, &failed(), draft(), None, NOW).await.expect("finished");
    world.submit(&job(&key)).await;
    assert_eq!(world.take(NOW).await, [lease.item.id]);
    assert!(matches!(world.get(&running).await.state, JobState::Processing(_)));
}

/// Fails if there is an attempt whose delivery is gone, which nothing else would ever show.
const NO_ATTEMPT_ALONE: &str = "CREATE TABLE alone (attempts BIGINT NOT NULL CHECK (attempts = 0)); \
    INSERT INTO alone SELECT COUNT(*) FROM delivery_attempts WHERE delivery_id NOT IN (SELECT id FROM deliveries);";

async fn only_old_swept_and_delivered_jobs_are_trimmed_with_all_that_is_theirs(world: World) {
    let (old, kept) = (world.undelivered().await, world.undelivered().await);
    let rows = HOUR * 100;
    let trim = async |now| world.store.trim(now, rows).await.expect("trimmed");
    let mark = async |lease: &Lease<Job>| {
        world.store.mark_swept(std::slice::from_ref(&lease.item.id)).await.expect("marked")
    };
    assert_eq!(trim(hours(1000)).await, 0, "its files are still there");
    mark(&old).await;
    assert_eq!(trim(hours(1000)).await, 0, "its event is still on its way");
    world.deliver().await;
    world.deliver().await;
    assert_eq!(trim(hours(99)).await, 0, "it is not old enough");
    assert_eq!(trim(hours(100)).await, 1);
    assert_eq!(world.store.any_job(&old.item.id).await.expect("read"), None);
    assert_eq!(world.store.events_after(&old.item.key, 0, 10).await.expect("read"), []);
    assert_eq!(world.store.deliveries_of(&old.item.key, &old.item.id).await.expect("read"), []);
    world.run_sql(NO_ATTEMPT_ALONE).await;
    assert_eq!(world.store.deliveries_of(&kept.item.key, &kept.item.id).await.expect("read").len(), 1);

    let next = world.claimed(&old.item.key, LONG).await;
    assert_eq!(world.complete(&next).await, 2, "a number came twice");
}

/// Nothing more is sent to an endpoint that was disabled, but what is under way there is recorded first.
async fn a_job_whose_delivery_is_under_way_is_not_trimmed(world: World) {
    let key = world.key().await;
    for _ in 0..2 {
        let lease = world.claimed(&key, LONG).await;
        world.complete(&lease).await;
        world.store.mark_swept(std::slice::from_ref(&lease.item.id)).await.expect("marked");
    }
    let held = world.send(2, LONG, NOW).await;
    assert_eq!(held.len(), 2);
    let record = async |lease: &Lease<domain::Delivery>, verdict| {
        let group = [(lease.clone(), answered(lease, 410), Next::Exhausted, verdict)];
        world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded")
    };
    assert_eq!(record(&held[0], EndpointVerdict::Gone).await, [true]);
    let trim = async || world.store.trim(hours(1000), HOUR * 100).await.expect("trimmed");
    assert_eq!(trim().await, 1, "that of the attempt which has ended");
    assert_eq!(record(&held[1], EndpointVerdict::Gone).await, [true], "its lease went with its job");
    assert_eq!(trim().await, 1);
    world.run_sql(NO_ATTEMPT_ALONE).await;
}

async fn endpoints_and_replays_are_trimmed_once_nothing_is_left_of_them(world: World) {
    let lease = world.undelivered().await;
    let key = &lease.item.key;
    world.deliver().await;
    let replay = world.store.start_replay(key, &ReplayFilter::default(), NOW).await;
    let replay = replay.expect("answered").expect("asked for");
    let rows = HOUR * 100;
    let left = async || {
        let endpoints = world.store.endpoints(key, None, None, 10).await.expect("read").items.len();
        let replay = world.store.replay_progress(key, &replay).await.expect("read").is_some();
        (endpoints, replay)
    };
    world.store.trim(hours(1000), rows).await.expect("trimmed");
    assert_eq!(left().await, (1, true), "one has a delivery, the other is not done");
    world.store.run_replays(10, NOW).await.expect("ran").expect("something to do");
    world.deliver().await;
    assert!(world.send(1, LONG, NOW).await.is_empty(), "there is more");
    world.store.mark_swept(std::slice::from_ref(&lease.item.id)).await.expect("marked");
    world.store.trim(hours(99), rows).await.expect("trimmed");
    assert_eq!(left().await, (1, true), "neither is old enough");
    // The endpoint goes by the sweep after the one that took its last delivery, or by the same.
    for _ in 0..2 {
        world.store.trim(hours(1000), rows).await.expect("trimmed");
    }
    assert_eq!(left().await, (0, false));
}

async fn tokens_are_trimmed_when_they_expire(world: World) {
    let key = world.key().await;
    let keep_until = NOW.plus(secs(60));
    for token in ["a", "b"] {
        let idempotency =
            Idempotency { token: token.to_owned(), digest: [0; 32], answer: Vec::new(), keep_until };
        let submission = Submission { jobs: vec![job(&key)], idempotency: Some(idempotency), max_queued: 10 };
        let submitted = world.store.submit(&key, submission, NOW).await.expect("submitted");
        assert_eq!(submitted, Submitted::Accepted);
    }
    assert_eq!(world.store.trim(NOW, HOUR).await.expect("trimmed"), 0);
    assert_eq!(world.store.trim(keep_until, HOUR).await.expect("trimmed"), 2);
}

on_both! {
    an_undelivered_result_is_kept_longer_up_to_a_bound
    a_delivered_result_expires_when_it_was_said_to
    what_was_swept_is_swept_once_and_not_kept
    a_replay_finds_a_result_either_kept_or_gone
    what_is_claimed_up_to_the_bound_is_kept_and_stays_gone_once_it_is
    a_job_whose_delivery_is_under_way_is_not_trimmed
    endpoints_and_replays_are_trimmed_once_nothing_is_left_of_them
    what_a_failed_job_left_may_go_at_once_and_what_runs_stays
    only_old_swept_and_delivered_jobs_are_trimmed_with_all_that_is_theirs
    tokens_are_trimmed_when_they_expire
}
