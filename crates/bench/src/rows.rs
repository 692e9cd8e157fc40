//! A store of its own for each measurement, and how rows get into it: one at a time through the store's own
//! transactions, and by the hundred thousand as copies of one that got in that way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{
    ApiKey, Clock, Completed, DeliveryId, EventId, EventKind, Fetched, Job, JobId, JobState, KeyId, Lease,
    Method, NodeId, Queued, ResultFile, Scopes, Secret, Timestamp,
};
use engine::random_id;
use store::{DatabaseUrl, Ending, EventDraft, Finish, MasterKey, NewKey, Store, Submission};

use crate::copies::Raw;
use crate::{Outcome, SystemClock};

/// The contract's own example.
pub(crate) const BODY: &str = r#"{"event":"job.completed","jobId":"job_0123456789abcdef","status":"completed","timestamp":"2026-01-21T12:34:56Z","downloadUrl":"/audio-extract/v1/download/job_0123456789abcdef","outputFile":{"filename":"my-audio-file.mp3","url":"https://cdn.example.com/audio/job_0123456789abcdef/my-audio-file.mp3?sig=c2lnbmF0dXJlIG9mIHRoZSBsaW5rIGluIGJhc2U2NA","size":4824000,"duration":120.5,"format":"mp3","bitrate":"192k"}}"#;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Jobs that one transaction submits.
const SUBMITTED_AT_ONCE: usize = 500;

/// Which database a measurement uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            _ => Err(format!("`{text}` is no database; there are sqlite and postgres").into()),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A store with one key.
pub(crate) struct Rows {
    pub(crate) store: Store,
    pub(crate) key: KeyId,
    url: DatabaseUrl,
    clock: Arc<SystemClock>,
}

impl Rows {
    /// An empty one: in `folder`, or in a database of a server that flushes every commit.
    pub(crate) async fn new(engine: Engine, folder: &Path) -> Outcome<Self> {
        let url = match engine {
            Engine::Sqlite => DatabaseUrl::Sqlite(folder.join("rows.sqlite")),
            Engine::Postgres => {
                DatabaseUrl::Postgres(Secret::new(testkit::durable_postgres().create_database()))
            }
        };
        Self::open(url, MasterKey::generate()?).await
    }

    /// That of a service which is stopped, or runs beside us.
    pub(crate) async fn of_service(data_dir: &Path) -> Outcome<Self> {
        let file: PathBuf = data_dir.join("audio-extract.sqlite");
        let master_key = MasterKey::parse(&std::fs::read_to_string(data_dir.join("master.key"))?)?;
        Self::open(DatabaseUrl::Sqlite(file), master_key).await
    }

    async fn open(url: DatabaseUrl, master_key: MasterKey) -> Outcome<Self> {
        let store = Store::connect(&url, master_key).await?;
        store.migrate().await?;
        let key = KeyId::from_random(random_id());
        let clock = Arc::new(SystemClock);
        let new = NewKey {
            key: ApiKey {
                id: key.clone(),
                name: "bench".to_owned(),
                scopes: Scopes::all(),
                created_at: clock.now(),
                revoked_at: None,
            },
            api_key: Secret::new(format!("ae_{key}")),
            webhook_secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        };
        store.create_key(&new).await?;
        Ok(Self { store, key, url, clock })
    }

    /// Jobs that are being worked on and want their event brought to one of these each.
    pub(crate) async fn processing(
        &self,
        webhooks: impl Iterator<Item = String>,
    ) -> Outcome<Vec<Lease<Job>>> {
        let mut jobs = webhooks.map(|webhook| self.queued(&webhook)).collect::<Outcome<Vec<_>>>()?;
        let count = jobs.len();
        while !jobs.is_empty() {
            let some = jobs.split_off(jobs.len().saturating_sub(SUBMITTED_AT_ONCE));
            let submission = Submission { jobs: some, idempotency: None, max_queued: u64::MAX >> 1 };
            self.store.submit(&self.key, submission, self.clock.now()).await?;
        }
        let node = NodeId::from_random(random_id());
        let claimed = self.store.claim_jobs(&node, count, DAY, self.clock.now()).await?;
        if claimed.len() < count {
            return Err(format!("only {} of {count} jobs could be claimed", claimed.len()).into());
        }
        Ok(claimed)
    }

    fn queued(&self, webhook: &str) -> Outcome<Job> {
        let body = format!(
            r#"{{"source":{{"type":"url","url":"https://media.example/talk.mp4"}},"output":{{"format":"mp3"}},"options":{{"webhook":"{webhook}"}}}}"#
        );
        Ok(Job {
            id: JobId::from_random(random_id()),
            key: self.key.clone(),
            batch: None,
            spec: wire::parse_extract(body.as_bytes()).map_err(|error| format!("{error:?}"))?,
            created_at: self.clock.now(),
            attempts: 0,
            input: None,
            fetched: Fetched::default(),
            state: JobState::Queued(Queued::default()),
        })
    }

    /// Ends a job: when this returns, its event is committed under this name.
    pub(crate) async fn finish(&self, lease: &Lease<Job>) -> Outcome<EventId> {
        self.finish_at(lease, self.clock.now()).await
    }

    /// The same at this time, from which on its event is due.
    pub(crate) async fn finish_at(&self, lease: &Lease<Job>, now: Timestamp) -> Outcome<EventId> {
        let result = ResultFile {
            filename: "my-audio-file.mp3".to_owned(),
            location: format!("{}/my-audio-file.mp3", lease.item.id),
            size: 4_824_000,
            duration_secs: 120.5,
            bitrate_kbps: 192,
            method: Method::Encode,
            sha256: "0".repeat(64),
            sample_rate: 48_000,
            channels: 2,
            damaged_packets: 0,
            loudness: None,
            metadata_left_out: Vec::new(),
        };
        let ending = Ending::Completed(Completed { at: now, result, expires_at: now.plus(DAY) });
        let id = EventId::from_random(random_id());
        let draft = EventDraft { id: id.clone(), kind: EventKind::Completed, body: BODY.as_bytes().to_vec() };
        let delivery = Some(DeliveryId::from_random(random_id()));
        match self.store.finish_job(lease, &ending, draft, delivery, now).await? {
            Finish::Finished { .. } => Ok(id),
            Finish::Fenced => Err("a job of this run was taken by another".into()),
        }
    }

    /// Puts events in wait. For measurements that have not begun: no hint is given.
    pub(crate) async fn put(&self, waiting: Waiting<'_>) -> Outcome<()> {
        let leases = self.processing(std::iter::once(waiting.webhook.to_owned())).await?;
        let first = leases.first().ok_or("no job was claimed")?;
        let event = self.finish(first).await?;
        let mut raw = Raw::open(&self.url).await?;
        raw.copy(&self.key, &first.item.id, &event, &waiting).await?;
        raw.close().await
    }

    /// Deliveries that are not at their end.
    pub(crate) async fn pending(&self) -> Outcome<u64> {
        Ok(self.store.queue_depth().await?.deliveries_pending)
    }

    pub(crate) fn clock(&self) -> Arc<SystemClock> {
        Arc::clone(&self.clock)
    }
}

/// Events that wait to be sent.
pub(crate) struct Waiting<'a> {
    pub(crate) count: usize,
    pub(crate) webhook: &'a str,
    /// When the first is due.
    pub(crate) from: Timestamp,
    /// Over which time all become due, evenly.
    pub(crate) over: Duration,
    /// Attempts that they have behind them.
    pub(crate) attempts: u32,
}
