use std::time::Duration;

use domain::{
    DeliveryId, Event, EventId, EventKind, JobId, NodeId, SendError, SendOutcome, Timestamp, WebhookUrl,
};
use tokio::time::Instant;
use url::Url;

use super::slots::Standing;
use super::*;

mod ahead;
mod fair;
mod live;
mod shared;

const CAPS: Caps = Caps { total: 24, per_key: 12, window: Bounds { start: 4, most: 16 }, open_after: 5 };

fn endpoint(number: u8, key: u8, host: &str) -> DueEndpoint {
    DueEndpoint {
        id: EndpointId::from_random([number; 8]),
        key: KeyId::from_random([key; 8]),
        receiver: Receiver::of(&Url::parse(&format!("https://{host}/")).expect("a URL")),
        is_probe: false,
        recovered_at: None,
        has_live: false,
    }
}

/// So many of one key, each at a receiver of its own.
fn hosts(key: u8, count: u8) -> Vec<DueEndpoint> {
    (1..=count)
        .map(|n| endpoint(key.wrapping_mul(50).wrapping_add(n), key, &format!("host{n}.of{key}.example")))
        .collect()
}

fn lease(endpoint: &DueEndpoint) -> Lease<Delivery> {
    let event = Event {
        id: EventId::from_random([0; 8]),
        key: endpoint.key.clone(),
        sequence: Some(1),
        job: JobId::from_random([0; 8]),
        kind: EventKind::Completed,
        body: Vec::new(),
        created_at: Timestamp::from_millis(0),
    };
    let item = Delivery {
        id: DeliveryId::from_random([0; 8]),
        event,
        url: WebhookUrl::parse("https://hooks.example/").expect("a URL"),
        attempts: 0,
        failures: 0,
        is_replay: false,
        file_until: None,
    };
    Lease { item, attempt: 1, holder: NodeId::from_random([0; 8]) }
}

fn live(endpoint: &DueEndpoint) -> Lease<Delivery> {
    let mut lease = lease(endpoint);
    lease.item.event.kind = EventKind::Progress;
    lease
}

/// Claims whatever the lanes want, as if there were no end of it; how many were claimed for each endpoint.
fn claim_all(lanes: &mut Lanes) -> HashMap<EndpointId, usize> {
    let mut claimed = HashMap::new();
    while let Some(claim) = lanes.next_claim(Whom::Anybody) {
        *claimed.entry(claim.endpoint.id.clone()).or_default() += claim.limit;
        fill(lanes, claim);
    }
    claimed
}

/// There is as much as was asked for, and more.
fn fill(lanes: &mut Lanes, claim: Claim) {
    let leases = (0..claim.limit).map(|_| lease(&claim.endpoint)).collect();
    lanes.claimed(claim, Instant::now(), leases);
}

/// There is one, and no more.
fn find_one(lanes: &mut Lanes, claim: Claim) {
    let found = vec![lease(&claim.endpoint)];
    lanes.claimed(Claim { limit: usize::MAX, ..claim }, Instant::now(), found);
}

/// An attempt under way.
#[derive(Debug, Clone, PartialEq)]
struct Begun {
    endpoint: DueEndpoint,
    place: Place,
    began: Instant,
}

fn begin(lanes: &mut Lanes) -> Option<Begun> {
    let Turn { place, .. } = lanes.next_turn()?;
    Some(Begun { endpoint: place.endpoint.clone(), place, began: Instant::now() })
}

fn begin_all(lanes: &mut Lanes) -> Vec<Begun> {
    std::iter::from_fn(|| begin(lanes)).collect()
}

fn count_of(begun: &[Begun], endpoint: &DueEndpoint) -> usize {
    begun.iter().filter(|begun| begun.endpoint.id == endpoint.id).count()
}

fn end(lanes: &mut Lanes, begun: Begun, outcome: &SendOutcome) -> bool {
    lanes.ended(&begun.place, outcome, begun.began)
}

/// Begins what may be begun, and all of it succeeds.
fn succeed_all(lanes: &mut Lanes) {
    for begun in begin_all(lanes) {
        end(lanes, begun, &quick(200));
    }
}

