use domain::{
    Delivery, Endpoint, EndpointId, EndpointState, EndpointVerdict, KeyId, Lease, NodeId, Timestamp, WebUrl,
};
use store::{Cursor, DueEndpoint, Next};

use crate::delivering::answered;
use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NOW, World, bytes, job, opens_after, secs};

pub(crate) const SUCCEEDED: EndpointVerdict = EndpointVerdict::Succeeded;
pub(crate) const FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: false, rest_until: None };
pub(crate) const PROBE_FAILED: EndpointVerdict = EndpointVerdict::Failed { is_probe: true, rest_until: None };

/// An endpoint as a look would have found it.
pub(crate) fn as_due(endpoint: &Endpoint, is_probe: bool) -> DueEndpoint {
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
    pub(crate) async fn failed(
        &self,
        lease: &Lease<Delivery>,
        verdict: EndpointVerdict,
        retry_at: Timestamp,
        now: Timestamp,
    ) {
        let group = [(lease.clone(), answered(lease, 500), Next::RetryAt(retry_at), verdict)];
        assert_eq!(self.store.record_attempts(&group, &opens_after(2), now).await.expect("recorded"), [true]);
    }

    pub(crate) async fn endpoint(&self, key: &KeyId) -> Endpoint {
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
    a_disabled_endpoint_keeps_its_events_until_it_is_enabled
    verdicts_of_a_group_count_in_their_order
    first_attempts_and_later_ones_share_a_claim
    no_delivery_is_forgotten_while_jobs_end_and_nodes_claim
}
