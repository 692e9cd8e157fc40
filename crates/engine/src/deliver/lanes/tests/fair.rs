//! That nobody is starved, whoever does not answer.

use super::*;

const STEP: Duration = Duration::from_millis(100);

fn probes(key: u8, count: u8) -> Vec<DueEndpoint> {
    hosts(key, count).into_iter().map(|endpoint| DueEndpoint { is_probe: true, ..endpoint }).collect()
}

#[test]
fn the_probes_of_a_key_are_within_the_share_of_those_that_do_not_answer() {
    let other = endpoint(1, 2, "new.example");
    let mut lanes = Lanes::new(CAPS);
    lanes.refresh([probes(1, 20), vec![other.clone()]].concat());
    let claimed = claim_all(&mut lanes);
    assert_eq!(claimed.get(&other.id), Some(&4), "a whole window");
    assert_eq!(claimed.len() - 1, CAPS.per_key / 4);
}

#[test]
fn whatever_other_keys_hold_the_next_one_finds_room() {
    for busy in 1..=6 {
        let mut lanes = Lanes::new(CAPS);
        let of_keys: Vec<_> = (1..=busy).flat_map(|key| hosts(key, 3)).collect();
        acquaint(&mut lanes, &of_keys);
        lanes.refresh(of_keys);
        claim_all(&mut lanes);
        let newcomer = endpoint(1, 200, "new.example");
        lanes.refresh(vec![newcomer.clone()]);
        begin_all(&mut lanes);
        claim_all(&mut lanes);
        assert!(begin_all(&mut lanes).iter().any(|begun| begun.endpoint == newcomer), "beside {busy}");
    }
}

#[test]
fn receivers_that_do_not_answer_leave_half_of_a_key_to_those_that_did() {
    let silent = hosts(1, 30);
    let (known, unknown) = (endpoint(200, 1, "known.example"), endpoint(201, 1, "new.example"));
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, std::slice::from_ref(&known));
    lanes.refresh(silent.clone());
    claim_all(&mut lanes);
    let begun = begin_all(&mut lanes);
    assert_eq!(begun.len(), CAPS.per_key / 2);
    lanes.refresh([silent.clone(), vec![known.clone()]].concat());
    claim_all(&mut lanes);
    let answered = begin_all(&mut lanes);
    assert_eq!((answered.len(), count_of(&answered, &known)), (5, 5), "its whole window");
    lanes.take_ready();

    // Once they have timed out they are known not to answer, and leave as much again to those that are new.
    let mut mute = Vec::new();
    for begun in begun {
        mute.push(begun.endpoint.clone());
        end(&mut lanes, begun, &timed_out());
    }
    mute.dedup();
    lanes.refresh([mute.as_slice(), std::slice::from_ref(&unknown)].concat());
    let claimed = claim_all(&mut lanes);
    assert!(mute.iter().all(|one| claimed.get(&one.id) == Some(&1)), "one after the other: {claimed:?}");
    assert!(claimed.get(&unknown.id) >= Some(&3), "{claimed:?}");
}

/// Receivers that answered until now fall silent all at once: one attempt each is begun before that is known.
#[tokio::test(start_paused = true)]
async fn an_answering_receiver_is_served_at_once_while_all_others_fall_silent() {
    let (others, answering) = (hosts(1, 40), endpoint(201, 1, "answering.example"));
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &others);
    tokio::time::advance(Duration::from_secs(60)).await;
    acquaint(&mut lanes, std::slice::from_ref(&answering));
    let mut silent = 0;
    for other in &others {
        lanes.refresh(vec![other.clone(), answering.clone()]);
        while let Some(claim) = lanes.next_claim(Whom::Anybody) {
            find_one(&mut lanes, claim);
        }
        let (served, unanswered): (Vec<Begun>, Vec<Begun>) =
            begin_all(&mut lanes).into_iter().partition(|begun| begun.endpoint.id == answering.id);
        assert!(!served.is_empty(), "beside {silent} that do not answer");
        for begun in served {
            end(&mut lanes, begun, &quick(200));
        }
        silent += unanswered.len();
        tokio::time::advance(STEP).await;
    }
    assert_eq!(silent, CAPS.per_key * 3 / 4, "as many as may be waited for of those that have answered");
}

#[tokio::test(start_paused = true)]
async fn what_is_long_under_way_is_not_answered_unless_something_else_is() {
    let (mute, mixed, new) =
        (endpoint(1, 1, "mute.example"), endpoint(2, 1, "mixed.example"), endpoint(3, 1, "new.example"));
    let both = [mute.clone(), mixed.clone()];
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &both);
    lanes.refresh(both.to_vec());
    claim_all(&mut lanes);
    let mut begun = begin_all(&mut lanes);
    assert_eq!((count_of(&begun, &mute), count_of(&begun, &mixed)), (5, 5));
    lanes.take_ready();
    tokio::time::advance(Duration::from_secs(1)).await;
    let one = begun.iter().position(|begun| begun.endpoint.id == mixed.id).expect("of both");
    end(&mut lanes, begun.remove(one), &quick(200));
    tokio::time::advance(Duration::from_millis(1_500)).await;
    assert!(lanes.next_turn().is_none());
    let standing =
        |lanes: &Lanes, of: &DueEndpoint| lanes.heard.standing(of, lanes.lanes[&of.receiver].answered);
    assert_eq!((standing(&lanes, &mute), standing(&lanes, &mixed)), (Standing::Mute, Standing::Answering));
    // All that is under way counts as not answered, so that only who answers just now gets what is left.
    lanes.refresh([both.as_slice(), &[new]].concat());
    assert_eq!(claim_all(&mut lanes).into_keys().collect::<Vec<_>>(), [mixed.id]);
}

