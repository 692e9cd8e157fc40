//! What the loops are put into.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::*;
use engine::{
    CancellationToken, DeliverConfig, DeliverLoop, ExtractConfig, ExtractLoop, Links, SweepConfig, SweepLoop,
    random_id,
};
use store::{DatabaseUrl, FileStore, MasterKey, NewKey, Store, Submission};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// What a result is kept after its event was delivered late.
pub(crate) const MARGIN: Duration = Duration::from_secs(2 * 3600);

/// A clock that stands still until it is turned.
pub(crate) struct TurnedClock(AtomicI64);

impl TurnedClock {
    pub(crate) fn turn(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).expect("a sane turn"), Ordering::SeqCst);
    }

    pub(crate) fn turn_back(&self, by: Duration) {
        self.0.fetch_sub(i64::try_from(by.as_millis()).expect("a sane turn"), Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A store with one key, in a folder of its own.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) files: FileStore,
    pub(crate) clock: Arc<TurnedClock>,
    pub(crate) key: KeyId,
    pub(crate) folder: TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("rows.db"));
        let master_key = MasterKey::parse("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").expect("a key");
        let store = Store::connect(&url, master_key).await.expect("a store");
        store.migrate().await.expect("a schema");
        let files = FileStore::open_folder(&folder.path().join("files")).expect("a file store");
        let clock = Arc::new(TurnedClock(AtomicI64::new(1_768_998_896_000)));
        let key = KeyId::from_random(random_id());
        let new = NewKey {
            key: ApiKey {
                id: key.clone(),
                name: "tests".to_owned(),
                scopes: Scopes::all(),
                created_at: clock.now(),
                revoked_at: None,
            },
            api_key: Secret::new("ae_tests"),
            webhook_secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        };
        store.create_key(&new).await.expect("a new key");
        Self { store, files, clock, key, folder }
    }

    pub(crate) async fn submit(&self) -> JobId {
        self.submit_with(r#"{"webhook":"https://hooks.example/"}"#).await
    }

    /// Submits a job with these options, in the API's words.
    pub(crate) async fn submit_with(&self, options: &str) -> JobId {
        let body = format!(
            r#"{{"source":{{"type":"url","url":"https://media.example/talk.mp4"}},"output":{{"format":"mp3"}},
            "options":{options}}}"#
        );
        let job = Job {
            id: JobId::from_random(random_id()),
            key: self.key.clone(),
            batch: None,
            spec: wire::parse_extract(body.as_bytes()).expect("a spec"),
            created_at: self.clock.now(),
            attempts: 0,
            input: None,
            fetched: Fetched::default(),
            state: JobState::Queued(Queued::default()),
        };
        let id = job.id.clone();
        let submission = Submission { jobs: vec![job], idempotency: None, max_queued: 100 };
        self.store.submit(&self.key, submission, self.clock.now()).await.expect("submitted");
        id
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        self.store.job(&self.key, id).await.expect("a store").expect("the job")
    }

    /// Waits until the job is as wanted.
    pub(crate) async fn job_until(&self, id: &JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        patiently(async || Some(self.job(id).await).filter(|job| wanted(job))).await
    }

    pub(crate) fn extract(&self, outcomes: impl IntoIterator<Item = Outcome>) -> Running {
        let parts = engine::extract::ExtractParts {
            store: self.store.clone(),
            files: self.files.clone(),
            opener: Arc::new(EmptySources),
            extractor: Arc::new(Scripted(Mutex::new(outcomes.into_iter().collect()))),
            clock: self.clock.clone(),
            links: links(),
            node: NodeId::from_random(random_id()),
        };
        let config = ExtractConfig {
            slots: 1,
            lease: Duration::from_millis(300),
            max_attempts: 3,
            retry_waits: vec![Duration::from_secs(2), Duration::from_secs(10)],
            poll: Duration::from_millis(10),
            progress_every: Duration::from_millis(20),
            announce_every: Duration::from_millis(20),
            retention: RETENTION,
            scratch: self.folder.path().to_owned(),
            min_free_bytes: 0,
            grace: Duration::from_millis(50),
        };
        Running::start(|stop| ExtractLoop::new(parts, config).run(stop))
    }

    pub(crate) fn deliver(&self, notifier: Arc<dyn Notifier>) -> Running {
        self.deliver_with(notifier, |_| {})
    }

    pub(crate) fn deliver_under(&self, circuit: CircuitPolicy, notifier: Arc<dyn Notifier>) -> Running {
        self.deliver_with(notifier, |config| config.circuit = circuit)
    }

    pub(crate) fn deliver_with(
        &self,
        notifier: Arc<dyn Notifier>,
        change: impl FnOnce(&mut DeliverConfig),
    ) -> Running {
        let parts = engine::deliver::DeliverParts {
            store: self.store.clone(),
            notifier,
            clock: self.clock.clone(),
            node: NodeId::from_random(random_id()),
        };
        let mut config = DeliverConfig {
            slots: 16,
            slots_per_key: 8,
            window_start: 4,
            window_most: 8,
            circuit: circuit(),
            lease: Duration::from_secs(60),
            live_timeout: Duration::from_secs(5),
            undelivered_margin: MARGIN,
            undelivered_at_most: Duration::from_secs(80 * 3600),
            retry: RetryPolicy { jitter: 0.0, ..RetryPolicy::standard() },
            max_retry_after: Duration::from_secs(24 * 3600),
            poll: Duration::from_millis(10),
            grace: Duration::from_secs(5),
        };
        change(&mut config);
        Running::start(|stop| DeliverLoop::new(parts, config).run(stop))
    }

    pub(crate) fn sweeper(&self) -> SweepLoop {
        self.sweeper_every(Duration::from_millis(10))
    }

    pub(crate) fn sweeper_every(&self, retention_every: Duration) -> SweepLoop {
        let parts = engine::sweep::SweepParts {
            store: self.store.clone(),
            files: self.files.clone(),
            clock: self.clock.clone(),
            links: links(),
            node: NodeId::from_random(random_id()),
        };
        let config = SweepConfig {
            leases_every: Duration::from_millis(10),
            retention_every,
            max_attempts: 3,
            lease: Duration::from_secs(30),
            undelivered_margin: MARGIN,
            undelivered_at_most: Duration::from_secs(80 * 3600),
            remember_uploads: Duration::from_secs(24 * 3600),
            keep_rows: Duration::from_secs(30 * 24 * 3600),
        };
        SweepLoop::new(parts, config)
    }
}

