use domain::{DeliveryId, DeliveryState, EndpointVerdict, JobId, KeyId, Receiver, ReplayId, Timestamp};
use store::{Cursor, DeliveryFilter, MAX_REPLAYS, Next, ReplayFilter, Replayed};

use crate::delivering::answered;
use crate::on_both;
use crate::world::{LONG, NEVER_OPENS, NOW, World, bytes, secs};

const URL: &str = "https://h.example/";

impl World {
    /// `count` deliveries of a new key that came to this.
    async fn ended(&self, count: usize, next: Next) -> KeyId {
        let key = self.key().await;
        for _ in 0..count {
            self.event_for(&key, URL).await;
        }
        let held = self.send(count, LONG, NOW).await;
        assert_eq!(held.len(), count);
        let group: Vec<_> = held
            .into_iter()
            .map(|lease| (lease.clone(), answered(&lease, 500), next, EndpointVerdict::Succeeded))
            .collect();
        self.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded");
        key
    }

    async fn start(&self, key: &KeyId, filter: &ReplayFilter, now: Timestamp) -> ReplayId {
        self.store.start_replay(key, filter, now).await.expect("answered").expect("asked for")
    }

    async fn ids(&self, key: &KeyId, filter: &DeliveryFilter) -> Vec<DeliveryId> {
        let page = self.store.deliveries(key, filter, None, 100).await.expect("read");
        assert_eq!(page.next, None);
        page.items.into_iter().map(|item| item.id).collect()
    }
}

async fn deliveries_are_listed_in_pages_and_filtered(world: World) {
    let key = world.ended(5, Next::Exhausted).await;
    world.ended(1, Next::Exhausted).await;
    let (mut seen, mut cursor): (Vec<DeliveryId>, Option<Cursor<DeliveryId>>) = (Vec::new(), None);
    let all = DeliveryFilter::default();
    for expected in [2, 2, 1] {
        let page = world.store.deliveries(&key, &all, cursor.as_ref(), 2).await.expect("read");
        assert_eq!(page.items.len(), expected);
        seen.extend(page.items.into_iter().map(|item| item.id));
        cursor =
            page.next.map(|next| Cursor::parse(&next.to_text(), DeliveryId::parse).expect("its own text"));
    }
    assert_eq!(cursor, None);
    assert_eq!(seen, world.ids(&key, &all).await);
    let last = seen.last().expect("the oldest");
    let one = world.store.delivery(&key, last).await.expect("read").expect("it is there");
    assert_eq!((one.state, one.attempts.len(), one.next_at), (DeliveryState::Exhausted, 1, None));
    assert_eq!((one.created_at, one.endpoint.url.as_written()), (NOW, URL));
    assert_eq!(world.store.delivery(&world.key().await, last).await.expect("read"), None);

    let job = Some(one.delivery.event.job.clone());
    let receiver = |text: &str| Some(Receiver::from_stored(text.to_owned()));
    for (filter, expected) in [
        (DeliveryFilter { job, ..all.clone() }, 1),
        (DeliveryFilter { job: Some(JobId::from_random([9; 8])), ..all.clone() }, 0),
        (DeliveryFilter { state: Some(DeliveryState::Exhausted), ..all.clone() }, 5),
        (DeliveryFilter { state: Some(DeliveryState::Pending), ..all.clone() }, 0),
        (DeliveryFilter { receiver: receiver("h.example:443"), ..all.clone() }, 5),
        (DeliveryFilter { receiver: receiver("h.example:80"), ..all.clone() }, 0),
        (DeliveryFilter { after: Some(NOW), ..all.clone() }, 5),
        (DeliveryFilter { after: Some(NOW.plus(secs(1))), ..all.clone() }, 0),
        (DeliveryFilter { before: Some(NOW), ..all.clone() }, 0),
        (DeliveryFilter { before: Some(NOW.plus(secs(1))), ..all.clone() }, 5),
    ] {
        assert_eq!(world.ids(&key, &filter).await.len(), expected, "{filter:?}");
    }
    let page = world.store.deliveries(&key, &all, None, 1).await.expect("read");
    let item = &page.items[0];
    assert_eq!((item.attempts, item.last_status, item.last_error), (1, Some(500), None));
    for text in ["", "x", "1.dlv_", ".dlv_0000000000000001", "1,dlv_0000000000000001"] {
        assert!(Cursor::parse(text, DeliveryId::parse).is_err(), "{text} was taken");
    }
}

