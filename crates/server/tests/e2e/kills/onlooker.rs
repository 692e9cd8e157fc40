//! What an onlooker sees of a job after the kill: rows, files, the other side's memory. Nothing is repaired by looking.

use std::path::Path;

use domain::{Disposition, Event, JobId, JobState, KeyId, Secret};
use store::{DatabaseUrl, MasterKey, RecordedDelivery, Store};
use tempfile::TempDir;

use super::point::Point;
use crate::receiver::Received;

/// The key that the settings give.
fn key() -> KeyId {
    KeyId::from_random([0; 8])
}

/// The rows as they are now.
pub(crate) struct Rows {
    store: Store,
    /// Where the copy is: the service itself shall find its database as the kill left it.
    _copy: TempDir,
}

impl Rows {
    pub(crate) async fn of(data: &Path, postgres: Option<&str>) -> Self {
        let copy = TempDir::new().expect("a folder");
        let url = match postgres {
            Some(url) => DatabaseUrl::Postgres(Secret::new(url)),
            None => {
                for file in ["audio-extract.sqlite", "audio-extract.sqlite-wal"] {
                    std::fs::copy(data.join(file), copy.path().join(file)).expect("a copy");
                }
                DatabaseUrl::Sqlite(copy.path().join("audio-extract.sqlite"))
            }
        };
        let master_key = std::fs::read_to_string(data.join("master.key")).expect("the master key");
        let master_key = MasterKey::parse(&master_key).expect("the master key");
        Self { store: Store::connect(&url, master_key).await.expect("the rows"), _copy: copy }
    }

    /// The job's final event, if it has one by now.
    pub(crate) async fn event(&self, job: &JobId) -> Option<Event> {
        self.events().await.into_iter().find(|event| event.job == *job)
    }

    /// Every event of the key, in order.
    pub(crate) async fn events(&self) -> Vec<Event> {
        self.store.events_after(&key(), 0, 100_000).await.expect("the events")
    }

    pub(crate) async fn delivery(&self, job: &JobId) -> Option<RecordedDelivery> {
        let mut deliveries = self.store.deliveries_of(&key(), job).await.expect("the deliveries");
        assert!(deliveries.len() <= 1, "one event, one receiver: {deliveries:?}");
        deliveries.pop()
    }

    /// Whether a job, a lease or a delivery waits for anything.
    pub(crate) async fn is_anything_under_way(&self) -> bool {
        let depth = self.store.queue_depth().await.expect("the depth");
        depth.queued + depth.processing + depth.deliveries_pending > 0
    }

    async fn state(&self, job: &JobId) -> JobState {
        self.store.job(&key(), job).await.expect("the rows").expect("what was accepted is there").state
    }

    pub(crate) async fn close(self) {
        self.store.close().await;
    }
}

/// What the world knows of the life that was cut off.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The job, once its submission was answered.
    pub(crate) job: Option<JobId>,
    /// Whether its source's host was asked.
    pub(crate) is_source_asked: bool,
    /// Its replay, once asking for that was answered.
    pub(crate) replay: Option<String>,
    /// POSTs of its event that arrived.
    pub(crate) posts: Vec<Received>,
}

impl Known {
    fn is_sent(&self, is_replay: bool) -> bool {
        self.posts.iter().any(|post| post.headers.contains_key("webhook-replay") == is_replay)
    }
}

/// Tells the point.
pub(crate) async fn point(rows: &Rows, data: &Path, known: &Known) -> Point {
    let Some(job) = &known.job else {
        let is_accepted = rows.is_anything_under_way().await;
        return if is_accepted { Point::Accepted } else { Point::Submitted };
    };
    match rows.state(job).await {
        JobState::Queued(_) => Point::Answered,
        JobState::Processing(_) => {
            let is_there = |name: &str| data.join(format!("files/{job}/1/{name}")).exists();
            match () {
                () if is_there("audio.wav") => Point::ResultStored,
                () if is_there("audio.wav#1") => Point::ResultBegun,
                () if known.is_source_asked => Point::SourceOpened,
                () => Point::Claimed,
            }
        }
        JobState::Completed(_) => delivery_point(&rows.delivery(job).await.expect("its delivery"), known),
        JobState::Failed(failed) => panic!("{job} failed: {:?}", failed.failure),
    }
}

fn delivery_point(recorded: &RecordedDelivery, known: &Known) -> Point {
    let is_pending = recorded.state == domain::DeliveryState::Pending;
    let is_claimed = is_pending && recorded.next_at.is_none();
    let is_replay = recorded.delivery.is_replay;
    let is_sent = known.is_sent(is_replay);
    match (is_replay, is_pending, is_claimed) {
        (false, true, _) if is_sent => Point::Sent,
        (false, true, true) => Point::DeliveryClaimed,
        (false, true, false) => Point::Finished,
        (false, false, _) if known.replay.is_some() => Point::ReplayAsked,
        (false, false, _) => Point::Recorded,
        (true, true, _) if is_sent => Point::ReplaySent,
        (true, true, true) => Point::ReplayClaimed,
        (true, true, false) => Point::ReplayInLine,
        (true, false, _) => Point::ReplayRecorded,
    }
}

/// How many POSTs the recorded attempts allow for.
pub(crate) fn posts_explained(recorded: &RecordedDelivery) -> std::ops::RangeInclusive<usize> {
    let of = |wanted| recorded.attempts.iter().filter(|a| a.outcome.disposition() == wanted).count();
    let delivered = of(Disposition::Delivered);
    delivered..=delivered + of(Disposition::MaybeDelivered)
}