/// Ten minutes of three keys, each with receivers that answer and many more that do not, and more due for all of them
/// than can be sent.
#[tokio::test(start_paused = true)]
async fn everybody_is_served_again_and_again_and_who_answers_is_never_kept_waiting() {
    let is_mute = |endpoint: &DueEndpoint| !endpoint.receiver.as_str().starts_with("host1.");
    let all: Vec<DueEndpoint> = (1..=3).flat_map(|key| hosts(key, 12)).collect();
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &all);
    tokio::time::advance(Duration::from_secs(60)).await;
    acquaint(&mut lanes, &all.iter().filter(|one| !is_mute(one)).cloned().collect::<Vec<_>>());
    let mut under_way: Vec<Begun> = Vec::new();
    let mut served: HashMap<EndpointId, Instant> =
        all.iter().map(|one| (one.id.clone(), Instant::now())).collect();
    let mut longest: HashMap<EndpointId, Duration> = HashMap::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        let (over, still): (Vec<Begun>, Vec<Begun>) = under_way
            .into_iter()
            .partition(|begun| !is_mute(&begun.endpoint) || begun.began.elapsed() >= Duration::from_secs(15));
        under_way = still;
        for begun in over {
            let answered = SendOutcome { took: Duration::from_millis(20), ..SendOutcome::answered(200) };
            let outcome = if is_mute(&begun.endpoint) { timed_out() } else { answered };
            // That it failed five times in a row is for its circuit; here more is always due for it.
            end(&mut lanes, begun, &outcome);
        }
        lanes.refresh(all.clone());
        // As many claims as there are between two looks.
        for _ in 0..16 {
            let Some(claim) = lanes.next_claim(Whom::Anybody) else { break };
            fill(&mut lanes, claim);
        }
        for begun in begin_all(&mut lanes) {
            let since = served.insert(begun.endpoint.id.clone(), Instant::now()).expect("one of them");
            let waited = longest.entry(begun.endpoint.id.clone()).or_default();
            *waited = since.elapsed().max(*waited);
            under_way.push(begun);
        }
        lanes.take_stranded();
        tokio::time::advance(STEP).await;
    }
    for endpoint in &all {
        let waited = longest[&endpoint.id].max(served[&endpoint.id].elapsed());
        let bound =
            if is_mute(endpoint) { 12 * Duration::from_secs(15) + Duration::from_secs(60) } else { STEP * 2 };
        assert!(waited <= bound, "{} was kept waiting for {waited:?}", endpoint.receiver.as_str());
    }
}

#[test]
fn claims_for_receivers_that_answer_take_turns_with_those_for_all_others() {
    let (answering, new) = (hosts(1, 3), hosts(2, 3));
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, &answering);
    lanes.refresh([new, answering].concat());
    let mut claims = |whom| -> Vec<bool> {
        let mut claim = || {
            let claim = lanes.next_claim(whom)?;
            let is_answering = claim.is_answering;
            find_one(&mut lanes, claim);
            Some(is_answering)
        };
        (0..4).map_while(|_| claim()).collect()
    };
    let turns = claims(Whom::Anybody);
    assert!(turns == [true, false, true, false] || turns == [false, true, false, true], "{turns:?}");
    assert_eq!(claims(Whom::Answering), [true]);
    assert_eq!(claims(Whom::Anybody), [false]);
    assert!(!lanes.is_page_wanted());
}

#[test]
fn who_answers_is_not_forgotten_when_a_page_is_turned() {
    let (busy, silent, new) =
        (endpoint(1, 1, "busy.example"), endpoint(2, 1, "silent.example"), endpoint(3, 1, "new.example"));
    let mut lanes = Lanes::new(CAPS);
    acquaint(&mut lanes, std::slice::from_ref(&busy));
    lanes.refresh(vec![silent.clone()]);
    claim_all(&mut lanes);
    for begun in begin_all(&mut lanes) {
        end(&mut lanes, begun, &timed_out());
    }
    lanes.refresh(vec![busy.clone()]);
    assert!(!lanes.is_page_wanted(), "it stays anyhow");
    lanes.refresh(vec![busy.clone(), silent, new]);
    assert!(lanes.is_page_wanted());
    lanes.turn_page(hosts(2, 1));
    let mut left = Vec::new();
    while let Some(claim) = lanes.next_claim(Whom::Anybody) {
        left.push(claim.endpoint.clone());
        // There is nothing more.
        lanes.claimed(claim, Instant::now(), Vec::new());
    }
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&busy), "{left:?}");
    lanes.turn_page(Vec::new());
    assert!(claim_all(&mut lanes).is_empty(), "what a claim did not find");
    lanes.refresh(vec![busy]);
    lanes.refresh(Vec::new());
    assert!(claim_all(&mut lanes).is_empty(), "what a look at all did not find");
}
