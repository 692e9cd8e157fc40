use std::collections::HashSet;

use domain::{
    CircuitPolicy, Delivery, Endpoint, EndpointId, EndpointState, EndpointVerdict, KeyId, Lease, NodeId,
    Timestamp, WebUrl,
};
use store::{Cursor, DueEndpoint, Next};

use crate::delivering::answered;
use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NONE, NOW, World, bytes, job, opens_after, secs};

const SUCCEEDED: EndpointVerdict = EndpointVerdict::Succeeded;
const FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: false, rest_until: None };
const PROBE_FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: true, rest_until: None };

/// An endpoint as a look would have found it.
fn as_due(endpoint: &Endpoint, is_probe: bool) -> DueEndpoint {
    DueEndpoint {
        id: endpoint.id.clone(),
        key: endpoint.key.clone(),
        receiver: endpoint.receiver.clone(),
        is_probe,
        recovered_at: None,
        has_live: false,
    }
}

impl World {
    /// An event of this key on its way to this URL.
    pub(crate) async fn event_for(&self, key: &KeyId, url: &str) {
        let mut job = job(key);
        job.spec.options.webhook = Some(WebUrl::parse(url).expect("a URL"));
        self.submit(&job).await;
        let lease = self.claim(LONG).await;
        self.complete(&lease).await;
    }

    /// Records at `now` that it failed, is tried again then, and that two failures open the circuit.
    async fn failed(
        &self,
        lease: &Lease<Delivery>,
        verdict: EndpointVerdict,
        retry_at: Timestamp,
        now: Timestamp,
    ) {
        let group = [(lease.clone(), answered(lease, 500), Next::RetryAt(retry_at), verdict)];
        assert_eq!(self.store.record_attempts(&group, &opens_after(2), now).await.expect("recorded"), [true]);
    }

    async fn endpoint(&self, key: &KeyId) -> Endpoint {
        let mut endpoints = self.store.endpoints(key, None, None, 10).await.expect("read").items;
        assert_eq!(endpoints.len(), 1);
        endpoints.remove(0)
    }
}

async fn an_endpoint_is_one_url_of_one_key_and_its_health_is_its_own(world: World) {
    let (one, two) = (world.key().await, world.key().await);
    for (key, url) in
        [(&one, "https://h.example/a"), (&one, "https://h.example/b"), (&two, "https://h.example/a")]
    {
        for _ in 0..2 {
            world.event_for(key, url).await;
        }
    }
    let due = world.due(NOW).await;
    assert_eq!(due.len(), 3);
    assert!(due.iter().all(|due| due.receiver.as_str() == "h.example:443" && !due.is_probe));

    let leases = world.store.claim_deliveries(&world.node, &due[0], 10, LONG, NOW).await.expect("claimed");
    assert_eq!(leases.len(), 2, "another endpoint's were claimed");
    assert!(
        leases.iter().all(|lease| lease.item.endpoint() == due[0].id && lease.item.event.key == due[0].key)
    );
    world.failed(&leases[0], EndpointVerdict::Gone, NOW, NOW).await;
    world.failed(&leases[1], SUCCEEDED, NOW, NOW).await;
    let left: Vec<_> = world.due(NOW).await.into_iter().map(|due| due.id).collect();
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&due[0].id));
    let endpoint = world.store.endpoint(&due[0].key, &due[0].id).await.expect("read").expect("the endpoint");
    let reason = Some("it answered 410 Gone");
    assert_eq!((endpoint.state, endpoint.reason.as_deref()), (EndpointState::Disabled, reason));
    let other = if due[0].key == one { &two } else { &one };
    assert_eq!(world.store.endpoint(other, &due[0].id).await.expect("read"), None);
}

async fn endpoints_are_listed_in_pages_and_by_state(world: World) {
    let (key, other) = (world.key().await, world.key().await);
    for url in ["a", "b", "c", "d", "e"] {
        world.event_for(&key, &format!("https://h.example/{url}")).await;
    }
    let lease = world.send(1, LONG, NOW).await.remove(0);
    world.event_for(&other, "https://h.example/a").await;
    let changed = lease.item.endpoint();
    let verdict = EndpointVerdict::Gone;
    let group = [(lease.clone(), answered(&lease, 410), Next::Exhausted, verdict)];
    world.store.record_attempts(&group, &NEVER_OPENS, NOW.plus(secs(1))).await.expect("recorded");
    let page = async |state, cursor: Option<&Cursor<EndpointId>>| {
        let page = world.store.endpoints(&key, state, cursor, 2).await.expect("read");
        let ids: Vec<_> = page.items.into_iter().map(|endpoint| endpoint.id).collect();
        (ids, page.next.map(|next| Cursor::parse(&next.to_text(), EndpointId::parse).expect("its own text")))
    };
    let (mut seen, mut cursor) = page(None, None).await;
    assert_eq!(seen[0], changed, "the last to change comes first");
    while let Some(after) = cursor {
        let (more, next) = page(None, Some(&after)).await;
        seen.extend(more);
        cursor = next;
    }
    assert_eq!(seen.len(), 5);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5, "one came twice");
    assert_eq!(page(Some(EndpointState::Disabled), None).await, (vec![changed], None));
    assert_eq!(page(Some(EndpointState::Failing), None).await, (Vec::new(), None));
}

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

