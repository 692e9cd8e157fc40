//! Endpoints that fail: left alone, probed, found back.

use std::collections::HashSet;

use domain::{CircuitPolicy, Delivery, EndpointState, EndpointVerdict, KeyId, Lease, NodeId};
use store::{DueEndpoint, Next};

use crate::delivering::answered;
use crate::endpoints::{FAILED, PROBE_FAILED, SUCCEEDED, as_due};
use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NONE, NOW, World, bytes, opens_after, secs};

async fn an_open_circuit_lets_nothing_through_and_then_one_probe_at_a_time(world: World) {
    let key = world.key().await;
    for _ in 0..3 {
        world.event_for(&key, "https://h.example/").await;
    }
    let healthy = as_due(&world.endpoint(&key).await, false);
    let open = DueEndpoint { is_probe: true, ..healthy.clone() };
    let claim =
        async |now| world.store.claim_deliveries(&world.node, &open, 10, LONG, now).await.expect("claimed");
    let first = world.send(1, LONG, NOW).await.remove(0);
    world.failed(&first, FAILED, NOW.plus(secs(5)), NOW).await;
    let second = world.send(1, LONG, NOW).await.remove(0);
    let reopens = NOW.plus(secs(60));
    world.failed(&second, FAILED, NOW.plus(secs(5)), NOW).await;
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.failures), (EndpointState::Failing, 2));
    assert_eq!((endpoint.first_failed_at, endpoint.retry_at), (Some(NOW), Some(reopens)));

    let before = reopens.minus(secs(1));
    assert_eq!(world.due(before).await, []);
    assert_eq!(claim(before).await, []);
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(reopens));
    world.event_for(&key, "https://h.example/").await;
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(reopens), "an event closed it");

    let due = world.due(reopens).await;
    assert!(due.len() == 1 && due[0].is_probe, "{due:?}");
    let outdated = world.store.claim_deliveries(&world.node, &healthy, 10, LONG, reopens).await;
    assert_eq!(
        outdated.expect("claimed"),
        [],
        "who looked before it opened would not say that it is the probe"
    );
    assert_eq!(world.due(reopens).await, due);
    let probe = claim(reopens).await;
    assert_eq!(probe.len(), 1);
    world.event_for(&key, "https://h.example/").await;
    assert_eq!(claim(reopens).await, [], "a second probe");
    assert_eq!(world.due(reopens).await, [], "its probe is under way");

    let later = reopens.plus(secs(120));
    world.failed(&probe[0], PROBE_FAILED, later, reopens).await;
    assert_eq!(claim(later.minus(secs(1))).await, []);
    let probe = claim(later).await;
    assert_eq!(probe.len(), 1);
    let group = [(probe[0].clone(), answered(&probe[0], 200), Next::Delivered, SUCCEEDED)];
    world.store.record_attempts(&group, &NEVER_OPENS, later).await.expect("recorded");
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.failures), (EndpointState::Healthy, 0));
    assert_eq!((endpoint.first_failed_at, endpoint.retry_at), (None, None));
    let recovered: Vec<_> = world.due(later).await.iter().map(|due| due.recovered_at).collect();
    assert_eq!(recovered, [Some(later)], "every node is told");
    let rest = world.store.claim_deliveries(&world.node, &healthy, 10, LONG, later).await;
    assert_eq!(rest.expect("claimed").len(), 4, "what waited goes at once");
}

/// However many attempts fail together, and whenever those are recorded that were under way when it opened.
async fn a_burst_of_failures_opens_a_circuit_once(world: World) {
    let key = world.key().await;
    for _ in 0..9 {
        world.event_for(&key, "https://h.example/").await;
    }
    let mut held = world.send(9, LONG, NOW).await;
    let late = held.split_off(7);
    let retry = Next::RetryAt(NOW.plus(secs(5)));
    let group: Vec<_> = held.iter().map(|one| (one.clone(), answered(one, 500), retry, FAILED)).collect();
    world.store.record_attempts(&group, &opens_after(5), NOW).await.expect("recorded");
    let opened = Some(NOW.plus(secs(60)));
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.failures, endpoint.retry_at), (EndpointState::Failing, 7, opened));

    let probe = world.send(1, LONG, NOW.plus(secs(60))).await;
    assert_eq!(probe.len(), 1);
    for lease in &late {
        world.failed(lease, FAILED, NOW, NOW.plus(secs(61))).await;
    }
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.failures, endpoint.retry_at), (9, opened), "what was under way says nothing new");
    assert_eq!(world.send(1, LONG, NOW.plus(secs(61))).await, [], "they ended its probe");
}

