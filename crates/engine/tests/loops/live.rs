//! Telling a webhook of a running job.

use std::sync::{Arc, Mutex};

use domain::*;
use tokio::sync::{Semaphore, mpsc};

use crate::house::{House, Outcome, patiently};

/// Keeps what it is given, in order, and answers 200; to progress only with a permit.
struct Watcher {
    permits: Semaphore,
    seen: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Began(EventKind, Option<u8>),
    Ended(EventKind),
}

impl Watcher {
    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(permits), seen: Mutex::default() })
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("what was seen").clone()
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().expect("what was seen").push(seen);
    }

    async fn until(&self, wanted: &Seen) {
        patiently(async || self.seen().contains(wanted).then_some(())).await;
    }
}

impl Notifier for Watcher {
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        Box::pin(async move {
            let kind = notice.event.kind;
            let body: serde_json::Value = serde_json::from_slice(&notice.event.body).expect("JSON");
            assert_eq!(body["event"], kind.as_str());
            assert_eq!(notice.event.sequence.is_none(), kind.is_live());
            assert_eq!(notice.at_most.is_some(), kind.is_live(), "live events are given less time");
            let percent =
                body["progress"].as_u64().map(|percent| u8::try_from(percent).expect("a percentage"));
            self.note(Seen::Began(kind, percent));
            if kind == EventKind::Progress {
                self.permits.acquire().await.expect("a permit").forget();
            }
            self.note(Seen::Ended(kind));
            SendOutcome::answered(200)
        })
    }
}

const ALL: &str = r#"{"webhook":"https://hooks.example/","webhookEvents":
    ["job.started","job.progress","job.completed","job.failed"]}"#;

#[tokio::test]
async fn a_webhook_that_asks_is_told_of_start_progress_and_end_in_order_and_of_nothing_after() {
    let house = House::new().await;
    let job = house.submit_with(ALL).await;
    let (watcher, (fraction, told)) = (Watcher::with_permits(1000), mpsc::unbounded_channel());
    let deliver = house.deliver(watcher.clone());
    let extract = house.extract([Outcome::Follows(told, b"the audio")]);
    watcher.until(&Seen::Ended(EventKind::Started)).await;
    for (done, percent) in [(0.1, 14), (0.5, 50), (0.9, 86)] {
        fraction.send(done).expect("the extraction runs");
        watcher.until(&Seen::Began(EventKind::Progress, Some(percent))).await;
    }
    drop(fraction);
    watcher.until(&Seen::Ended(EventKind::Completed)).await;
    extract.stop().await;
    deliver.stop().await;
    let seen = watcher.seen();
    let began: Vec<_> = seen.iter().filter(|seen| matches!(seen, Seen::Began(..))).collect();
    for (pair, began) in seen.chunks(2).zip(&began) {
        assert_eq!(pair[0], **began, "two at once: {seen:?}");
    }
    assert_eq!(began[0], &Seen::Began(EventKind::Started, None));
    assert_eq!(began[began.len() - 1], &Seen::Began(EventKind::Completed, None));
    let percents: Vec<u8> = began
        .iter()
        .filter_map(|seen| match seen {
            Seen::Began(EventKind::Progress, percent) => *percent,
            _ => None,
        })
        .collect();
    assert_eq!(percents.len(), began.len() - 2, "{seen:?}");
    assert!(percents.is_sorted() && percents.len() >= 3, "{percents:?}");
    assert_eq!(house.store.events_after(&house.key, 0, 10).await.expect("events").len(), 1);
    let recorded = house.store.deliveries_of(&house.key, &job).await.expect("deliveries");
    assert_eq!(recorded.len(), began.len(), "every one is on record");
    assert!(recorded.iter().all(|one| (one.state, one.attempts.len()) == (DeliveryState::Delivered, 1)));
}

#[tokio::test]
async fn the_end_is_not_sent_while_progress_is_under_way_and_replaces_what_waits() {
    let house = House::new().await;
    let job = house.submit_with(ALL).await;
    let (watcher, (fraction, told)) = (Watcher::with_permits(0), mpsc::unbounded_channel());
    let deliver = house.deliver(watcher.clone());
    let extract = house.extract([Outcome::Follows(told, b"the audio")]);
    let first = patiently(async || {
        watcher.seen().into_iter().find(|seen| matches!(seen, Seen::Began(EventKind::Progress, _)))
    })
    .await;
    fraction.send(0.9).expect("the extraction runs");
    house.job_until(&job, |job| job.state.percent().get() == 86).await;
    drop(fraction);
    house.job_until(&job, |job| matches!(job.state, JobState::Completed(_))).await;
    // Rounds of the loop pass, in which the end must not be sent.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(watcher.seen().last(), Some(&first), "something was sent beside it");
    watcher.permits.add_permits(1000);
    watcher.until(&Seen::Ended(EventKind::Completed)).await;
    extract.stop().await;
    deliver.stop().await;
    let after: Vec<_> = watcher.seen().into_iter().skip_while(|seen| *seen != first).skip(1).collect();
    let end = [Seen::Ended(EventKind::Progress), Seen::Began(EventKind::Completed, None)];
    assert_eq!(after, [&end[..], &[Seen::Ended(EventKind::Completed)]].concat());
}

#[tokio::test]
async fn a_job_that_is_tried_again_starts_once_and_never_falls_back() {
    let house = House::new().await;
    let job = house.submit_with(ALL).await;
    let watcher = Watcher::with_permits(1000);
    let deliver = house.deliver(watcher.clone());
    let (fraction, told) = mpsc::unbounded_channel();
    let busy = Failure::transient(FailureCode::DownloadFailed, "Try again later.");
    let first = house.extract([Outcome::Follows(told, b"")]);
    watcher.until(&Seen::Ended(EventKind::Started)).await;
    fraction.send(0.5).expect("the extraction runs");
    watcher.until(&Seen::Began(EventKind::Progress, Some(50))).await;
    first.stop().await;
    let second = house.extract([Outcome::Fails(busy), Outcome::Makes(b"the audio")]);
    house.job_until(&job, |job| matches!(job.state, JobState::Queued(_)) && job.attempts == 1).await;
    house.clock.turn(std::time::Duration::from_secs(2));
    watcher.until(&Seen::Ended(EventKind::Completed)).await;
    second.stop().await;
    deliver.stop().await;
    let seen = watcher.seen();
    let starts = seen.iter().filter(|seen| matches!(seen, Seen::Began(EventKind::Started, _))).count();
    assert_eq!(starts, 1, "{seen:?}");
    let percents: Vec<_> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Began(EventKind::Progress, percent) => *percent,
            _ => None,
        })
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
}
