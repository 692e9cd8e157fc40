//! Which concrete part stands behind which port: the only file that names them together, and where settings become
//! the rooms' own configurations.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{CircuitPolicy, Clock, NodeId};
use egress::{Egress, EgressConfig, GuardConfig, NotifyConfig, SourceConfig, TlsConfig};
use engine::deliver::DeliverParts;
use engine::extract::ExtractParts;
use engine::sweep::SweepParts;
use engine::{
    CancellationToken, DeliverConfig, DeliverLoop, ExtractConfig, ExtractLoop, Links, ReplayConfig,
    ReplayLoop, Submit, SubmitConfig, SweepConfig, SweepLoop, UploadConfig, Uploads,
};
use media::{AvLimits, Supervisor, SupervisorConfig};
use metrics_exporter_prometheus::PrometheusHandle;
use store::{DataDirLock, FileStore, MasterKey, Store, UploadBounds, UploadSources};
use url::Url;

use crate::cli::Stop;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::data_dir::DataDir;
use crate::http::{Api, Limits, PaceConfig, Slots, UploadParts};
use crate::sources::Sources;

/// What most commands need: the data folder and the rows.
pub(crate) struct Rows {
    pub(crate) dir: DataDir,
    pub(crate) store: Store,
    master_key: MasterKey,
}

/// Opens the database and brings it to this version's schema.
pub(crate) async fn open_rows(settings: &Settings) -> Result<Rows, Stop> {
    let dir = DataDir::open(&settings.data_dir)?;
    let (url, master_key) = (dir.database(settings)?, dir.master_key(settings)?);
    let store = Store::connect(&url, master_key.clone()).await?;
    store.migrate().await?;
    Ok(Rows { dir, store, master_key })
}

/// As [`open_rows`], for the one service that may use the data folder.
pub(crate) async fn lock_and_open_rows(settings: &Settings) -> Result<(DataDirLock, Rows), Stop> {
    let lock = DataDirLock::acquire(DataDir::open(&settings.data_dir)?.path())?;
    Ok((lock, open_rows(settings).await?))
}

