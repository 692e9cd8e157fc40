//! What is fetched ahead of its turn.

use super::*;
use crate::deliver::lanes::lane::MOST_AHEAD;

#[test]
fn a_quick_receiver_gets_work_ahead_and_a_slow_one_none() {
    for (took, ahead) in [(Duration::from_millis(5), true), (Duration::from_secs(2), false)] {
        let endpoint = endpoint(1, 1, "hooks.example");
        let mut lanes = Lanes::new(Caps { total: 2000, per_key: 1000, ..CAPS });
        lanes.refresh(vec![endpoint.clone()]);
        claim_all(&mut lanes);
        for begun in begin_all(&mut lanes) {
            end(&mut lanes, begun, &SendOutcome { took, ..SendOutcome::answered(200) });
        }
        lanes.refresh(vec![endpoint]);
        let claimed = claim_all(&mut lanes).values().sum::<usize>();
        let begun = begin_all(&mut lanes).len();
        assert_eq!(claimed > begun, ahead, "{took:?}: {claimed} claimed, {begun} begun");
    }
}

#[test]
fn what_is_ahead_takes_nobodys_room_and_is_begun_within_the_caps() {
    let of_one_key = hosts(1, 3);
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
    let mut under_way = begin_all(&mut lanes);
    assert_eq!(under_way.len(), CAPS.per_key);

    let swifts = under_way.iter().position(|begun| begun.endpoint.id == swift.id).expect("one of the first");
    end(&mut lanes, under_way.remove(swifts), &quick(200));
    lanes.refresh(vec![third.clone()]);
    assert_eq!(claim_all(&mut lanes), HashMap::from([(third.id.clone(), 1)]));
    let begun = begin_all(&mut lanes);
    assert_eq!(
        (begun.len(), count_of(&begun, third)),
        (1, 1),
        "nothing of what is ahead, for which its window has room"
    );
}

#[test]
fn a_receiver_with_little_gets_its_turn_beside_those_with_much_ahead() {
    let busy = hosts(1, 3);
    let small = endpoint(9, 1, "small.example");
    let probe = DueEndpoint { is_probe: true, ..endpoint(10, 1, "back.example") };
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(busy.clone());
    // Until the key's slots are taken, and there is more ahead.
    for _ in 0..50 {
        claim_all(&mut lanes);
        succeed_all(&mut lanes);
    }
    claim_all(&mut lanes);
    let mut under_way: VecDeque<Begun> = begin_all(&mut lanes).into();
    assert_eq!(under_way.len(), CAPS.per_key);
    // A look answers while every slot that got free has been taken again.
    lanes.refresh(busy.iter().chain([&small, &probe]).cloned().collect());
    let claimed = claim_all(&mut lanes);
    assert_eq!((claimed.get(&small.id), claimed.get(&probe.id)), (Some(&1), Some(&1)));
    let turns = (0..busy.len() + 2).map(|_| {
        let ended = under_way.pop_front().expect("an attempt under way");
        end(&mut lanes, ended, &quick(200));
        let begun = begin(&mut lanes).expect("a turn");
        under_way.push_back(begun.clone());
        begun
    });
    let turns: Vec<Begun> = turns.collect();
    assert_eq!(count_of(&turns, &small), 1, "its turn is not beyond those of all others");
    assert_eq!(count_of(&turns, &probe), 1, "nor is a probe's");
}

#[test]
fn of_what_is_ahead_there_is_a_bound_for_all_receivers() {
    let many: Vec<DueEndpoint> = (1..=5).flat_map(|key| hosts(key, 1)).collect();
    let mut lanes = Lanes::new(Caps { total: 2000, per_key: 1000, ..CAPS });
    lanes.refresh(many.clone());
    claim_all(&mut lanes);
    succeed_all(&mut lanes);
    lanes.refresh(many);
    let claimed = claim_all(&mut lanes).values().sum::<usize>();
    assert_eq!(claimed - begin_all(&mut lanes).len(), MOST_AHEAD);
}

#[tokio::test(start_paused = true)]
async fn what_is_ahead_for_a_receiver_that_falls_silent_goes_back() {
    let swift = endpoint(1, 1, "swift.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh(vec![swift.clone()]);
    claim_all(&mut lanes);
    succeed_all(&mut lanes);
    let claimed = claim_all(&mut lanes)[&swift.id];
    let begun = begin_all(&mut lanes).len();
    assert!(begun < claimed && lanes.take_stranded().is_empty());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(lanes.next_turn().is_none());
    assert_eq!((lanes.take_stranded().len(), lanes.ahead), (claimed - begun, 0));
    assert!(claim_all(&mut lanes).is_empty(), "some are under way");
}
