use std::time::Duration;

use domain::{DeliveryId, Event, EventId, EventKind, JobId, NodeId, SendError, Timestamp, WebhookUrl};
use url::Url;

use super::*;

const CAPS: Caps = Caps { total: 20, per_key: 12, window: Bounds { start: 4, most: 16 }, open_after: 5 };

fn endpoint(number: u8, key: u8, host: &str) -> DueEndpoint {
    DueEndpoint {
        id: EndpointId::from_random([number; 8]),
        key: KeyId::from_random([key; 8]),
        receiver: Receiver::of(&Url::parse(&format!("https://{host}/")).expect("a URL")),
        is_probe: false,
        has_live: false,
    }
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
    while let Some((endpoint, limit)) = lanes.next_claim() {
        *claimed.entry(endpoint.id.clone()).or_default() += limit;
        let leases = (0..limit).map(|_| lease(&endpoint)).collect();
        lanes.claimed(endpoint, limit, Instant::now(), leases);
    }
    claimed
}

fn begin_all(lanes: &mut Lanes) -> Vec<DueEndpoint> {
    std::iter::from_fn(|| lanes.next_turn().map(|turn| turn.endpoint)).collect()
}

/// Begins what may be begun, and all of it succeeds.
fn succeed_all(lanes: &mut Lanes) {
    for endpoint in begin_all(lanes) {
        lanes.ended(&endpoint, &quick(200), Instant::now());
    }
}

fn quick(status: u16) -> SendOutcome {
    SendOutcome { took: Duration::from_millis(1), ..SendOutcome::answered(status) }
}

#[test]
fn a_mute_receiver_fills_its_own_window_and_nobody_elses() {
    let (mute, healthy) = (endpoint(1, 1, "mute.example"), endpoint(2, 2, "healthy.example"));
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![mute.clone(), healthy.clone()]);
    claim_all(&mut lanes);
    let begun = begin_all(&mut lanes);
    assert_eq!(
        begun.iter().filter(|endpoint| endpoint.id == mute.id).count(),
        4,
        "the window of an unknown receiver"
    );
    // The mute one never answers; the healthy one goes on and on.
    for _ in 0..100 {
        lanes.ended(&healthy, &quick(200), Instant::now());
        lanes.refresh(vec![mute.clone(), healthy.clone()]);
        claim_all(&mut lanes);
        assert!(begin_all(&mut lanes).iter().all(|endpoint| endpoint.id == healthy.id));
    }
}

#[test]
fn endpoints_of_one_receiver_share_it_and_keys_have_their_cap() {
    let (one, two) = (endpoint(1, 1, "shared.example"), endpoint(2, 2, "shared.example"));
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![one.clone(), two.clone()]);
    let claimed = claim_all(&mut lanes);
    assert_eq!((claimed[&one.id], claimed[&two.id]), (2, 2));

    let of_one_key: Vec<DueEndpoint> = (1..=5).map(|n| endpoint(n, 7, &format!("host{n}.example"))).collect();
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(of_one_key);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), CAPS.per_key);
    assert!(lanes.has_passed_over(), "the rest is remembered to be looked at again");
}

#[test]
fn the_node_has_a_cap_too() {
    let many: Vec<DueEndpoint> = (1..=10).map(|n| endpoint(n, n, &format!("host{n}.example"))).collect();
    let mut lanes = Lanes::new(CAPS);
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
    assert_eq!(begin_all(&mut lanes).len(), 1);
    lanes.ended(&probe, &quick(200), Instant::now());
    // What is allowed is counted over all claims, until as many have ended: one after the probe, then one more with
    // each success.
    for allowed in [1, 2] {
        lanes.refresh(vec![healthy.clone()]);
        assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), allowed);
        assert!(lanes.has_passed_over(), "the rest is remembered");
        assert_eq!(begin_all(&mut lanes).len(), allowed);
        lanes.refresh(vec![healthy.clone()]);
        assert!(claim_all(&mut lanes).is_empty(), "{allowed} are under way");
        lanes.ended(&healthy, &quick(200), Instant::now());
    }
    // Three are allowed and one is under way; a failure begins it anew, and so does a rest that was asked for.
    lanes.ended(&healthy, &quick(500), Instant::now());
    lanes.refresh(vec![healthy.clone()]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1);
    assert_eq!(begin_all(&mut lanes).len(), 1);
    for _ in 0..3 {
        lanes.ended(&healthy, &quick(200), Instant::now());
    }
    assert!(lanes.give_up(&healthy.id).is_empty());
    lanes.refresh(vec![probe]);
    lanes.refresh(vec![healthy]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1);
}

