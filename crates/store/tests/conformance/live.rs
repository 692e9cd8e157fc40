//! Events of running jobs.

use std::time::Duration;

use domain::{
    Delivery, DeliveryId, DeliveryState, EndpointVerdict, EventId, EventKind, Job, KeyId, Lease, WebUrl,
};
use store::{Announced, DeliveryFilter, DeliverySummary, EventDraft, Finish, Next, ReplayFilter, Replayed};

use crate::delivering::answered;
use crate::on_both;
use crate::world::{
    LONG, MAX_ATTEMPTS, NEVER_OPENS, NONE, NOW, World, bytes, completed, draft, job, opens_after, secs,
};

const UNCHANGED: EndpointVerdict = EndpointVerdict::Unchanged;
/// How long a live delivery is leased.
const LIVE: Duration = Duration::from_secs(12);

fn event(kind: EventKind) -> EventDraft {
    let body = format!("\"{}\"", kind.as_str()).into_bytes();
    EventDraft { id: EventId::from_random(bytes()), kind, body }
}

impl World {
    /// A running job whose webhook wants to know everything.
    async fn watched(&self, key: &KeyId, lease: Duration) -> Lease<Job> {
        let mut job = job(key);
        job.spec.options.webhook_events = EventKind::ALL.to_vec();
        job.spec.options.webhook = WebUrl::parse("https://hooks.example/live").ok();
        self.submit(&job).await;
        self.claim(lease).await
    }

    async fn announce(&self, lease: &Lease<Job>, kind: EventKind) -> (Announced, EventId) {
        let (event, delivery) = (event(kind), DeliveryId::from_random(bytes()));
        let announced = self.store.announce(lease, &event, &delivery, NOW).await;
        (announced.expect("answered"), event.id)
    }

    async fn claim_live(&self, lease: Duration) -> Vec<Lease<Delivery>> {
        let mut claimed = Vec::new();
        for due in self.due(NOW).await.into_iter().filter(|due| due.has_live) {
            let more = self.store.claim_live(&self.node, &due.id, 10, lease, NOW).await;
            claimed.extend(more.expect("claimed"));
        }
        claimed
    }