async fn those_that_fail_together_are_probed_apart(world: World) {
    let key = world.key().await;
    for host in 0..9 {
        world.event_for(&key, &format!("https://h{host}.example/")).await;
    }
    let held = world.send(9, LONG, NOW).await;
    let retry = Next::RetryAt(NOW.plus(secs(5)));
    let group: Vec<_> = held.iter().map(|one| (one.clone(), answered(one, 500), retry, FAILED)).collect();
    let policy = CircuitPolicy { jitter: 1.0, ..opens_after(1) };
    world.store.record_attempts(&group, &policy, NOW).await.expect("recorded");
    let endpoints = world.store.endpoints(&key, None, None, 10).await.expect("read").items;
    let probed: HashSet<_> = endpoints.iter().map(|one| one.retry_at.expect("a probe")).collect();
    assert!(probed.len() > 5, "{probed:?}");
    assert!(probed.iter().all(|at| (NOW..=NOW.plus(secs(60))).contains(at)), "{probed:?}");
}

async fn a_rest_that_was_asked_for_holds_for_all_that_waits(world: World) {
    let key = world.key().await;
    for _ in 0..3 {
        world.event_for(&key, "https://h.example/").await;
    }
    let held = world.send(2, LONG, NOW).await;
    let until = NOW.plus(secs(120));
    let asked = EndpointVerdict::Failed { is_probe: false, rest_until: Some(until) };
    world.failed(&held[0], asked, NOW.plus(secs(5)), NOW).await;
    let group = [(held[1].clone(), answered(&held[1], 200), Next::Delivered, SUCCEEDED)];
    world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded");
    world.event_for(&key, "https://h.example/").await;
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.retry_at), (EndpointState::Healthy, Some(until)));
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(until));
    let due = as_due(&endpoint, false);
    let claim = async |now| world.store.claim_deliveries(&world.node, &due, 9, LONG, now).await;
    assert_eq!(claim(until.minus(secs(1))).await.expect("claimed"), []);
    assert_eq!(claim(until).await.expect("claimed").len(), 3);
}

/// An endpoint whose circuit is open since its first attempt, and due for a probe again: its lease.
async fn opened(world: &World, key: &KeyId) -> Lease<Delivery> {
    world.event_for(key, "https://h.example/").await;
    let lease = world.send(1, LONG, NOW).await.remove(0);
    let policy = CircuitPolicy { first_pause: NONE, ..opens_after(1) };
    let group = [(lease.clone(), answered(&lease, 500), Next::RetryAt(NOW), FAILED)];
    world.store.record_attempts(&group, &policy, NOW).await.expect("recorded");
    lease
}

async fn a_lost_probe_is_followed_by_another(world: World) {
    let key = world.key().await;
    opened(&world, &key).await;
    let lost = world.send(1, NONE, NOW).await.remove(0);
    let next = world.send(1, LONG, NOW).await.remove(0);
    assert_eq!((lost.attempt, next.attempt), (2, 3));
    assert_eq!(next.item.failures, 1, "an interruption is no failure of the receiver");
    assert_eq!(world.endpoint(&key).await.failures, 1);
}