/// Most of these tests are about single deliveries: no failures open a circuit.
pub(crate) fn circuit() -> CircuitPolicy {
    CircuitPolicy {
        open_after: 1000,
        first_pause: Duration::from_secs(10),
        longest_pause: Duration::from_secs(600),
        jitter: 0.0,
        disable_after: Duration::from_secs(5 * 24 * 3600),
    }
}

fn links() -> Links {
    Links::new(&Url::parse("https://audio.example/").expect("a URL"), &[7; 32])
}

/// A loop at work.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(CancellationToken) -> F) -> Self {
        let stop = CancellationToken::new();
        Self { task: tokio::spawn(run(stop.clone())), stop }
    }

    /// Ends it at once, without waiting for what is under way.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the loop ends well");
    }
}

/// Tries until there is something; gives up loudly.
pub(crate) async fn patiently<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = attempt().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 30 s");
}

/// What the extractor does next.
pub(crate) enum Outcome {
    Makes(&'static [u8]),
    /// Is as far as it is told; when there is nobody to tell it any more, it has made this.
    Follows(mpsc::UnboundedReceiver<f64>, &'static [u8]),
    Fails(Failure),
    Hangs,
    Panics,
}

struct Scripted(Mutex<VecDeque<Outcome>>);

impl Extractor for Scripted {
    fn extract<'a>(&'a self, order: ExtractOrder<'a>) -> BoxFuture<'a, Result<Extracted, Failure>> {
        let mut outcome =
            self.0.lock().expect("the script").pop_front().expect("an extraction that was expected");
        Box::pin(async move {
            if let Outcome::Follows(told, _) = &mut outcome {
                while let Some(fraction) = told.recv().await {
                    order.progress.progressed(Step::Extracting, Some(fraction));
                }
            }
            order.progress.progressed(Step::Extracting, Some(0.5));
            match outcome {
                Outcome::Fails(failure) => Err(failure),
                Outcome::Hangs => std::future::pending().await,
                Outcome::Panics => panic!("as the script has it"),
                Outcome::Makes(bytes) | Outcome::Follows(_, bytes) => {
                    write(order.into, bytes);
                    Ok(Extracted {
                        size: bytes.len() as u64,
                        samples: 44_100,
                        sample_rate: 44_100,
                        channels: 2,
                        constant_kbps: Some(192),
                        method: Method::Encode,
                        damaged_packets: 0,
                        loudness: None,
                        metadata_left_out: Vec::new(),
                    })
                }
            }
        })
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the scratch file is written");
}

struct EmptySources;

impl SourceOpener for EmptySources {
    fn open<'a>(
        &'a self,
        _: &'a SourceSpec,
        _: Option<&'a TrackChoice>,
        _: Arc<Tally>,
    ) -> BoxFuture<'a, Result<Arc<dyn Source>, Failure>> {
        Box::pin(async { Ok(Arc::new(EmptySource) as Arc<dyn Source>) })
    }
}

struct EmptySource;

impl Source for EmptySource {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        Box::pin(async { Ok(0) })
    }

    fn known_size(&self) -> Option<u64> {
        Some(0)
    }

    fn read_at(&self, _: u64, _: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn plan(&self, _: Vec<std::ops::Range<u64>>) {}

    fn fetched(&self) -> Fetched {
        Fetched::default()
    }
}