    async fn over(&self, lease: &Lease<Delivery>, status: u16, verdict: EndpointVerdict) {
        let next = if status == 200 { Next::Delivered } else { Next::Exhausted };
        let group = [(lease.clone(), answered(lease, status), next, verdict)];
        assert_eq!(self.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded"), [true]);
    }

    async fn listed(&self, key: &KeyId) -> Vec<DeliverySummary> {
        self.store.deliveries(key, &DeliveryFilter::default(), None, 100).await.expect("read").items
    }
}

fn kinds(listed: &[DeliverySummary]) -> Vec<(EventKind, DeliveryState, Option<u64>)> {
    listed.iter().map(|item| (item.kind, item.state, item.sequence)).collect()
}

async fn progress_that_waits_is_replaced_by_newer_progress_under_another_id(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    let (announced, first) = world.announce(&lease, EventKind::Progress).await;
    assert_eq!(announced, Announced::Waiting);
    let (announced, second) = world.announce(&lease, EventKind::Progress).await;
    assert_eq!(announced, Announced::Waiting);
    assert_ne!(first, second);
    let waiting = world.listed(&key).await;
    assert_eq!(kinds(&waiting), [(EventKind::Progress, DeliveryState::Pending, None)]);
    assert_eq!(waiting[0].event, second);
    assert!(world.send(10, LONG, NOW).await.is_empty(), "it is claimed among final ones");
    let claimed = world.claim_live(LIVE).await;
    assert_eq!((claimed.len(), &claimed[0].item.event.id), (1, &second));
    assert!(world.claim_live(LIVE).await.is_empty(), "it was claimed twice");
    assert_eq!(claimed[0].item.event.sequence, None);
}

async fn events_of_a_job_are_sent_one_at_a_time_and_its_start_once(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    assert_eq!(world.announce(&lease, EventKind::Started).await.0, Announced::Waiting);
    assert_eq!(world.announce(&lease, EventKind::Progress).await.0, Announced::Busy, "the start waits");
    let started = world.claim_live(LIVE).await.remove(0);
    assert_eq!(world.announce(&lease, EventKind::Progress).await.0, Announced::Busy, "it is under way");
    world.over(&started, 500, UNCHANGED).await;
    let listed = world.listed(&key).await;
    assert_eq!(kinds(&listed), [(EventKind::Started, DeliveryState::Exhausted, None)]);
    assert_eq!((listed[0].attempts, listed[0].last_status), (1, Some(500)));
    assert!(world.claim_live(LIVE).await.is_empty(), "it is tried again");
    assert_eq!(world.announce(&lease, EventKind::Started).await.0, Announced::Dropped, "it was told");
    assert_eq!(world.announce(&lease, EventKind::Progress).await.0, Announced::Waiting);
}

async fn only_the_newest_lease_announces(world: World) {
    let key = world.key().await;
    let old = world.watched(&key, NONE).await;
    assert_eq!(world.store.release_expired_jobs(MAX_ATTEMPTS).await.expect("released"), 1);
    assert_eq!(world.announce(&old, EventKind::Progress).await.0, Announced::Fenced, "it is queued");
    let new = world.claim(LONG).await;
    assert_eq!(world.announce(&old, EventKind::Progress).await.0, Announced::Fenced);
    assert_eq!(world.listed(&key).await, []);
    assert_eq!(world.announce(&new, EventKind::Progress).await.0, Announced::Waiting);
    world.complete(&new).await;
    assert_eq!(world.announce(&new, EventKind::Progress).await.0, Announced::Fenced, "it has ended");
}

/// Nothing live is begun once a job has ended.
async fn the_end_of_a_job_removes_what_was_live_and_waits(world: World) {
    let key = world.key().await;
    for kind in [EventKind::Started, EventKind::Progress] {
        let lease = world.watched(&key, LONG).await;
        assert_eq!(world.announce(&lease, kind).await.0, Announced::Waiting);
        world.complete(&lease).await;
    }
    assert!(world.claim_live(LIVE).await.is_empty());
    let expected = |n| (EventKind::Completed, DeliveryState::Pending, Some(n));
    let mut listed = kinds(&world.listed(&key).await);
    listed.sort_by_key(|(.., sequence)| *sequence);
    assert_eq!(listed, [expected(1), expected(2)]);
    assert_eq!(world.send(10, LONG, NOW).await.len(), 2, "nothing holds the final ones");
}

async fn the_end_waits_for_what_is_under_way_and_no_longer(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Progress).await;
    let live = world.claim_live(LIVE).await.remove(0);
    world.complete(&lease).await;
    assert!(world.send(10, LONG, NOW).await.is_empty(), "both are under way at once");
    assert!(world.send(10, LONG, NOW.plus(secs(5))).await.is_empty(), "both are under way at once");
    world.over(&live, 200, EndpointVerdict::Succeeded).await;
    let held = world.send(10, LONG, NOW).await;
    assert_eq!((held.len(), held[0].item.event.kind), (1, EventKind::Completed));
}

async fn a_replay_does_not_send_the_end_beside_what_is_under_way(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Progress).await;
    let live = world.claim_live(LIVE).await.remove(0);
    world.complete(&lease).await;
    let waits =
        |item: &DeliverySummary| item.state == DeliveryState::Pending && item.kind == EventKind::Completed;
    let end = world.listed(&key).await.into_iter().find(waits).expect("the end");
    assert_eq!(world.store.replay(&key, &end.id, NOW).await.expect("answered"), Replayed::Waiting);
    let pending = ReplayFilter { state: Some(DeliveryState::Pending), ..ReplayFilter::default() };
    world.store.start_replay(&key, &pending, NOW).await.expect("begun");
    let ran = world.store.run_replays(10, NOW).await.expect("ran").expect("there is something to do");
    assert_eq!((ran.replayed, ran.skipped), (0, 1));
    assert_eq!(world.send(10, LONG, NOW).await, [], "both are under way at once");
    world.over(&live, 200, EndpointVerdict::Succeeded).await;
    let sent = world.send(10, LONG, NOW).await;
    assert_eq!(sent.iter().map(|lease| &lease.item.id).collect::<Vec<_>>(), [&end.id]);
}

/// Whoever has the place of an end locked for a moment.
async fn an_end_that_somebody_has_locked_is_let_go_too(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Progress).await;
    let live = world.claim_live(LIVE).await.remove(0);
    world.complete(&lease).await;
    let other =
        world.locking("SELECT delivery_id FROM delivery_queue WHERE stage = 'first' FOR UPDATE").await;
    let unlock = async {
        // Long enough for the other to come upon the lock.
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(other);
    };
    tokio::join!(world.over(&live, 200, EndpointVerdict::Succeeded), unlock);
    assert_eq!(world.send(10, LONG, NOW).await.len(), 1);
}