/// Each of them takes what it is sent, once.
fn acquaint(lanes: &mut Lanes, endpoints: &[DueEndpoint]) {
    for endpoint in endpoints {
        lanes.refresh(vec![endpoint.clone()]);
        let claim = lanes.next_claim(Whom::Anybody).expect("a claim");
        find_one(lanes, claim);
        let begun = begin(lanes).expect("an attempt");
        // Too slow to have anything fetched ahead.
        end(lanes, begun, &SendOutcome { took: Duration::from_millis(100), ..SendOutcome::answered(200) });
    }
}

fn quick(status: u16) -> SendOutcome {
    SendOutcome { took: Duration::from_millis(1), ..SendOutcome::answered(status) }
}

fn timed_out() -> SendOutcome {
    SendOutcome { took: Duration::from_secs(15), ..SendOutcome::failed(SendError::Timeout) }
}

fn is_unused(lanes: &Lanes, endpoint: &DueEndpoint) -> bool {
    lanes.slots.room(&endpoint.key, Standing::Answering).now == CAPS.per_key
}

#[test]
fn a_mute_receiver_fills_its_own_window_and_nobody_elses() {
    let (mute, healthy) = (endpoint(1, 1, "mute.example"), endpoint(2, 2, "healthy.example"));
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![mute.clone(), healthy.clone()]);
    claim_all(&mut lanes);
    let begun = begin_all(&mut lanes);
    assert_eq!(count_of(&begun, &mute), 4, "the window of an unknown receiver");
    // The mute one never answers; the healthy one goes on and on.
    let mut under_way: VecDeque<Begun> =
        begun.into_iter().filter(|begun| begun.endpoint.id == healthy.id).collect();
    for _ in 0..100 {
        end(&mut lanes, under_way.pop_front().expect("one under way"), &quick(200));
        lanes.refresh(vec![mute.clone(), healthy.clone()]);
        claim_all(&mut lanes);
        let begun = begin_all(&mut lanes);
        assert!(!begun.is_empty() && begun.iter().all(|begun| begun.endpoint.id == healthy.id));
        under_way.extend(begun);
    }
}

#[test]
fn a_receiver_is_shared_evenly_by_keys_and_by_the_urls_of_each() {
    let urls_of =
        |key: u8, count: u8| (1..=count).map(move |n| endpoint(key * 50 + n, key, "shared.example"));
    let mut lanes = Lanes::new(CAPS);
    let (one, three) = (urls_of(1, 1).collect::<Vec<_>>(), urls_of(2, 3).collect::<Vec<_>>());
    lanes.refresh([three.clone(), one.clone()].concat());
    let claimed = claim_all(&mut lanes);
    assert_eq!(claimed[&one[0].id], 2);
    assert_eq!(three.iter().map(|url| claimed.get(&url.id).copied().unwrap_or(0)).sum::<usize>(), 2);

    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(three.clone());
    let mut claimed: Vec<usize> = claim_all(&mut lanes).into_values().collect();
    claimed.sort_unstable();
    assert_eq!(claimed, [1, 1, 2]);
}

#[test]
fn a_key_has_its_cap_and_the_rest_stays_due() {
    let of_one_key = hosts(7, 5);
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &of_one_key);
    lanes.refresh(of_one_key);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), CAPS.per_key);
    let mut begun = begin_all(&mut lanes);
    assert_eq!(begun.len(), CAPS.per_key);
    end(&mut lanes, begun.remove(0), &quick(200));
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1, "without another look");
}

#[test]
fn the_node_has_a_cap_too() {
    let many: Vec<DueEndpoint> = (1..=10).flat_map(|key| hosts(key, 1)).collect();
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &many);
    lanes.refresh(many);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), CAPS.total);
    assert_eq!(begin_all(&mut lanes).len(), CAPS.total);
}

