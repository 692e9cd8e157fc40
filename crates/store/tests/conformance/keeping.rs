use std::time::Duration;

use domain::{EndpointVerdict, Job, JobState, Lease, Timestamp};
use store::{Idempotency, Next, Submission, Submitted};

use crate::on_both;
use crate::world::{LONG, NOW, World, draft, failed, job, secs};

const HOUR: Duration = Duration::from_secs(3600);
/// How long an undelivered result is kept at most.
const AT_MOST: Duration = Duration::from_secs(80 * 3600);

fn hours(hours: u32) -> Timestamp {
    NOW.plus(HOUR * hours)
}

impl World {
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
        let recorded = self.store.record_attempts(&group, NOW).await;
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
    assert_eq!(world.store.expired_jobs(hours(79), 10).await.expect("read"), []);
    assert_eq!(world.store.expired_jobs(hours(80), 10).await.expect("read"), [lease.item.id]);
}

async fn a_delivered_result_expires_when_it_was_said_to(world: World) {
    let lease = world.undelivered().await;
    world.deliver().await;
    assert_eq!(world.store.keep_undelivered(hours(24), HOUR, AT_MOST).await.expect("kept"), 0);
    assert_eq!(world.expires_at(&lease).await, hours(24));
    let before = Timestamp::from_millis(hours(24).as_millis() - 1);
    assert_eq!(world.store.expired_jobs(before, 10).await.expect("read"), []);
    assert_eq!(world.store.expired_jobs(hours(24), 10).await.expect("read"), [lease.item.id]);
}

async fn what_was_swept_is_swept_once_and_not_kept(world: World) {
    let lease = world.undelivered().await;
    let expired = world.store.expired_jobs(hours(24), 10).await.expect("read");
    world.store.mark_swept(&expired).await.expect("marked");
    assert_eq!(world.store.expired_jobs(hours(99), 10).await.expect("read"), []);
    assert_eq!(world.store.keep_undelivered(hours(24), HOUR, AT_MOST).await.expect("kept"), 0);
    assert_eq!(world.expires_at(&lease).await, hours(24));
}

async fn what_a_failed_job_left_may_go_at_once_and_what_runs_stays(world: World) {
    let key = world.key().await;
    let running = world.claimed(&key, LONG).await;
    let lease = world.claimed(&key, LONG).await;
    world.store.finish_job(&lease, &failed(), draft(), None, NOW).await.expect("finished");
    world.submit(&job(&key)).await;
    assert_eq!(world.store.expired_jobs(NOW, 10).await.expect("read"), [lease.item.id]);
    assert!(matches!(world.get(&running).await.state, JobState::Processing(_)));
}

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
    assert_eq!(world.store.deliveries_of(&kept.item.key, &kept.item.id).await.expect("read").len(), 1);

    let next = world.claimed(&old.item.key, LONG).await;
    assert_eq!(world.complete(&next).await, 2, "a number came twice");
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
    what_a_failed_job_left_may_go_at_once_and_what_runs_stays
    only_old_swept_and_delivered_jobs_are_trimmed_with_all_that_is_theirs
    tokens_are_trimmed_when_they_expire
}