async fn the_end_waits_no_longer_than_a_lease_for_an_attempt_that_was_lost(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Progress).await;
    let live = world.claim_live(LIVE).await.remove(0);
    world.complete(&lease).await;
    assert!(world.send(10, LONG, NOW.plus(secs(5))).await.is_empty());
    assert_eq!(world.send(10, LONG, NOW.plus(LIVE)).await.len(), 1);
    // As if its lease had run out.
    world.store.release_everything().await.expect("released");
    assert_eq!(world.due(NOW).await.iter().filter(|due| due.has_live).count(), 0);
    let lost = world.store.delivery(&key, &live.item.id).await.expect("read").expect("it is there");
    assert_eq!((lost.state, lost.attempts.len()), (DeliveryState::Exhausted, 1), "it is not tried again");
}

async fn live_events_have_no_number_and_leave_no_gap(world: World) {
    let key = world.key().await;
    for number in 1..=3 {
        let lease = world.watched(&key, LONG).await;
        world.announce(&lease, EventKind::Started).await;
        let started = world.claim_live(LIVE).await.remove(0);
        world.over(&started, 200, EndpointVerdict::Succeeded).await;
        assert_eq!(world.complete(&lease).await, number);
    }
    let events = world.store.events_after(&key, 0, 10).await.expect("read");
    assert_eq!(events.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3].map(Some));
    assert_eq!(world.listed(&key).await.len(), 6);
}

async fn live_events_are_not_sent_again(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Started).await;
    let started = world.claim_live(LIVE).await.remove(0);
    world.over(&started, 200, EndpointVerdict::Succeeded).await;
    let replayed = world.store.replay(&key, &started.item.id, NOW).await;
    assert_eq!(replayed.expect("answered"), Replayed::Live);
    world.complete(&lease).await;
    let end = world.send(10, LONG, NOW).await.remove(0);
    world.over(&end, 200, EndpointVerdict::Succeeded).await;
    let all = ReplayFilter { state: Some(DeliveryState::Delivered), ..ReplayFilter::default() };
    world.store.start_replay(&key, &all, NOW).await.expect("begun");
    let ran = world.store.run_replays(10, NOW).await.expect("ran").expect("there is something to do");
    assert_eq!((ran.total, ran.replayed), (Some(1), 1));
    let again = world.send(10, LONG, NOW).await;
    assert_eq!(again.iter().map(|lease| &lease.item.id).collect::<Vec<_>>(), [&end.item.id]);
}

async fn a_url_that_is_left_alone_gets_no_live_events_and_no_probe_with_one(world: World) {
    let key = world.key().await;
    let lease = world.watched(&key, LONG).await;
    world.announce(&lease, EventKind::Started).await;
    let other = world.watched(&key, LONG).await;
    world.complete(&other).await;
    let failed = world.send(10, LONG, NOW).await.remove(0);
    let verdict = EndpointVerdict::Failed { is_probe: false, rest_until: None };
    let group = [(failed.clone(), answered(&failed, 500), Next::RetryAt(NOW.plus(secs(60))), verdict)];
    assert_eq!(world.store.record_attempts(&group, &opens_after(1), NOW).await.expect("recorded"), [true]);
    assert_eq!(world.due(NOW.plus(secs(30))).await, [], "a live event is due at a URL that is left alone");
    assert_eq!(world.announce(&other, EventKind::Progress).await.0, Announced::Fenced);
    let third = world.watched(&key, LONG).await;
    assert_eq!(world.announce(&third, EventKind::Started).await.0, Announced::Dropped);
    let probe = world.send(10, LONG, NOW.plus(secs(60))).await;
    assert_eq!((probe.len(), probe[0].item.event.kind), (1, EventKind::Completed));
    let group = [(probe[0].clone(), answered(&probe[0], 200), Next::Delivered, EndpointVerdict::Succeeded)];
    world.store.record_attempts(&group, &NEVER_OPENS, NOW.plus(secs(60))).await.expect("recorded");
    assert_eq!(world.claim_live(LIVE).await.len(), 1, "the start that waits, once the URL is well");
}

async fn what_a_live_event_came_to_says_nothing_of_its_url(world: World) {
    let key = world.key().await;
    for _ in 0..3 {
        let lease = world.watched(&key, LONG).await;
        world.announce(&lease, EventKind::Started).await;
        let started = world.claim_live(LIVE).await.remove(0);
        world.over(&started, 500, UNCHANGED).await;
    }
    let endpoints = world.store.endpoints(&key, None, None, 10).await.expect("read").items;
    assert_eq!((endpoints[0].failures, endpoints[0].first_failed_at), (0, None));
}

