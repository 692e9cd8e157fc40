use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::*;

use crate::deliver::{ScriptedReceiver, completed};
use crate::house::{House, circuit, patiently};

/// More than a window at its start, which is 4.
const EVENTS: usize = 20;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn opens_after_five() -> CircuitPolicy {
    CircuitPolicy { open_after: 5, ..circuit() }
}

async fn endpoint(house: &House) -> Endpoint {
    house.store.endpoints(&house.key, None, None, 1).await.expect("endpoints").items.remove(0)
}

async fn with_events() -> House {
    let house = House::new().await;
    for _ in 0..EVENTS {
        completed(&house).await;
    }
    house
}

/// Long enough for the loop to look and send, were it to.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_receiver_that_fails_everything_is_soon_left_alone_and_for_its_first_pause() {
    let house = with_events().await;
    let receiver = ScriptedReceiver::answering((0..1000).map(|_| (500, None)));
    let deliver = house.deliver_under(opens_after_five(), receiver.clone());
    let is_open = async || Some(endpoint(&house).await).filter(|one| one.state == EndpointState::Failing);
    let open = patiently(is_open).await;
    a_while().await;
    let burst = receiver.seen().len();
    assert!((5..=8).contains(&burst), "{burst}: five failures, and what else its window had under way");
    assert_eq!(open.retry_at, Some(house.clock.now().plus(secs(10))));

    house.clock.turn(secs(9));
    a_while().await;
    assert_eq!(receiver.seen().len(), burst, "it is left alone");
    for pause in [20, 40] {
        let before = receiver.seen().len();
        house.clock.turn(open.retry_at.expect("a time").since(house.clock.now()).max(secs(pause)));
        let retry_at = house.clock.now().plus(secs(pause));
        patiently(async || Some(endpoint(&house).await).filter(|one| one.retry_at == Some(retry_at))).await;
        a_while().await;
        assert_eq!(receiver.seen().len(), before + 1, "one probe");
    }
    deliver.stop().await;
}

#[tokio::test]
async fn a_rest_that_a_receiver_asks_for_holds_for_everything_that_waits_for_it() {
    let house = with_events().await;
    let receiver = ScriptedReceiver::answering((0..4).map(|_| (429, Some(secs(120)))));
    let deliver = house.deliver_under(opens_after_five(), receiver.clone());
    let until = Some(house.clock.now().plus(secs(120)));
    patiently(async || Some(endpoint(&house).await).filter(|one| one.retry_at == until)).await;
    a_while().await;
    let asked = receiver.seen().len();
    assert!(asked <= 4, "{asked}: no more than its window had under way");
    house.clock.turn(secs(119));
    a_while().await;
    assert_eq!(receiver.seen().len(), asked, "it was to be left alone");
    house.clock.turn(secs(1));
    patiently(async || (receiver.seen().len() == EVENTS + 4).then_some(())).await;
    deliver.stop().await;
}

/// Fails five times, then takes everything in 20 ms; how many were under way, and how many had succeeded before, at the
/// beginning of each.
#[derive(Default)]
struct BackAgain {
    failures: AtomicUsize,
    under_way: AtomicUsize,
    taken: AtomicUsize,
    begun: Mutex<Vec<(usize, usize)>>,
}

impl Notifier for BackAgain {
    fn send<'a>(&'a self, _: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        if self.failures.fetch_add(1, Ordering::SeqCst) < 5 {
            return Box::pin(async { SendOutcome::answered(500) });
        }
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst);
        self.begun.lock().expect("a list").push((under_way, self.taken.load(Ordering::SeqCst)));
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            self.taken.fetch_add(1, Ordering::SeqCst);
            SendOutcome::answered(200)
        })
    }
}

#[tokio::test]
async fn what_has_piled_up_does_not_fall_on_a_receiver_that_is_back_all_together() {
    let house = with_events().await;
    let receiver = Arc::new(BackAgain::default());
    // One at a time, so that five attempts find it dead and not more.
    let one_by_one = CircuitPolicy { open_after: 1, ..circuit() };
    let deliver = house.deliver_under(one_by_one, receiver.clone());
    patiently(async || {
        house.clock.turn(secs(600));
        a_while().await;
        (receiver.taken.load(Ordering::SeqCst) == EVENTS).then_some(())
    })
    .await;
    deliver.stop().await;
    let begun = receiver.begun.lock().expect("a list").clone();
    assert_eq!(begun[0], (0, 0), "a probe");
    for (under_way, taken) in &begun[1..] {
        assert!(under_way < taken, "{begun:?}: one more at once with each success");
    }
    assert!(begun.iter().any(|(under_way, _)| *under_way > 1), "{begun:?}: it never recovered");
}