async fn what_is_handed_back_was_not_claimed(world: World) {
    let key = world.key().await;
    let lease = opened(&world, &key).await;
    let probe = world.send(1, LONG, NOW).await;
    assert_eq!(world.send(1, LONG, NOW).await, []);
    world.store.release_deliveries(&probe, None).await.expect("released");
    let again = world.send(1, LONG, NOW).await;
    assert_eq!(again, probe);
    // Those of somebody else stay: an old lease and another node's.
    let other = Lease { holder: NodeId::from_random(bytes()), ..again[0].clone() };
    world.store.release_deliveries(&[lease, other], Some(NOW.plus(secs(9)))).await.expect("released");
    assert_eq!(world.send(1, LONG, NOW).await, []);
    let later = NOW.plus(secs(5));
    world.store.release_deliveries(&again, Some(later)).await.expect("released");
    assert_eq!(world.send(1, LONG, later.minus(secs(1))).await, []);
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), Some(later));
    assert_eq!(world.send(1, LONG, later).await, again, "put off, and otherwise as it was");
}

/// What was under way when the circuit opened ends while its probe is under way, in whatever way, and so does what is not
/// anybody's lease any more.
async fn only_the_end_of_a_probe_lets_another_out(world: World) {
    let key = world.key().await;
    for _ in 0..3 {
        world.event_for(&key, "https://h.example/").await;
    }
    let held = world.send(3, LONG, NOW).await;
    let policy = CircuitPolicy { first_pause: NONE, ..opens_after(1) };
    let fail = async |lease: &Lease<Delivery>, verdict| {
        let group = [(lease.clone(), answered(lease, 500), Next::RetryAt(NOW), verdict)];
        world.store.record_attempts(&group, &policy, NOW).await.expect("recorded");
    };
    fail(&held[0], FAILED).await;
    let probe = world.send(1, LONG, NOW).await;
    assert_eq!((probe.len(), &probe[0].item.id), (1, &held[0].item.id));
    world.store.release_deliveries(&held[1..2], None).await.expect("released");
    assert_eq!(world.send(1, LONG, NOW).await, [], "beside what was handed back");
    let not_ours = Lease { holder: NodeId::from_random(bytes()), ..probe[0].clone() };
    world.store.release_deliveries(&[not_ours, held[0].clone()], None).await.expect("released");
    assert_eq!(world.send(1, LONG, NOW).await, [], "beside the lease of somebody else");
    world.run_sql("UPDATE delivery_leases SET until = 0 WHERE number = 1").await;
    assert_eq!(world.send(1, LONG, NOW).await, [], "beside what was lost");
    let lost = world.store.delivery(&key, &held[2].item.id).await.expect("read").expect("it is there");
    assert_eq!(lost.attempts.len(), 1, "it was recorded");
    fail(&probe[0], PROBE_FAILED).await;
    assert_eq!(world.send(9, LONG, NOW).await.len(), 1, "the next");
}

/// The circuit closed and opened again while it was under way.
async fn a_probe_of_former_times_ends_no_later_one(world: World) {
    let key = world.key().await;
    world.event_for(&key, "https://h.example/").await;
    world.event_for(&key, "https://h.example/").await;
    let held = world.send(2, LONG, NOW).await;
    let policy = CircuitPolicy { first_pause: NONE, ..opens_after(1) };
    let end = async |lease: &Lease<Delivery>, verdict| {
        let group = [(lease.clone(), answered(lease, 500), Next::RetryAt(NOW), verdict)];
        world.store.record_attempts(&group, &policy, NOW).await.expect("recorded");
    };
    end(&held[0], FAILED).await;
    let former = world.send(1, LONG, NOW).await;
    end(&held[1], SUCCEEDED).await;
    let again = world.send(1, LONG, NOW).await;
    end(&again[0], FAILED).await;
    let probe = world.send(1, LONG, NOW).await;
    assert_ne!(probe[0].item.id, former[0].item.id);
    end(&former[0], PROBE_FAILED).await;
    assert_eq!(world.send(1, LONG, NOW).await, [], "its probe is still under way");
}

on_both! {
    an_open_circuit_lets_nothing_through_and_then_one_probe_at_a_time
    a_burst_of_failures_opens_a_circuit_once
    those_that_fail_together_are_probed_apart
    a_rest_that_was_asked_for_holds_for_all_that_waits
    a_lost_probe_is_followed_by_another
    what_is_handed_back_was_not_claimed
    only_the_end_of_a_probe_lets_another_out
    a_probe_of_former_times_ends_no_later_one
}
