use std::collections::HashSet;
use std::time::Duration;

use domain::{
    Delivery, DeliveryAttempt, DeliveryState, EndpointVerdict, Lease, NodeId, Phases, SendError, SendOutcome,
    Timestamp,
};
use store::{DatabaseUrl, Next, RecordedDelivery, Replayed};

use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NONE, NOW, World, bytes, count, job, secs};

/// For what is not about endpoints.
const SUCCEEDED: EndpointVerdict = EndpointVerdict::Succeeded;

impl World {
    /// Completes `count` jobs of a new key, so that there are as many deliveries.
    async fn deliveries(&self, count: usize) {
        let key = self.key().await;
        for _ in 0..count {
            let lease = self.claimed(&key, LONG).await;
            self.complete(&lease).await;
        }
    }

    pub(crate) async fn send(&self, limit: usize, lease: Duration, now: Timestamp) -> Vec<Lease<Delivery>> {
        self.send_as(&self.node, limit, lease, now).await
    }

    /// Claims of whatever endpoints are due.
    pub(crate) async fn send_as(
        &self,
        node: &NodeId,
        limit: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Vec<Lease<Delivery>> {
        let mut claimed = Vec::new();
        for due in self.due(now).await {
            let left = limit - claimed.len();
            let more = self.store.claim_deliveries(node, &due, left, lease, now).await;
            claimed.extend(more.expect("claimed"));
        }
        claimed
    }

    async fn record(&self, lease: &Lease<Delivery>, attempt: DeliveryAttempt, next: Next) -> bool {
        let group = [(lease.clone(), attempt, next, SUCCEEDED)];
        let recorded = self.store.record_attempts(&group, &NEVER_OPENS, NOW).await;
        recorded.expect("recorded")[0]
    }

    async fn recorded(&self, lease: &Lease<Delivery>) -> RecordedDelivery {
        let event = &lease.item.event;
        let mut found = self.store.deliveries_of(&event.key, &event.job).await.expect("read");
        assert_eq!(found.len(), 1);
        found.remove(0)
    }
}

pub(crate) fn answered(lease: &Lease<Delivery>, status: u16) -> DeliveryAttempt {
    let outcome = SendOutcome {
        phases: Phases { connect: Some(Duration::from_micros(7)), ..Phases::default() },
        request: [("host", "h \"é\""), ("a", "[secret]")].into_iter().collect(),
        answer: b"\x00answer".to_vec(),
        retry_after: Some(secs(9)),
        took: Duration::from_micros(1_234),
        ..SendOutcome::answered(status)
    };
    DeliveryAttempt { number: lease.attempt, started_at: NOW, outcome }
}

async fn a_delivery_is_claimed_tried_again_and_delivered(world: World) {
    world.deliveries(1).await;
    let first = world.send(10, LONG, NOW).await.remove(0);
    assert_eq!((first.attempt, first.item.attempts), (1, 0));
    assert!(world.send(10, LONG, NOW).await.is_empty(), "it was claimed twice");
    let later = NOW.plus(secs(5));
    assert!(world.record(&first, answered(&first, 503), Next::RetryAt(later)).await);
    assert_eq!(world.recorded(&first).await.state, DeliveryState::Pending);
    assert!(world.send(10, LONG, later.minus(secs(1))).await.is_empty(), "it was claimed before its time");

    let second = world.send(10, LONG, later).await.remove(0);
    assert_eq!((second.attempt, &second.item.event), (2, &first.item.event));
    assert!(world.record(&second, answered(&second, 200), Next::Delivered).await);
    let recorded = world.recorded(&second).await;
    assert_eq!((recorded.state, recorded.delivery.attempts), (DeliveryState::Delivered, 2));
    assert_eq!(recorded.attempts, [answered(&first, 503), answered(&second, 200)]);
    assert!(world.send(10, LONG, NOW.plus(secs(1_000_000))).await.is_empty(), "it is sent for ever");
    assert_eq!(world.store.queue_depth().await.expect("read").deliveries_pending, 0);
}

async fn a_request_that_an_older_version_kept_as_json_is_read(world: World) {
    world.deliveries(1).await;
    let lease = world.send(1, LONG, NOW).await.remove(0);
    assert!(world.record(&lease, answered(&lease, 200), Next::Delivered).await);
    world.run_sql(r#"UPDATE delivery_attempts SET request = '[["host","h \"é\""],["a","[secret]"]]'"#).await;
    assert_eq!(world.recorded(&lease).await.attempts, [answered(&lease, 200)]);
}

async fn an_exhausted_delivery_rests(world: World) {
    world.deliveries(1).await;
    let lease = world.send(1, LONG, NOW).await.remove(0);
    assert!(world.record(&lease, answered(&lease, 410), Next::Exhausted).await);
    assert_eq!(world.recorded(&lease).await.state, DeliveryState::Exhausted);
    assert!(world.send(1, LONG, NOW.plus(secs(1_000_000))).await.is_empty());
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), None);
}