async fn a_disabled_endpoint_keeps_its_events_until_it_is_enabled(world: World) {
    let key = world.key().await;
    for _ in 0..3 {
        world.event_for(&key, "https://h.example/").await;
    }
    let held = world.send(2, LONG, NOW).await;
    world.failed(&held[0], EndpointVerdict::Gone, NOW, NOW).await;
    // What was under way changes nothing any more, and nor does a new event.
    let group = [(held[1].clone(), answered(&held[1], 200), Next::Delivered, SUCCEEDED)];
    world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded");
    world.event_for(&key, "https://h.example/").await;
    let endpoint = world.endpoint(&key).await;
    assert_eq!(endpoint.state, EndpointState::Disabled);
    assert_eq!(world.send(10, LONG, NOW.plus(secs(1_000_000))).await, []);
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), None);

    let other = world.key().await;
    let later = NOW.plus(secs(9));
    assert!(!world.store.enable_endpoint(&other, &endpoint.id, later).await.expect("answered"));
    assert!(world.store.enable_endpoint(&key, &endpoint.id, later).await.expect("enabled"));
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.failures, endpoint.reason), (EndpointState::Healthy, 0, None));
    assert_eq!(endpoint.changed_at, later);
    let recovered: Vec<_> = world.due(later).await.iter().map(|due| due.recovered_at).collect();
    assert_eq!(recovered, [Some(later)], "what has piled up is not sent all together");
    assert_eq!(world.send(10, LONG, later).await.len(), 3);
}

async fn verdicts_of_a_group_count_in_their_order(world: World) {
    let key = world.key().await;
    for _ in 0..4 {
        world.event_for(&key, "https://h.example/").await;
    }
    let until = NOW.plus(secs(30));
    let held = world.send(4, LONG, NOW).await;
    let verdicts = [FAILED, FAILED, SUCCEEDED, FAILED];
    let group: Vec<_> = held
        .into_iter()
        .zip(verdicts)
        .map(|(lease, verdict)| (lease.clone(), answered(&lease, 500), Next::RetryAt(NOW), verdict))
        .collect();
    assert_eq!(
        world.store.record_attempts(&group, &opens_after(2), until).await.expect("recorded"),
        [true; 4]
    );
    let endpoint = world.endpoint(&key).await;
    assert_eq!((endpoint.state, endpoint.failures), (EndpointState::Healthy, 1));
    let opened = until.plus(secs(60));
    assert_eq!((endpoint.first_failed_at, endpoint.retry_at), (Some(until), Some(opened)));
}

async fn first_attempts_and_later_ones_share_a_claim(world: World) {
    let key = world.key().await;
    for _ in 0..8 {
        world.event_for(&key, "https://h.example/").await;
    }
    for lease in world.send(8, LONG, NOW).await {
        let group = [(lease.clone(), answered(&lease, 500), Next::RetryAt(NOW.minus(secs(9))), FAILED)];
        world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded");
    }
    for _ in 0..8 {
        world.event_for(&key, "https://h.example/").await;
    }
    let held = world.send(8, LONG, NOW).await;
    assert_eq!(held.iter().filter(|lease| lease.attempt == 1).count(), 2);
    assert_eq!(held.len(), 8);
}

/// While nodes claim and record, jobs end: no delivery may be left waiting for a claim that never comes.
async fn no_delivery_is_forgotten_while_jobs_end_and_nodes_claim(world: World) {
    const EVENTS: usize = 40;
    let key = world.key().await;
    let deliver = async |store: store::Store| {
        let node = NodeId::from_random(bytes());
        let mut delivered = 0;
        for due in store.due_endpoints(NOW, 10, None).await.expect("read").endpoints {
            let claimed = store.claim_deliveries(&node, &due, 3, LONG, NOW).await.expect("claimed");
            let group: Vec<_> = claimed
                .into_iter()
                .map(|lease| (lease.clone(), answered(&lease, 200), Next::Delivered, SUCCEEDED))
                .collect();
            delivered += store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded").len();
        }
        delivered
    };
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let store = world.store.clone();
            tokio::spawn(async move {
                let mut delivered = 0;
                for _ in 0..60 {
                    delivered += deliver(store.clone()).await;
                }
                delivered
            })
        })
        .collect();
    for _ in 0..EVENTS {
        world.event_for(&key, "https://h.example/").await;
    }
    let mut delivered = 0;
    for task in tasks {
        delivered += task.await.expect("a task");
    }
    loop {
        match deliver(world.store.clone()).await {
            0 => break,
            more => delivered += more,
        }
    }
    assert_eq!(delivered, EVENTS);
    assert_eq!(world.store.next_delivery_due(NOW).await.expect("read"), None);
}

on_both! {
    endpoints_are_listed_in_pages_and_by_state
    an_endpoint_is_one_url_of_one_key_and_its_health_is_its_own
    an_open_circuit_lets_nothing_through_and_then_one_probe_at_a_time
    a_burst_of_failures_opens_a_circuit_once
    those_that_fail_together_are_probed_apart
    a_rest_that_was_asked_for_holds_for_all_that_waits
    a_lost_probe_is_followed_by_another
    what_is_handed_back_was_not_claimed
    only_the_end_of_a_probe_lets_another_out
    a_probe_of_former_times_ends_no_later_one
    a_disabled_endpoint_keeps_its_events_until_it_is_enabled
    verdicts_of_a_group_count_in_their_order
    first_attempts_and_later_ones_share_a_claim
    no_delivery_is_forgotten_while_jobs_end_and_nodes_claim
}
