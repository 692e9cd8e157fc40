//! A store of one's own, and short ways to fill it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{
    ApiKey, AudioFormat, BatchId, ChannelCount, CircuitPolicy, DeliveryId, EventId, EventKind, Failed,
    FailureCode, Fetched, Job, JobId, JobOptions, JobSpec, JobState, KeyId, Lease, Loudness, LoudnessReport,
    MeasuredLoudness, MetadataPart, Method, NodeId, OutputSpec, Percent, Priority, Progress, PublicFailure,
    Quality, Queued, ResultFile, SampleRate, Scopes, Secret, SourceHeader, SourceSpec, Span, Step, Timestamp,
    TrackChoice, WebUrl,
};
use sqlx::Connection as _;
use store::{
    DatabaseUrl, DueEndpoint, Ending, EventDraft, Finish, MasterKey, NewKey, Store, Submission, Submitted,
};
use tempfile::TempDir;

/// When the tests happen: any time will do.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// A lease that does not run out within a test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// A lease that has run out once it is there.
pub(crate) const NONE: Duration = Duration::ZERO;
/// As many attempts as the service gives a job.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn bytes() -> [u8; 8] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) url: DatabaseUrl,
    pub(crate) master_key: MasterKey,
    pub(crate) node: NodeId,
    pub(crate) dir: Option<Arc<TempDir>>,
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let url = DatabaseUrl::Sqlite(dir.path().join("rows.db"));
        Self::open(url, Some(dir)).await
    }

    pub(crate) async fn postgres() -> Self {
        let url = testkit::postgres().create_database();
        Self::open(DatabaseUrl::parse(&url).expect("a URL"), None).await
    }

    async fn open(url: DatabaseUrl, dir: Option<TempDir>) -> Self {
        let master_key = MasterKey::generate().expect("random bytes");
        let store = Store::connect(&url, master_key.clone()).await.expect("a database");
        store.migrate().await.expect("tables");
        Self { store, url, master_key, node: NodeId::from_random(bytes()), dir: dir.map(Arc::new) }
    }

    /// Does to the rows what the store would not.
    pub(crate) async fn run_sql(&self, text: &'static str) {
        match &self.url {
            DatabaseUrl::Sqlite(file) => {
                let url = format!("sqlite:{}", file.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("the file");
                sqlx::raw_sql(text).execute(&mut connection).await.expect(text);
            }
            DatabaseUrl::Postgres(url) => {
                let mut connection = sqlx::PgConnection::connect(url.expose()).await.expect("the server");
                sqlx::raw_sql(text).execute(&mut connection).await.expect(text);
            }
        }
    }

    /// Somebody who has locked these rows, where there are locks of rows, for as long as this is kept.
    pub(crate) async fn locking(&self, select: &'static str) -> Option<sqlx::PgConnection> {
        let DatabaseUrl::Postgres(url) = &self.url else { return None };
        let mut connection = sqlx::PgConnection::connect(url.expose()).await.expect("the server");
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.expect("begun");
        sqlx::raw_sql(select).execute(&mut connection).await.expect(select);
        Some(connection)
    }

    pub(crate) async fn key(&self) -> KeyId {
        let new = new_key("a key");
        self.store.create_key(&new).await.expect("a key");
        new.key.id
    }

    /// Submits one job as it is.
    pub(crate) async fn submit(&self, job: &Job) {
        let submission = Submission { jobs: vec![job.clone()], idempotency: None, max_queued: u64::MAX };
        let submitted = self.store.submit(&job.key, submission, NOW).await.expect("submitted");
        assert_eq!(submitted, Submitted::Accepted);
    }

    /// Submits a job and claims it.
    pub(crate) async fn claimed(&self, key: &KeyId, lease: Duration) -> Lease<Job> {
        self.submit(&job(key)).await;
        self.claim(lease).await
    }

    /// Claims the one job that there is to claim.
    pub(crate) async fn claim(&self, lease: Duration) -> Lease<Job> {
        let mut leases = self.store.claim_jobs(&self.node, 1, lease, NOW).await.expect("claimed");
        assert_eq!(leases.len(), 1, "there was not one job to claim");
        leases.remove(0)
    }

    /// What is due, where that is little.
    pub(crate) async fn due(&self, now: Timestamp) -> Vec<DueEndpoint> {
        let due = self.store.due_endpoints(now, 100, None).await.expect("read");
        assert_eq!(due.rest, None);
        due.endpoints
    }

    pub(crate) async fn get(&self, lease: &Lease<Job>) -> Job {
        self.store.any_job(&lease.item.id).await.expect("read").expect("the job")
    }

    /// Completes a job and has its event delivered; the event's number.
    pub(crate) async fn complete(&self, lease: &Lease<Job>) -> u64 {
        let delivery = Some(DeliveryId::from_random(bytes()));
        let finish = self.store.finish_job(lease, &completed(lease), draft(), delivery, NOW).await;
        match finish.expect("finished") {
            Finish::Finished { sequence } => sequence,
            Finish::Fenced => panic!("{} was fenced", lease.item.id),
        }
    }
}