#[test]
fn an_open_circuit_gets_one_probe_and_comes_back_slowly() {
    let probe = DueEndpoint { is_probe: true, ..endpoint(1, 1, "back.example") };
    let healthy = DueEndpoint { is_probe: false, ..probe.clone() };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![probe.clone()]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1);
    lanes.refresh(vec![probe.clone()]);
    assert!(claim_all(&mut lanes).is_empty(), "one probe at a time");
    let begun = begin(&mut lanes).expect("the probe");
    end(&mut lanes, begun, &quick(200));
    // What is allowed is counted over all claims, until as many have ended: one after the probe, then one more with
    // each success.
    let mut under_way = VecDeque::new();
    for (allowed, more) in [(1, 1), (2, 2), (3, 2)] {
        lanes.refresh(vec![healthy.clone()]);
        assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), more, "{allowed} are allowed");
        under_way.extend(begin_all(&mut lanes));
        assert_eq!(under_way.len(), allowed);
        lanes.refresh(vec![healthy.clone()]);
        assert!(claim_all(&mut lanes).is_empty(), "{allowed} are under way");
        end(&mut lanes, under_way.pop_front().expect("one"), &quick(200));
    }
    // Four are allowed and two are under way; a failure begins it anew, and so does a rest that was asked for.
    end(&mut lanes, under_way.pop_front().expect("one"), &quick(500));
    assert!(claim_all(&mut lanes).is_empty(), "one is under way");
    end(&mut lanes, under_way.pop_front().expect("one"), &quick(200));
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 2);
    succeed_all(&mut lanes);
    assert!(lanes.give_up(&healthy).is_empty());
    lanes.refresh(vec![probe]);
    lanes.refresh(vec![healthy]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1);
}

#[test]
fn an_endpoint_that_another_node_found_back_comes_back_as_slowly() {
    let back =
        |at| DueEndpoint { recovered_at: Some(Timestamp::from_millis(at)), ..endpoint(1, 1, "back.example") };
    let mut lanes = Lanes::new(CAPS);
    let mut claimed_and_delivered = |at| {
        lanes.refresh(vec![back(at)]);
        let claimed = claim_all(&mut lanes).values().sum::<usize>();
        succeed_all(&mut lanes);
        claimed
    };
    let claimed = [(); 3].map(|()| claimed_and_delivered(1));
    assert_eq!(claimed, [1, 2, 4], "one more with each success, however often a look says it");
    // The most that any receiver gets, and then no bound of its own.
    for _ in 0..3 {
        claimed_and_delivered(1);
    }
    assert!(claimed_and_delivered(1) > CAPS.window.start);
    assert_eq!(claimed_and_delivered(2), 1, "it was away again");
}

#[test]
fn an_endpoint_is_given_up_after_failures_in_a_row_until_the_store_knows_too() {
    let dead = endpoint(1, 1, "dead.example");
    let mut lanes = Lanes::new(CAPS);
    let fail = |lanes: &mut Lanes, status| {
        lanes.refresh(vec![dead.clone()]);
        claim_all(lanes);
        let begun = begin(lanes).expect("a turn");
        end(lanes, begun, &quick(status))
    };
    let failed = [500, 500, 500, 500, 200, 500, 500, 500, 500, 500].map(|status| fail(&mut lanes, status));
    assert_eq!(failed.iter().position(|is_over| *is_over), Some(9));
    assert!(!lanes.give_up(&dead).is_empty(), "what was claimed goes back");
    lanes.refresh(vec![dead.clone()]);
    assert!(claim_all(&mut lanes).is_empty(), "a look from before it was recorded");
    lanes.refresh(vec![DueEndpoint { is_probe: true, ..dead.clone() }]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1, "its probe");
}

#[test]
fn what_is_claimed_for_a_url_that_was_given_up_meanwhile_goes_back() {
    let failing = endpoint(1, 1, "failing.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![failing.clone(), endpoint(2, 1, "failing.example")]);
    let claim = lanes.next_claim(Whom::Anybody).expect("something is due");
    assert_eq!(claim.endpoint, failing);
    assert!(lanes.give_up(&failing).is_empty());
    assert_eq!(lanes.claimed(claim, Instant::now(), vec![lease(&failing), lease(&failing)]).len(), 2);
    assert!(lanes.next_turn().is_none() && is_unused(&lanes, &failing));
    assert!(!claim_all(&mut lanes).contains_key(&failing.id), "not before the store knows");
    lanes.take_ready();
    lanes.refresh(Vec::new());
    lanes.refresh(vec![failing.clone()]);
    assert!(!claim_all(&mut lanes).contains_key(&failing.id), "nor because a look did not find it");
    lanes.refresh(vec![DueEndpoint { is_probe: true, ..failing.clone() }]);
    assert!(claim_all(&mut lanes).contains_key(&failing.id));
}

#[test]
fn what_goes_back_leaves_room_for_others() {
    let failing = endpoint(1, 1, "failing.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![failing.clone()]);
    claim_all(&mut lanes);
    assert!(!is_unused(&lanes, &failing));
    assert_eq!(lanes.give_up(&failing).len(), 4);
    assert!(lanes.next_turn().is_none() && is_unused(&lanes, &failing));
}