async fn an_attempt_whose_lease_ran_out_is_recorded_as_interrupted(world: World) {
    world.deliveries(1).await;
    let lost = world.send(1, NONE, NOW).await.remove(0);
    let later = NOW.plus(secs(30));
    let next = world.send(1, LONG, later).await.remove(0);
    assert_eq!((lost.attempt, next.attempt, &next.item.id), (1, 2, &lost.item.id));
    let recorded = world.recorded(&next).await;
    assert_eq!(recorded.attempts.len(), 1);
    let attempt = &recorded.attempts[0];
    assert_eq!((attempt.number, attempt.started_at), (1, NOW));
    assert_eq!(attempt.outcome.error, Some(SendError::Interrupted));
    assert_eq!(attempt.outcome.took, secs(30));

    assert!(!world.record(&lost, answered(&lost, 200), Next::Delivered).await, "the late one was recorded");
    assert!(world.record(&next, answered(&next, 200), Next::Delivered).await);
    assert_eq!(world.recorded(&next).await.attempts.len(), 2);
}

async fn a_group_is_recorded_although_one_of_it_is_fenced(world: World) {
    world.deliveries(2).await;
    let lost = world.send(1, NONE, NOW).await.remove(0);
    // Both are due: the lost one again, and the other.
    let held = world.send(2, LONG, NOW).await;
    assert_eq!(held.len(), 2);
    let other = held.iter().find(|lease| lease.item.id != lost.item.id).expect("the other");
    let group = [
        (lost.clone(), answered(&lost, 200), Next::Delivered, SUCCEEDED),
        (other.clone(), answered(other, 200), Next::Delivered, SUCCEEDED),
    ];
    assert_eq!(
        world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded"),
        [false, true]
    );
    assert_eq!(world.recorded(&lost).await.state, DeliveryState::Pending);
    assert_eq!(world.recorded(other).await.state, DeliveryState::Delivered);
    assert_eq!(
        world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded"),
        [false, false]
    );
}

async fn many_nodes_never_claim_one_delivery_twice(world: World) {
    world.deliveries(30).await;
    let endpoint = world.due(NOW).await.remove(0);
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (store, endpoint) = (world.store.clone(), endpoint.clone());
            tokio::spawn(async move {
                let node = NodeId::from_random(bytes());
                let mut claimed = Vec::new();
                for _ in 0..5 {
                    let more = store.claim_deliveries(&node, &endpoint, 2, LONG, NOW).await;
                    claimed.extend(more.expect("claimed"));
                }
                claimed
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.expect("a task").into_iter().map(|lease| lease.item.id));
    }
    claimed.extend(world.send(30, LONG, NOW).await.into_iter().map(|lease| lease.item.id));
    let distinct: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (30, 30));
}

async fn what_is_handed_back_waits_since_when_it_did(world: World) {
    world.deliveries(3).await;
    let held = world.send(3, LONG, NOW.plus(secs(5))).await;
    assert_eq!(held.len(), 3);
    assert_eq!(world.recorded(&held[0]).await.next_at, None, "it is under way");
    world.store.release_deliveries(&held, None).await.expect("released");
    for lease in &held {
        assert_eq!(world.recorded(lease).await.next_at, Some(NOW));
    }
}