/// The one number that this asks for.
pub(crate) async fn count(url: &DatabaseUrl, select: &'static str) -> i64 {
    match url {
        DatabaseUrl::Sqlite(file) => {
            let url = format!("sqlite:{}", file.display());
            let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("the file");
            sqlx::query_scalar(select).fetch_one(&mut connection).await.expect(select)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.expose()).await.expect("the server");
            sqlx::query_scalar(select).fetch_one(&mut connection).await.expect(select)
        }
    }
}

pub(crate) fn new_key(name: &str) -> NewKey {
    let id = KeyId::from_random(bytes());
    NewKey {
        api_key: Secret::new(format!("ak_{id}")),
        webhook_secret: Secret::new(format!("whsec_{id}")),
        key: ApiKey { id, name: name.to_owned(), scopes: Scopes::all(), created_at: NOW, revoked_at: None },
    }
}

/// A job with everything that a customer can ask for.
pub(crate) fn job(key: &KeyId) -> Job {
    let header = SourceHeader { name: "authorization".to_owned(), value: Secret::new("Bearer s3cr3t") };
    let url = WebUrl::parse("https://media.example/talk.mp4?token=x").expect("a URL");
    Job {
        id: JobId::from_random(bytes()),
        key: key.clone(),
        batch: None,
        spec: JobSpec {
            source: SourceSpec::Url { url, headers: vec![header] },
            output: OutputSpec {
                format: AudioFormat::Mp3,
                quality: Some(Quality::High),
                bitrate: domain::Bitrate::parse("192k", AudioFormat::Mp3).ok(),
                normalize: Some(Loudness { integrated_lufs: -23.1, true_peak_dbtp: -2.0 }),
                preserve_metadata: true,
                track: Some(TrackChoice::Language("pt-br".to_owned())),
                span: Span { start_secs: 1.25, end_secs: Some(9.5) },
                channels: Some(ChannelCount::Mono),
                sample_rate: SampleRate::parse(44_100, AudioFormat::Mp3).ok(),
            },
            options: JobOptions {
                filename: domain::Filename::parse("für Élise").ok(),
                webhook: WebUrl::parse("https://hooks.example:8443/in?k=v").ok(),
                priority: Priority::Normal,
                metadata: vec![("z".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
                webhook_events: EventKind::DEFAULT.to_vec(),
            },
        },
        created_at: NOW,
        attempts: 0,
        input: None,
        fetched: Fetched::default(),
        state: JobState::Queued(Queued::default()),
    }
}

/// No number of failures opens a circuit.
pub(crate) const NEVER_OPENS: CircuitPolicy = opens_after(u32::MAX);

/// So many failures in a row open a circuit for a minute.
pub(crate) const fn opens_after(failures: u32) -> CircuitPolicy {
    CircuitPolicy {
        open_after: failures,
        first_pause: secs(60),
        longest_pause: secs(600),
        jitter: 0.0,
        disable_after: secs(5 * 24 * 3600),
    }
}

/// `count` jobs of one batch.
pub(crate) fn batch(key: &KeyId, count: usize) -> (BatchId, Vec<Job>) {
    let id = BatchId::from_random(bytes());
    let jobs = (0..count).map(|_| Job { batch: Some(id.clone()), ..job(key) }).collect();
    (id, jobs)
}

pub(crate) fn progress(percent: u8) -> Progress {
    Progress { step: Step::Extracting, percent: Percent::new(percent), remaining: Some(secs(7)) }
}

pub(crate) fn completed(lease: &Lease<Job>) -> Ending {
    let JobState::Processing(processing) = lease.item.state.clone() else {
        panic!("{} is {}", lease.item.id, lease.item.state.as_str());
    };
    let measured = MeasuredLoudness { integrated_lufs: -20.25, true_peak_dbtp: -1.5 };
    let result = ResultFile {
        filename: "für Élise.mp3".to_owned(),
        location: format!("{}/{}/für Élise.mp3", lease.item.id, lease.attempt),
        size: 4_824_000,
        duration_secs: 120.1,
        bitrate_kbps: 192,
        method: Method::Encode,
        sha256: "00".repeat(32),
        sample_rate: 48_000,
        channels: 2,
        damaged_packets: 3,
        loudness: Some(LoudnessReport::Normalized {
            before: measured,
            after: measured,
            gain_db: 1.5,
            limited_db: 0.5,
            shortfall_lu: 0.0,
            decoded_peak_dbtp: Some(-0.9),
        }),
        metadata_left_out: MetadataPart::ALL.to_vec(),
    };
    Ending::Completed(processing.complete(result, NOW, secs(24 * 3600)))
}

pub(crate) fn failed() -> Ending {
    let failure = PublicFailure {
        code: FailureCode::InvalidVideo,
        message: "Send a media file.".to_owned(),
        details: Some("no container".to_owned()),
    };
    Ending::Failed(Failed { at: NOW, failure, percent: Percent::new(5) })
}

pub(crate) fn draft() -> EventDraft {
    EventDraft { id: EventId::from_random(bytes()), kind: EventKind::Completed, body: br#"{"a":1}"#.to_vec() }
}
