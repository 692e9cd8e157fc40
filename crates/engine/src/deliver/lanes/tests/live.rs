//! Live events.

use super::*;

#[test]
fn live_events_get_half_of_a_window_and_go_last() {
    let watched = DueEndpoint { has_live: true, ..endpoint(1, 1, "watched.example") };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![watched.clone()]);
    let claim = lanes.next_claim(Whom::Anybody).expect("something is due");
    assert_eq!((claim.limit, lanes.live_room(&claim.endpoint)), (4, 2));
    lanes.claimed(claim, Instant::now(), vec![live(&watched), live(&watched), lease(&watched)]);
    assert_eq!(lanes.live_room(&watched), 0);
    assert!(lanes.has_passed_over(), "they are looked for again when there is room");
    // An end goes first wherever it goes.
    let other = endpoint(2, 2, "other.example");
    lanes.refresh(vec![other.clone()]);
    claim_all(&mut lanes);
    let turns: Vec<Turn> = std::iter::from_fn(|| lanes.next_turn()).collect();
    let kinds: Vec<_> = turns.iter().map(|turn| turn.lease.item.event.kind).collect();
    assert_eq!(kinds, [[EventKind::Completed; 5].as_slice(), &[EventKind::Progress; 2]].concat());

    let last = turns.last().expect("a turn");
    assert!(!lanes.ended(&last.place, &SendOutcome::failed(SendError::Timeout), Instant::now()));
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
    let claim = lanes.next_claim(Whom::Anybody).expect("something is due");
    lanes.claimed(claim, Instant::now(), vec![live(&watched), live(&watched)]);
    assert_eq!(lanes.take_ready().len(), 2);
    assert_eq!(lanes.live_room(&watched), 2);
    assert!(is_unused(&lanes, &watched));
}

/// Whatever its window is: a live event has less time than an end, and that it is slow says nothing of ends.
#[tokio::test(start_paused = true)]
async fn a_live_event_that_is_slow_keeps_no_end_waiting() {
    for start in [1, 4] {
        let watched = DueEndpoint { has_live: true, ..endpoint(1, 1, "watched.example") };
        let mut lanes = Lanes::new(Caps { window: Bounds { start, ..CAPS.window }, ..CAPS });
        lanes.refresh(vec![watched.clone()]);
        let claim = lanes.next_claim(Whom::Anybody).expect("something is due");
        lanes.claimed(claim, Instant::now(), vec![live(&watched)]);
        let slow = begin(&mut lanes).expect("the live event");
        for outcome in [None, Some(timed_out())] {
            tokio::time::advance(Duration::from_secs(3)).await;
            if let Some(outcome) = outcome {
                end(&mut lanes, slow.clone(), &outcome);
            }
            lanes.refresh(vec![watched.clone()]);
            let claim = lanes.next_claim(Whom::Anybody).expect("the end of another job");
            assert!(claim.limit > 0 && !claim.is_silent);
            find_one(&mut lanes, claim);
            let begun = begin(&mut lanes).expect("it is begun");
            end(&mut lanes, begun, &quick(200));
        }
    }
}