/// Opens the file store.
pub(crate) fn open_files(settings: &Settings, dir: &DataDir) -> Result<FileStore, Stop> {
    let Some(url) = &settings.storage_url else { return Ok(FileStore::open_folder(&dir.files()?)?) };
    let url = Url::parse(url.expose()).map_err(|cause| Stop::Usage(format!("storage_url: {cause}")))?;
    // Errors name the address, so there must be nothing secret in it.
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(Stop::Usage(
            "storage_url: names a place alone; credentials go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        ));
    }
    let options: HashMap<String, String> = settings
        .storage_options
        .iter()
        .map(|(name, value)| (name.clone(), value.expose().to_owned()))
        .collect();
    Ok(FileStore::open(&url, &options)?)
}

/// Everything that connects outwards.
pub(crate) fn egress(settings: &Settings, scratch: PathBuf) -> Result<Egress, Stop> {
    let config = EgressConfig {
        guard: GuardConfig { allow_networks: settings.allow_networks.clone(), ..GuardConfig::default() },
        tls: TlsConfig { extra_roots: settings.extra_ca_file.clone() },
        source: SourceConfig {
            max_bytes: settings.max_source_bytes,
            max_fetched_bytes: settings.max_fetched_bytes,
            connect_timeout: settings.source_connect_timeout,
            first_byte_timeout: settings.source_first_byte_timeout,
            min_bytes_per_sec: settings.source_min_bytes_per_sec,
            stall_window: settings.source_stall_window,
            total_timeout: settings.source_timeout,
            max_redirects: settings.max_redirects,
            retries: settings.source_retries,
            max_connections: settings.source_connections,
            max_hosts: settings.source_hosts,
            window_bytes: usize::try_from(settings.source_window_bytes).unwrap_or(usize::MAX),
            max_parts: settings.source_max_parts,
            max_playlist_bytes: usize::try_from(settings.max_playlist_bytes).unwrap_or(usize::MAX),
            max_segments: settings.max_playlist_segments,
            scratch_dir: scratch,
            max_spooled_bytes: settings.max_spooled_bytes,
            ..SourceConfig::default()
        },
        notify: NotifyConfig { total_timeout: settings.webhook_timeout, ..NotifyConfig::default() },
    };
    Egress::new(config, Arc::new(SystemClock))
        .map_err(|cause| Stop::Failed(format!("outbound connections: {cause}")))
}

/// How many extractions a process is started for.
#[derive(Clone, Copy)]
pub(crate) enum Extractions {
    One,
    Many,
}

/// The sandbox and the zygote; refuses where a wall is missing.
pub(crate) async fn supervisor(settings: &Settings, extractions: Extractions) -> Result<Supervisor, Stop> {
    let config = SupervisorConfig {
        prepares_codecs: matches!(extractions, Extractions::Many),
        max_memory_bytes: settings.child_memory_bytes,
        max_cpu_secs: settings.child_cpu.as_secs().max(1),
        stall_timeout: settings.child_stall_timeout,
        total_timeout: settings.child_timeout,
        av: AvLimits {
            max_decoded_samples: settings.max_decoded_samples,
            max_output_bytes: settings.max_result_bytes,
            max_streams: settings.max_streams,
            max_probe_bytes: settings.max_probe_bytes,
            max_damaged_percent: settings.max_damaged_percent,
            max_soundless_packets: settings.max_soundless_packets,
            encoder_threads: settings.encoder_threads(),
            max_tag_bytes: settings.max_tag_bytes,
            max_chapters: settings.max_chapters,
            max_cover_bytes: settings.max_cover_bytes,
        },
        ..SupervisorConfig::default()
    };
    Supervisor::start(config).await.map_err(|cause| Stop::Failed(cause.to_string()))
}

/// Makes public links. Where no public address is configured, `listening` is it.
pub(crate) fn links(settings: &Settings, listening: SocketAddr, rows: &Rows) -> Result<Links, Stop> {
    let base = match &settings.public_url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{listening}"))
            .map_err(|cause| Stop::Failed(format!("the address {listening} makes no URL: {cause}")))?,
    };
    let text = rows.master_key.to_text();
    let key = STANDARD.decode(text.expose()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let key = key.ok_or_else(|| Stop::Failed("the master key does not have 32 bytes".to_owned()))?;
    Ok(Links::new(&base, &key))
}

/// The parts of a running node.
pub(crate) struct Node {
    pub(crate) settings: Settings,
    pub(crate) rows: Rows,
    pub(crate) files: FileStore,
    pub(crate) egress: Egress,
    pub(crate) links: Links,
    pub(crate) scratch: PathBuf,
    pub(crate) id: NodeId,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Node {
    /// What the HTTP handlers work with.
    pub(crate) fn api(&self, metrics: PrometheusHandle, stop: CancellationToken) -> Api {
        let settings = &self.settings;
        let config = SubmitConfig {
            max_queued: settings.max_queued,
            idempotency_keep: settings.idempotency_retention,
            workers: settings.workers() as u64,
            estimated_job_secs: settings.estimated_job_secs,
        };
        let policy = Arc::clone(&self.egress.guard);
        Api {
            store: self.rows.store.clone(),
            files: self.files.clone(),
            submit: Submit::new(self.rows.store.clone(), policy, Arc::clone(&self.clock), config),
            upload: self.upload_parts(),
            notifier: self.egress.webhooks.clone(),
            // Who finds none free is told at once: the answer is what somebody waits for.
            tries: Slots::new(settings.webhook_tests, settings.webhook_tests_per_key, Duration::ZERO),
            policy: self.egress.guard.clone(),
            links: self.links.clone(),
            clock: Arc::clone(&self.clock),
            limits: Limits::new(settings.rate_limit_per_second, settings.rate_limit_burst),
            metrics,
            stop,
            max_body_bytes: usize::try_from(settings.max_body_bytes).unwrap_or(usize::MAX),
            request_timeout: settings.request_timeout,
        }
    }

    /// What takes files in.
    fn upload_parts(&self) -> UploadParts {
        let settings = &self.settings;
        let config = UploadConfig {
            max_bytes: settings.max_source_bytes,
            retention: settings.upload_retention,
            bounds: UploadBounds {
                max_files: settings.max_uploads_per_key,
                max_bytes: settings.max_uploaded_bytes_per_key,
            },
            min_free_bytes: settings.min_free_bytes,
        };
        let (store, files) = (self.rows.store.clone(), self.files.clone());
        let (slots, per_key) = (settings.upload_slots, settings.upload_slots_per_key);
        UploadParts {
            uploads: Uploads::new(store, files, Arc::clone(&self.clock), config),
            slots: Slots::new(slots, per_key, settings.upload_stall_window),
            pace: PaceConfig {
                min_bytes_per_sec: settings.upload_min_bytes_per_sec,
                window: settings.upload_stall_window,
            },
            part_bytes: usize::try_from(settings.upload_part_bytes).unwrap_or(usize::MAX),
        }
    }

    /// The loop that turns queued jobs into results.
    pub(crate) fn extract_loop(&self, supervisor: Supervisor) -> ExtractLoop {
        let settings = &self.settings;
        let parts = ExtractParts {
            store: self.rows.store.clone(),
            files: self.files.clone(),
            opener: Arc::new(Sources {
                urls: self.egress.sources.clone(),
                uploads: UploadSources::new(self.rows.store.clone(), self.files.clone()),
            }),
            extractor: Arc::new(supervisor),
            clock: Arc::clone(&self.clock),
            links: self.links.clone(),
            node: self.id.clone(),
        };
        let config = ExtractConfig {
            slots: settings.workers(),
            lease: settings.lease,
            max_attempts: settings.max_attempts,
            retry_waits: settings.retry_waits.clone(),
            poll: settings.poll_interval,
            progress_every: settings.progress_interval,
            announce_every: settings.webhook_live_interval,
            retention: settings.retention,
            scratch: self.scratch.clone(),
            min_free_bytes: settings.min_free_bytes,
            grace: settings.drain_timeout,
        };
        ExtractLoop::new(parts, config)
    }

    /// The loop that brings events to their receivers.
    pub(crate) fn deliver_loop(&self) -> DeliverLoop {
        let settings = &self.settings;
        let parts = DeliverParts {
            store: self.rows.store.clone(),
            notifier: self.egress.webhooks.clone(),
            clock: Arc::clone(&self.clock),
            node: self.id.clone(),
        };
        let config = DeliverConfig {
            slots: settings.webhook_slots,
            slots_per_key: settings.webhook_slots_per_key,
            window_start: settings.webhook_window_start,
            window_most: settings.webhook_window_most,
            circuit: CircuitPolicy {
                open_after: settings.webhook_open_after,
                first_pause: settings.webhook_first_pause,
                longest_pause: settings.webhook_longest_pause,
                jitter: settings.webhook_retry_jitter,
                disable_after: settings.webhook_disable_after,
            },
            // An attempt begins in the first half of its lease and must end in the second, with time to write down
            // what came of it.
            lease: 2 * (settings.webhook_timeout + settings.lease.max(Duration::from_secs(15))),
            live_timeout: settings.webhook_live_timeout.min(settings.webhook_timeout),
            undelivered_margin: settings.undelivered_margin,
            undelivered_at_most: settings.undelivered_retention,
            retry: settings.webhook_retry(),
            max_retry_after: settings.webhook_max_retry_after,
            poll: settings.poll_interval,
            grace: settings.drain_timeout,
        };
        DeliverLoop::new(parts, config)
    }

    /// The loop that has many deliveries sent again.
    pub(crate) fn replay_loop(&self) -> ReplayLoop {
        let settings = &self.settings;
        let config = ReplayConfig {
            page: settings.webhook_replays_per_second,
            every: Duration::from_secs(1),
            poll: settings.poll_interval,
        };
        ReplayLoop::new(self.rows.store.clone(), Arc::clone(&self.clock), config)
    }

    /// The loop that cleans up after time and crashes.
    pub(crate) fn sweep_loop(&self) -> SweepLoop {
        let settings = &self.settings;
        let parts = SweepParts {
            store: self.rows.store.clone(),
            files: self.files.clone(),
            clock: Arc::clone(&self.clock),
            links: self.links.clone(),
            node: self.id.clone(),
        };
        let config = SweepConfig {
            leases_every: settings.sweep_interval,
            retention_every: settings.retention_interval,
            max_attempts: settings.max_attempts,
            lease: settings.lease,
            undelivered_margin: settings.undelivered_margin,
            undelivered_at_most: settings.undelivered_retention,
            remember_uploads: settings.upload_retention,
            keep_rows: settings.row_retention,
        };
        SweepLoop::new(parts, config)
    }
}
