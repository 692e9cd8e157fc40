use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::*;

use crate::house::{House, MARGIN, Outcome, RETENTION, patiently};

/// Answers as told, 200 when nothing is left to tell; keeps what it was given.
#[derive(Default)]
pub(crate) struct ScriptedReceiver {
    answers: Mutex<VecDeque<(u16, Option<Duration>)>>,
    seen: Mutex<Vec<(EventId, u32, Timestamp)>>,
    /// Which of them said that the file is gone.
    said_gone: Mutex<Vec<bool>>,
}

impl ScriptedReceiver {
    pub(crate) fn answering(answers: impl IntoIterator<Item = (u16, Option<Duration>)>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    pub(crate) fn seen(&self) -> Vec<(EventId, u32, Timestamp)> {
        self.seen.lock().expect("what was seen").clone()
    }
}

impl Notifier for ScriptedReceiver {
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome> {
        assert_eq!(notice.signing.secrets.len(), 1, "signed with the key's secret");
        self.seen.lock().expect("what was seen").push((notice.event.id.clone(), notice.attempt, notice.at));
        self.said_gone.lock().expect("what was said").push(notice.is_file_gone);
        let (status, retry_after) =
            self.answers.lock().expect("the script").pop_front().unwrap_or((200, None));
        Box::pin(async move {
            SendOutcome { answer: b"ok".to_vec(), retry_after, ..SendOutcome::answered(status) }
        })
    }
}

/// A completed job whose event waits to be delivered.
pub(crate) async fn completed(house: &House) -> JobId {
    let job = house.submit().await;
    let extract = house.extract([Outcome::Makes(b"the audio")]);
    house.job_until(&job, |job| matches!(job.state, JobState::Completed(_))).await;
    extract.stop().await;
    job
}

async fn recorded(house: &House, job: &JobId) -> store::RecordedDelivery {
    house.store.deliveries_of(&house.key, job).await.expect("deliveries").remove(0)
}

#[tokio::test]
async fn a_dead_receiver_is_tried_over_the_whole_schedule_with_one_id_and_then_left() {
    let house = House::new().await;
    let job = completed(&house).await;
    let receiver = ScriptedReceiver::answering((0..20).map(|_| (503, None)));
    let deliver = house.deliver(receiver.clone());
    let waits = RetryPolicy::standard().waits;
    for (done, wait) in waits.iter().enumerate() {
        patiently(async || (recorded(&house, &job).await.attempts.len() == done + 1).then_some(())).await;
        house.clock.turn(*wait);
    }
    let end =
        patiently(async || Some(recorded(&house, &job).await).filter(|d| d.state != DeliveryState::Pending))
            .await;
    deliver.stop().await;
    assert_eq!((end.state, end.attempts.len()), (DeliveryState::Exhausted, 10));
    let seen = receiver.seen();
    assert!(seen.iter().all(|(id, ..)| *id == seen[0].0), "the id stays the same");
    assert_eq!(seen.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    let waited: Vec<Duration> = seen.windows(2).map(|pair| pair[1].2.since(pair[0].2)).collect();
    assert_eq!(waited, waits);
}

#[tokio::test]
async fn gone_ends_a_delivery_at_once_and_a_redirect_does_not_count() {
    for (status, state, attempts) in [
        (410, DeliveryState::Exhausted, 1),
        (302, DeliveryState::Delivered, 2),
        (204, DeliveryState::Delivered, 1),
    ] {
        let house = House::new().await;
        let job = completed(&house).await;
        let deliver = house.deliver(ScriptedReceiver::answering([(status, None)]));
        patiently(async || (!recorded(&house, &job).await.attempts.is_empty()).then_some(())).await;
        house.clock.turn(Duration::from_secs(5));
        let end = patiently(async || Some(recorded(&house, &job).await).filter(|d| d.state == state)).await;
        deliver.stop().await;
        assert_eq!(end.attempts.len(), attempts, "{status}");
        assert_eq!(end.attempts[0].outcome.status, Some(status));
    }
}

#[tokio::test]
async fn retry_after_makes_a_wait_longer_within_a_bound_and_never_shorter() {
    for (asked, waited) in [(1, 5), (60, 60), (1_000_000, 86_400)] {
        let house = House::new().await;
        let job = completed(&house).await;
        let receiver = ScriptedReceiver::answering([(429, Some(Duration::from_secs(asked)))]);
        let deliver = house.deliver(receiver.clone());
        patiently(async || (!recorded(&house, &job).await.attempts.is_empty()).then_some(())).await;
        house.clock.turn(Duration::from_secs(waited - 1));
        // A whole round of the loop passes, in which the delivery must not be taken.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(receiver.seen().len(), 1, "asked for {asked} s");
        house.clock.turn(Duration::from_secs(1));
        patiently(async || (receiver.seen().len() == 2).then_some(())).await;
        deliver.stop().await;
    }
}

#[tokio::test]
async fn what_a_replay_names_is_there_for_the_whole_margin_or_it_says_that_it_is_gone() {
    const HOUR: Duration = Duration::from_secs(3600);
    // No sweep comes between, which would keep or delete.
    for (asked_after, is_gone) in [
        (RETENTION - HOUR / 2, false),
        (RETENTION, false),
        (RETENTION + HOUR / 2, false),
        (80 * HOUR - MARGIN - HOUR, false),
        (80 * HOUR - HOUR / 2, false),
        (80 * HOUR, true),
    ] {
        let house = House::new().await;
        let job = completed(&house).await;
        let receiver = ScriptedReceiver::answering([]);
        let deliver = house.deliver(receiver.clone());
        let delivered = async |attempts| {
            let recorded = async || Some(recorded(&house, &job).await);
            patiently(async || recorded().await.filter(|one| one.attempts.len() == attempts)).await
        };
        let first = delivered(1).await;
        house.clock.turn(asked_after);
        let now = house.clock.now();
        let replayed = house.store.replay(&house.key, &first.delivery.id, now).await.expect("asked");
        assert_eq!(replayed, store::Replayed::Waiting);
        delivered(2).await;
        deliver.stop().await;
        assert_eq!(*receiver.said_gone.lock().expect("what was said"), [false, is_gone], "{asked_after:?}");
        let JobState::Completed(done) = house.job(&job).await.state else { panic!("it was completed") };
        assert_eq!(done.expires_at >= now.plus(MARGIN), !is_gone, "there until {:?}", done.expires_at);
    }
}