/// Whoever is answered so, a live event or a final one, and also by a node that looked before.
async fn a_rest_holds_for_live_events_and_one_that_they_are_answered_for_final_ones(world: World) {
    let key = world.key().await;
    let (first, second) = (world.watched(&key, LONG).await, world.watched(&key, LONG).await);
    world.announce(&first, EventKind::Progress).await;
    let before = world.due(NOW).await.remove(0);
    let live = world.claim_live(LIVE).await.remove(0);
    world.announce(&second, EventKind::Progress).await;
    world.complete(&first).await;
    let until = NOW.plus(secs(60));
    world.over(&live, 429, EndpointVerdict::Resting { until }).await;
    let endpoint = world.store.endpoints(&key, None, None, 10).await.expect("read").items.remove(0);
    assert_eq!((endpoint.failures, endpoint.retry_at), (0, Some(until)));
    let claim =
        async |now| world.store.claim_live(&world.node, &before.id, 10, LIVE, now).await.expect("claimed");
    let just_before = until.minus(secs(1));
    assert_eq!(claim(just_before).await, [], "a live event is sent into a rest");
    assert_eq!(world.due(just_before).await, []);
    assert_eq!(world.send(10, LONG, just_before).await, [], "the end is sent into a rest");
    let kinds = |leases: Vec<Lease<Delivery>>| leases.iter().map(|l| l.item.event.kind).collect::<Vec<_>>();
    assert_eq!(kinds(world.send(10, LONG, until).await), [EventKind::Completed]);
    assert_eq!(kinds(claim(until).await), [EventKind::Progress]);
}

async fn who_did_not_ask_has_no_line_for_live_events(world: World) {
    let lease = world.claimed(&world.key().await, LONG).await;
    world.complete(&lease).await;
    let due = world.due(NOW).await;
    assert_eq!((due.len(), due[0].has_live), (1, false));
}

/// Whoever comes first, an end and a live event are never under way together.
async fn a_claim_and_an_end_at_once_never_let_both_be_under_way(world: World) {
    let key = world.key().await;
    for _ in 0..20 {
        let lease = world.watched(&key, LONG).await;
        world.announce(&lease, EventKind::Progress).await;
        let endpoint = domain::EndpointId::of(&key, lease.item.spec.options.webhook.as_ref().expect("a URL"));
        let claim =
            async { world.store.claim_live(&world.node, &endpoint, 10, LIVE, NOW).await.expect("claimed") };
        let (ending, delivery) = (completed(&lease), Some(DeliveryId::from_random(bytes())));
        let end =
            async { world.store.finish_job(&lease, &ending, draft(), delivery, NOW).await.expect("ended") };
        let (live, finish) = tokio::join!(claim, end);
        assert_ne!(finish, Finish::Fenced);
        let finals = world.send(10, LONG, NOW).await;
        assert_eq!(live.len() + finals.len(), 1, "{} live, {} final", live.len(), finals.len());
        for lease in &live {
            world.over(lease, 200, EndpointVerdict::Succeeded).await;
        }
        for lease in finals.into_iter().chain(world.send(10, LONG, NOW).await) {
            world.over(&lease, 200, EndpointVerdict::Succeeded).await;
        }
    }
    assert!(world.listed(&key).await.iter().all(|item| item.state == DeliveryState::Delivered));
}

on_both! {
    progress_that_waits_is_replaced_by_newer_progress_under_another_id
    events_of_a_job_are_sent_one_at_a_time_and_its_start_once
    only_the_newest_lease_announces
    the_end_of_a_job_removes_what_was_live_and_waits
    the_end_waits_for_what_is_under_way_and_no_longer
    a_replay_does_not_send_the_end_beside_what_is_under_way
    an_end_that_somebody_has_locked_is_let_go_too
    the_end_waits_no_longer_than_a_lease_for_an_attempt_that_was_lost
    live_events_have_no_number_and_leave_no_gap
    live_events_are_not_sent_again
    a_url_that_is_left_alone_gets_no_live_events_and_no_probe_with_one
    what_a_live_event_came_to_says_nothing_of_its_url
    a_rest_holds_for_live_events_and_one_that_they_are_answered_for_final_ones
    who_did_not_ask_has_no_line_for_live_events
    a_claim_and_an_end_at_once_never_let_both_be_under_way
}