async fn a_replay_is_numbered_on_and_begins_its_retries_anew(world: World) {
    let key = world.ended(1, Next::Exhausted).await;
    let id = world.ids(&key, &DeliveryFilter::default()).await.remove(0);
    let later = NOW.plus(secs(100));
    let replay = async |key: &KeyId| world.store.replay(key, &id, later).await.expect("answered");
    assert_eq!(replay(&world.key().await).await, Replayed::Unknown);
    assert_eq!(replay(&key).await, Replayed::Waiting);
    assert_eq!(world.send(1, LONG, later.minus(secs(1))).await, []);
    let lease = world.send(1, LONG, later).await.remove(0);
    assert_eq!((&lease.item.id, lease.attempt), (&id, 2));
    assert!(lease.item.is_replay && lease.item.failures == 0 && lease.item.file_until > Some(later));
    assert_eq!(replay(&key).await, Replayed::UnderWay);
    let group = [(lease.clone(), answered(&lease, 200), Next::Delivered, EndpointVerdict::Succeeded)];
    assert_eq!(world.store.record_attempts(&group, &NEVER_OPENS, later).await.expect("recorded"), [true]);

    world.store.mark_swept(std::slice::from_ref(&lease.item.event.job)).await.expect("marked");
    assert_eq!(replay(&key).await, Replayed::Waiting, "what was delivered can be replayed");
    let lease = world.send(1, LONG, later).await.remove(0);
    assert!(lease.attempt == 3 && lease.item.file_until < Some(NOW));
}