/// Whoever comes first, it is sent once, and as what it is by then.
async fn a_replay_and_a_claim_at_once_send_a_delivery_once(world: World) {
    world.deliveries(1).await;
    let mut lease = world.send(1, LONG, NOW).await.remove(0);
    for _ in 0..20 {
        assert!(world.record(&lease, answered(&lease, 500), Next::RetryAt(NOW)).await);
        let key = &lease.item.event.key;
        let replay = async { world.store.replay(key, &lease.item.id, NOW).await.expect("answered") };
        let (replayed, claimed) = tokio::join!(replay, world.send(1, LONG, NOW));
        let claimed_now = claimed.len();
        let mut claimed = claimed;
        claimed.extend(world.send(1, LONG, NOW).await);
        assert_eq!(claimed.len(), 1, "{replayed:?}, {claimed_now} at once");
        let next = claimed.remove(0);
        assert_eq!(next.attempt, lease.attempt + 1);
        match replayed {
            Replayed::Waiting => assert_eq!((next.item.is_replay, next.item.failures), (true, 0)),
            Replayed::UnderWay => assert_eq!(claimed_now, 1),
            other => panic!("{other:?}"),
        }
        lease = next;
    }
}

async fn the_lease_of_what_is_no_delivery_any_more_goes(world: World) {
    world.deliveries(2).await;
    let held = world.send(2, NONE, NOW).await;
    world.run_sql("DELETE FROM deliveries WHERE id IN (SELECT MIN(id) FROM deliveries)").await;
    assert_eq!(world.send(2, NONE, NOW).await.len(), 1, "the other");
    let lost = &held[1];
    assert!(!world.record(lost, answered(lost, 200), Next::Delivered).await);
    world.run_sql("DELETE FROM deliveries").await;
    assert_eq!(world.due(NOW).await, []);
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), None, "nobody is woken for it");
}

/// What an attempt changes of a delivery is in no index: there is then nothing to write but the row.
async fn an_attempt_changes_no_index_of_deliveries(world: World) {
    let indexes = match &world.url {
        DatabaseUrl::Sqlite(_) => {
            "SELECT COUNT(*) FROM sqlite_schema WHERE tbl_name = 'deliveries' AND type = 'index' AND \
             (sql LIKE '%state%' OR sql LIKE '%attempts%' OR sql LIKE '%replay%')"
        }
        DatabaseUrl::Postgres(_) => {
            "SELECT COUNT(*) FROM pg_indexes WHERE tablename = 'deliveries' AND \
             (indexdef ~ 'state|attempts|replay')"
        }
    };
    assert_eq!(count(&world.url, indexes).await, 0);
    if let DatabaseUrl::Postgres(_) = &world.url {
        let has_room = "SELECT COUNT(*) FROM pg_class WHERE relname = 'deliveries' AND 'fillfactor=50' = ANY (reloptions)";
        assert_eq!(count(&world.url, has_room).await, 1, "a page has no room for a changed row");
    }
}

async fn the_next_time_is_known(world: World) {
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), None);
    world.deliveries(2).await;
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(NOW));
    let held = world.send(3, LONG, NOW).await;
    let lease_end = world.store.next_delivery_due(NOW).await.expect("read").expect("the leases' end");
    assert!(lease_end > NOW && lease_end <= NOW.plus(LONG), "{lease_end:?}");
    for (lease, wait) in held.iter().zip([50, 70]) {
        let next = Next::RetryAt(NOW.plus(secs(wait)));
        assert!(world.record(lease, answered(lease, 500), next).await);
    }
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(NOW.plus(secs(50))));
}

async fn deliveries_and_events_are_their_keys_own(world: World) {
    let (key, other) = (world.key().await, world.key().await);
    let lease = world.claimed(&key, LONG).await;
    world.complete(&lease).await;
    assert_eq!(world.store.deliveries_of(&other, &lease.item.id).await.expect("read"), []);
    assert_eq!(world.store.events_after(&other, 0, 10).await.expect("read"), []);
    assert_eq!(world.store.events_after(&key, 1, 10).await.expect("read"), []);
    world.submit(&job(&other)).await;
    let lease = world.claim(LONG).await;
    assert_eq!(world.complete(&lease).await, 1, "each key counts its own");
}

on_both! {
    a_delivery_is_claimed_tried_again_and_delivered
    a_request_that_an_older_version_kept_as_json_is_read
    an_exhausted_delivery_rests
    an_attempt_whose_lease_ran_out_is_recorded_as_interrupted
    a_group_is_recorded_although_one_of_it_is_fenced
    many_nodes_never_claim_one_delivery_twice
    what_is_handed_back_waits_since_when_it_did
    a_replay_and_a_claim_at_once_send_a_delivery_once
    the_lease_of_what_is_no_delivery_any_more_goes
    an_attempt_changes_no_index_of_deliveries
    the_next_time_is_known
    deliveries_and_events_are_their_keys_own
}