#[test]
fn an_endpoint_is_given_up_after_failures_in_a_row_until_the_store_knows_too() {
    let dead = endpoint(1, 1, "dead.example");
    let mut lanes = Lanes::new(CAPS);
    let fail = |lanes: &mut Lanes, status| {
        lanes.refresh(vec![dead.clone()]);
        claim_all(lanes);
        assert!(lanes.next_turn().is_some());
        lanes.ended(&dead, &quick(status), Instant::now())
    };
    let failed = [500, 500, 500, 500, 200, 500, 500, 500, 500, 500].map(|status| fail(&mut lanes, status));
    assert_eq!(failed.iter().position(|is_over| *is_over), Some(9));
    assert!(!lanes.give_up(&dead.id).is_empty(), "what was claimed goes back");
    lanes.refresh(vec![dead.clone()]);
    assert!(claim_all(&mut lanes).is_empty(), "a look from before it was recorded");
    lanes.refresh(vec![DueEndpoint { is_probe: true, ..dead.clone() }]);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), 1, "its probe");
}

#[test]
fn a_quick_receiver_gets_work_ahead_and_a_slow_one_none() {
    for (took, ahead) in [(Duration::from_millis(5), true), (Duration::from_secs(2), false)] {
        let endpoint = endpoint(1, 1, "hooks.example");
        let mut lanes = Lanes::new(Caps { total: 1000, per_key: 1000, ..CAPS });
        lanes.refresh(vec![endpoint.clone()]);
        claim_all(&mut lanes);
        for _ in begin_all(&mut lanes) {
            lanes.ended(&endpoint, &SendOutcome { took, ..SendOutcome::answered(200) }, Instant::now());
        }
        lanes.refresh(vec![endpoint]);
        let claimed = claim_all(&mut lanes).values().sum::<usize>();
        let begun = begin_all(&mut lanes).len();
        assert_eq!(claimed > begun, ahead, "{took:?}: {claimed} claimed, {begun} begun");
    }
}

#[test]
fn what_is_ahead_takes_nobodys_room_and_is_begun_within_the_caps() {
    let of_one_key: Vec<DueEndpoint> = (1..=3).map(|n| endpoint(n, 1, &format!("host{n}.example"))).collect();
    let [swift, second, third] = &of_one_key[..] else { unreachable!() };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![swift.clone()]);
    claim_all(&mut lanes);
    succeed_all(&mut lanes);
    lanes.refresh(vec![swift.clone()]);
    let claimed = claim_all(&mut lanes)[&swift.id];
    assert!(claimed > CAPS.total, "{claimed} claimed, of which 8 can be sent now");

    lanes.refresh(vec![second.clone(), third.clone()]);
    let claimed = claim_all(&mut lanes);
    let expected = HashMap::from([(second.id.clone(), 4), (third.id.clone(), 1)]);
    assert_eq!(claimed, expected, "12 of the key are 8 and 4, and one waits for its turn");
    assert_eq!(begin_all(&mut lanes).len(), CAPS.per_key);

    lanes.ended(swift, &quick(200), Instant::now());
    lanes.refresh(vec![third.clone()]);
    assert_eq!(claim_all(&mut lanes), HashMap::from([(third.id.clone(), 1)]));
    let begun = begin_all(&mut lanes);
    assert_eq!(begun, *std::slice::from_ref(third), "nothing of what is ahead, although its window has room");
}