async fn what_was_never_tried_is_sent_as_it_was_to_be_and_is_no_replay(world: World) {
    let key = world.key().await;
    world.event_for(&key, URL).await;
    let id = world.ids(&key, &DeliveryFilter::default()).await.remove(0);
    let later = NOW.plus(secs(100));
    assert_eq!(world.store.replay(&key, &id, later).await.expect("answered"), Replayed::Waiting);
    world.store.start_replay(&key, &ReplayFilter::default(), later).await.expect("begun");
    let ran = world.store.run_replays(10, later).await.expect("ran").expect("something to do");
    assert_eq!((ran.total, ran.replayed, ran.skipped), (Some(1), 0, 1));
    let first = world.send(1, LONG, NOW).await.remove(0);
    assert!(first.attempt == 1 && !first.item.is_replay, "{first:?}");
    let group =
        [(first.clone(), answered(&first, 500), Next::RetryAt(NOW.plus(LONG)), EndpointVerdict::Succeeded)];
    assert_eq!(world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded"), [true]);
    assert_eq!(world.store.replay(&key, &id, later).await.expect("answered"), Replayed::Waiting);
    let again = world.send(1, LONG, later).await.remove(0);
    assert!(again.attempt == 2 && again.item.is_replay, "one that waits for another attempt is: {again:?}");
}

async fn many_are_replayed_page_by_page(world: World) {
    let key = world.ended(5, Next::Exhausted).await;
    let other = world.ended(1, Next::Exhausted).await;
    world.event_for(&key, URL).await;
    let later = NOW.plus(secs(1));
    let filter = ReplayFilter { state: Some(DeliveryState::Exhausted), ..ReplayFilter::default() };
    let id = world.start(&key, &filter, later).await;
    let progress = async || {
        let progress = world.store.replay_progress(&key, &id).await.expect("read").expect("it is there");
        (progress.total, progress.replayed, progress.finished_at)
    };
    assert_eq!(progress().await, (None, 0, None), "they are not counted while it is asked for");
    assert_eq!(world.store.replay_progress(&other, &id).await.expect("read"), None);
    assert_eq!(world.store.replay_progress(&key, &ReplayId::from_random(bytes())).await.expect("read"), None);
    for expected in [(Some(5), 2, None), (Some(5), 4, None), (Some(5), 5, Some(later))] {
        let ran = world.store.run_replays(2, later).await.expect("ran").expect("there is more to do");
        assert_eq!((ran.total, ran.replayed, ran.finished_at), expected);
        assert_eq!(progress().await, expected);
    }
    assert_eq!(world.store.run_replays(2, later).await.expect("ran"), None);
    let held = world.send(10, LONG, later).await;
    assert_eq!(held.iter().filter(|lease| lease.item.is_replay).count(), 5);
    assert_eq!(held.iter().filter(|lease| !lease.item.is_replay).count(), 1);
}

async fn what_is_under_way_is_left_to_that_and_not_counted(world: World) {
    let key = world.ended(3, Next::Exhausted).await;
    let id = world.ids(&key, &DeliveryFilter::default()).await.remove(0);
    let later = NOW.plus(secs(1));
    assert_eq!(world.store.replay(&key, &id, NOW).await.expect("answered"), Replayed::Waiting);
    let held = world.send(1, LONG, NOW).await.remove(0);
    world.store.start_replay(&key, &ReplayFilter::default(), later).await.expect("begun");
    let ran = world.store.run_replays(10, later).await.expect("ran").expect("something to do");
    assert_eq!((ran.total, ran.replayed, ran.skipped, ran.finished_at), (Some(3), 2, 1, Some(later)));
    let group = [(held.clone(), answered(&held, 200), Next::Delivered, EndpointVerdict::Succeeded)];
    assert_eq!(world.store.record_attempts(&group, &NEVER_OPENS, later).await.expect("recorded"), [true]);
    let sent = world.send(10, LONG, later).await;
    assert!(sent.len() == 2 && sent.iter().all(|lease| lease.item.id != id), "{sent:?}");
}

/// Of three that there were when it began, and one more that has come into the state.
async fn what_was_replayed_and_what_was_skipped_are_all_that_there_were(world: World) {
    let key = world.ended(3, Next::Exhausted).await;
    world.event_for(&key, URL).await;
    let filter = ReplayFilter { state: Some(DeliveryState::Exhausted), ..ReplayFilter::default() };
    let id = world.start(&key, &filter, NOW).await;
    let progress = async || {
        let found = world.store.replay_progress(&key, &id).await.expect("read").expect("it is there");
        (found.total, found.replayed, found.skipped)
    };
    assert_eq!(progress().await, (None, 0, 0));
    world.store.run_replays(2, NOW).await.expect("ran").expect("something to do");
    assert_eq!(progress().await, (Some(3), 2, 0));
    let sent = world.send(10, LONG, NOW).await;
    let late = sent.into_iter().find(|lease| lease.attempt == 1).expect("one that was never tried");
    let group = [(late.clone(), answered(&late, 410), Next::Exhausted, EndpointVerdict::Succeeded)];
    world.store.record_attempts(&group, &NEVER_OPENS, NOW).await.expect("recorded");
    world.store.run_replays(10, NOW).await.expect("ran").expect("something to do");
    assert_eq!(progress().await, (Some(4), 4, 0));
}

async fn whoever_keeps_asking_for_replays_has_his_turn_and_no_more(world: World) {
    let (key, other) = (world.ended(10, Next::Exhausted).await, world.ended(1, Next::Exhausted).await);
    let all = ReplayFilter::default();
    let long = world.start(&key, &all, NOW).await;
    let later = NOW.plus(secs(1));
    let short = world.start(&key, &ReplayFilter { before: Some(NOW), ..all.clone() }, later).await;
    let is_done = async |id: &ReplayId| {
        let progress = world.store.replay_progress(&key, id).await.expect("read").expect("it is there");
        progress.finished_at.is_some()
    };
    // Five pages and one more turn to find that there are no others, beside one of the short one; as many of the other's.
    for turn in 0..14 {
        world.start(&other, &all, later).await;
        let ran = world.store.run_replays(2, later).await.expect("ran").expect("there is something to do");
        let whose = if turn % 2 == 0 { &key } else { &other };
        assert_eq!(&ran.key, whose, "turn {turn}");
        assert_eq!(is_done(&short).await, turn >= 2, "turn {turn}");
    }
    assert!(is_done(&long).await);
}

async fn a_key_has_so_many_replays_at_once_and_no_more(world: World) {
    let (key, other) = (world.ended(1, Next::Exhausted).await, world.key().await);
    let ask =
        async |key, at| world.store.start_replay(key, &ReplayFilter::default(), at).await.expect("answered");
    for _ in 0..MAX_REPLAYS {
        assert!(ask(&key, NOW).await.is_some());
    }
    assert_eq!(ask(&key, NOW).await, None);
    // Later, so that the first turn is not its.
    assert!(ask(&other, NOW.plus(secs(1))).await.is_some(), "another key is another");
    world.store.run_replays(10, NOW).await.expect("ran").expect("there is something to do");
    assert!(ask(&key, NOW).await.is_some(), "one is finished");
    assert_eq!(ask(&key, NOW).await, None);
}

async fn of_one_replay_that_two_nodes_run_nothing_is_sent_twice_or_left_out(world: World) {
    let key = world.ended(20, Next::Exhausted).await;
    let later = NOW.plus(secs(1));
    let id = world.start(&key, &ReplayFilter::default(), later).await;
    let node = async || {
        loop {
            match world.store.run_replays(3, later).await {
                Ok(Some(_)) => {}
                // The other node may hold the row just now: it is this one's turn again until all is done.
                Ok(None) => {
                    let progress = world.store.replay_progress(&key, &id).await.expect("read");
                    if progress.is_some_and(|progress| progress.finished_at.is_some()) {
                        return;
                    }
                }
                Err(cause) => panic!("{cause}"),
            }
        }
    };
    tokio::join!(node(), node());
    let progress = world.store.replay_progress(&key, &id).await.expect("read").expect("it is there");
    assert_eq!((progress.total, progress.replayed), (Some(20), 20));
    assert_eq!(world.send(50, LONG, later).await.len(), 20);
}

on_both! {
    of_one_replay_that_two_nodes_run_nothing_is_sent_twice_or_left_out
    deliveries_are_listed_in_pages_and_filtered
    a_replay_is_numbered_on_and_begins_its_retries_anew
    many_are_replayed_page_by_page
    whoever_keeps_asking_for_replays_has_his_turn_and_no_more
    a_key_has_so_many_replays_at_once_and_no_more
    what_was_never_tried_is_sent_as_it_was_to_be_and_is_no_replay
    what_is_under_way_is_left_to_that_and_not_counted
    what_was_replayed_and_what_was_skipped_are_all_that_there_were
}
