//! Receivers that many share: hooks that hang beside hooks that do not.

use super::*;

const HOST: &str = "hooks.shared.example";

/// What is begun when this falls due, and succeeds at once.
fn begun_of(lanes: &mut Lanes, endpoint: &DueEndpoint) -> usize {
    lanes.refresh(vec![endpoint.clone()]);
    while let Some(claim) = lanes.next_claim(Whom::Anybody) {
        find_one(lanes, claim);
    }
    let begun = begin_all(lanes);
    let count = count_of(&begun, endpoint);
    for one in begun {
        end(lanes, one, &quick(200));
    }
    count
}

/// Has events for this endpoint, as many as its window has room for or one.
fn hang(lanes: &mut Lanes, endpoint: &DueEndpoint, is_burst: bool) -> Vec<Begun> {
    lanes.refresh(vec![endpoint.clone()]);
    let claim = lanes.next_claim(Whom::Anybody).expect("it is due");
    if is_burst {
        fill(lanes, claim)
    } else {
        find_one(lanes, claim)
    }
    let begun = begin_all(lanes);
    assert!(!begun.is_empty());
    begun
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_keeps_nobody_elses_at_its_host_waiting() {
    for is_burst in [false, true] {
        let (hung, other) = (endpoint(1, 1, HOST), endpoint(2, 2, HOST));
        let (own, new) = (endpoint(3, 1, HOST), endpoint(4, 3, HOST));
        let mut lanes = Lanes::new(CAPS);
        acquaint(&mut lanes, &[hung.clone(), other.clone(), own.clone()]);
        let under_way = hang(&mut lanes, &hung, is_burst);
        assert_eq!(under_way.len() > 1, is_burst);
        for waited in [Duration::ZERO, Duration::from_secs(3), Duration::from_secs(11)] {
            tokio::time::advance(waited).await;
            assert_eq!(begun_of(&mut lanes, &other), 1, "after {waited:?} more");
        }
        for begun in under_way {
            end(&mut lanes, begun, &timed_out());
        }
        // Now it is known, and each later attempt is beside the window.
        for attempt in 2..=5 {
            let begun = hang(&mut lanes, &hung, true);
            assert_eq!(begun.len(), 1, "attempt {attempt}: one after the other");
            tokio::time::advance(Duration::from_secs(3)).await;
            for quick in [&other, &own, &new] {
                assert_eq!(begun_of(&mut lanes, quick), 1, "attempt {attempt}, beside {:?}", quick.id);
            }
            assert_eq!(begun_of(&mut lanes, &hung), 0, "attempt {attempt}: one after the other");
            end(&mut lanes, begun[0].clone(), &timed_out());
        }
        assert!(
            lanes.lanes[&hung.receiver].window.size() >= CAPS.window.start,
            "it says nothing of the others"
        );
    }
}

/// One after the other of each key, whether others of that key are dead or not.
#[tokio::test(start_paused = true)]
async fn hooks_that_are_dead_are_probed_beside_those_that_are_not() {
    let dead = |number, key| DueEndpoint { is_probe: true, ..endpoint(number, key, HOST) };
    let probes = [dead(1, 1), dead(2, 1), dead(3, 2), dead(4, 3)];
    let mut lanes = Lanes::new(CAPS);
    for healthy in [None, Some([endpoint(5, 1, HOST), endpoint(6, 4, HOST)])] {
        lanes.refresh(probes.to_vec());
        claim_all(&mut lanes);
        let begun = begin_all(&mut lanes);
        assert_eq!(begun.len(), 3, "one of each key");
        tokio::time::advance(Duration::from_secs(3)).await;
        for healthy in healthy.iter().flatten() {
            assert_eq!(begun_of(&mut lanes, healthy), 1);
        }
        for one in begun {
            end(&mut lanes, one, &timed_out());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_answers_late_is_sent_to_within_its_window_meanwhile() {
    let slow = endpoint(1, 1, "slow.example");
    let mut lanes = Lanes::new(Caps { total: 2000, per_key: 1000, ..CAPS });
    let late = SendOutcome { took: Duration::from_secs(5), ..SendOutcome::answered(200) };
    for _ in 0..3 {
        let first = hang(&mut lanes, &slow, false).remove(0);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(lanes.next_turn().is_none());
        let second = hang(&mut lanes, &slow, true);
        assert_eq!(second.len(), lanes.lanes[&slow.receiver].window.size() - 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        for begun in second.into_iter().chain([first]) {
            end(&mut lanes, begun, &late);
        }
        lanes.take_ready();
    }
}