#[test]
fn a_receiver_with_little_gets_its_turn_beside_those_with_much_ahead() {
    let busy: Vec<DueEndpoint> = (1..=3).map(|n| endpoint(n, 1, &format!("busy{n}.example"))).collect();
    let small = endpoint(9, 1, "small.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(busy.clone());
    let mut under_way = VecDeque::new();
    // Until the key's slots are taken, and there is more ahead.
    for _ in 0..50 {
        claim_all(&mut lanes);
        under_way.extend(begin_all(&mut lanes));
        for endpoint in under_way.drain(..) {
            lanes.ended(&endpoint, &quick(200), Instant::now());
        }
    }
    claim_all(&mut lanes);
    under_way.extend(begin_all(&mut lanes));
    assert_eq!(under_way.len(), CAPS.per_key);
    // A look answers while every slot that got free has been taken again.
    lanes.refresh(busy.iter().chain([&small]).cloned().collect());
    let claimed = claim_all(&mut lanes);
    assert_eq!(claimed.get(&small.id), Some(&1));
    let begun = (0..busy.len() + 1).map(|_| {
        let ended = under_way.pop_front().expect("an attempt under way");
        lanes.ended(&ended, &quick(200), Instant::now());
        let begun = lanes.next_turn().expect("a turn").endpoint;
        under_way.push_back(begun.clone());
        begun
    });
    assert!(begun.collect::<Vec<_>>().contains(&small), "its turn is not beyond those of all others");
}

#[test]
fn of_what_is_ahead_there_is_a_bound_for_all_receivers() {
    let many: Vec<DueEndpoint> = (1..=5).map(|n| endpoint(n, n, &format!("host{n}.example"))).collect();
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(many.clone());
    claim_all(&mut lanes);
    succeed_all(&mut lanes);
    lanes.refresh(many);
    assert_eq!(claim_all(&mut lanes).values().sum::<usize>(), CAPS.total + MOST_AHEAD);
    assert_eq!(begin_all(&mut lanes).len(), CAPS.total);
}

#[test]
fn what_is_claimed_for_a_url_that_was_given_up_meanwhile_goes_back() {
    let failing = endpoint(1, 1, "failing.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![failing.clone(), endpoint(2, 1, "failing.example")]);
    let (claimed, limit) = lanes.next_claim().expect("something is due");
    assert!(lanes.give_up(&failing.id).is_empty());
    assert_eq!(
        lanes.claimed(claimed, limit, Instant::now(), vec![lease(&failing), lease(&failing)]).len(),
        2
    );
    assert!(lanes.next_turn().is_none() && lanes.per_key.is_empty());
    assert!(!claim_all(&mut lanes).contains_key(&failing.id), "not before the store knows");
    lanes.take_ready(|_| true);
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
    lanes.ended(&failing, &SendOutcome::failed(SendError::Connect), Instant::now());
    assert_eq!(lanes.take_ready(|endpoint| endpoint.id == failing.id).len(), 4);
    assert!(lanes.next_turn().is_none());
    assert!(lanes.per_key.is_empty());
}

#[test]
fn live_events_get_half_of_a_window_and_go_last() {
    let watched = DueEndpoint { has_live: true, ..endpoint(1, 1, "watched.example") };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![watched.clone()]);
    let (claimed, limit) = lanes.next_claim().expect("something is due");
    assert_eq!((limit, lanes.live_room(&claimed)), (4, 2));
    lanes.claimed(claimed, limit, Instant::now(), vec![live(&watched), live(&watched), lease(&watched)]);
    assert_eq!(lanes.live_room(&watched), 0);
    assert!(lanes.has_passed_over(), "they are looked for again when there is room");
    let kinds: Vec<_> =
        std::iter::from_fn(|| lanes.next_turn().map(|turn| turn.lease.item.event.kind)).collect();
    assert_eq!(kinds, [EventKind::Completed, EventKind::Progress, EventKind::Progress]);

    lanes.live_ended(&watched, &SendOutcome::failed(SendError::Timeout), Instant::now());
    assert_eq!(lanes.live_room(&watched), 1, "the window is not smaller for it");
    let probe = DueEndpoint { is_probe: true, ..watched.clone() };
    assert_eq!(lanes.live_room(&probe), 0, "none is a probe");
    assert_eq!(lanes.live_room(&endpoint(2, 1, "watched.example")), 0, "it never asked");
}

#[test]
fn live_events_that_were_claimed_and_not_sent_leave_their_room() {
    let watched = DueEndpoint { has_live: true, ..endpoint(1, 1, "watched.example") };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![watched.clone()]);
    let (claimed, limit) = lanes.next_claim().expect("something is due");
    lanes.claimed(claimed, limit, Instant::now(), vec![live(&watched), live(&watched)]);
    assert_eq!(lanes.take_ready(|_| true).len(), 2);
    assert_eq!(lanes.live_room(&watched), 2);
}

#[test]
fn a_probe_stands_in_line_too_while_others_have_everything_ahead() {
    let swift: Vec<DueEndpoint> = (1..=3).map(|n| endpoint(n, n, &format!("swift{n}.example"))).collect();
    let probe = DueEndpoint { is_probe: true, ..endpoint(9, 9, "back.example") };
    let mut lanes = Lanes::new(CAPS);
    for _ in 0..2 {
        lanes.refresh(swift.clone());
        claim_all(&mut lanes);
        succeed_all(&mut lanes);
    }
    lanes.refresh(swift.clone());
    claim_all(&mut lanes);
    assert_eq!(begin_all(&mut lanes).len(), CAPS.total, "all that the node does at once");
    lanes.refresh([swift.clone(), vec![probe.clone()]].concat());
    assert_eq!(claim_all(&mut lanes).get(&probe.id), Some(&1));
    let has_its_turn = (0..=swift.len()).any(|_| {
        lanes.ended(&swift[0], &quick(200), Instant::now());
        begin_all(&mut lanes) == [probe.clone()]
    });
    assert!(has_its_turn, "not in a whole round");
}
