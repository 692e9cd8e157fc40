//! The settings, and the only place that reads the environment. Names, defaults and reasons are in
//! `config.default.toml`; the rooms get plain structs that [`crate::boot`] fills from these.

mod check;
mod layers;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::{RetryPolicy, Secret};
use ipnet::IpNet;
use serde::Deserialize;
use url::Url;

pub(crate) use check::for_serving;
pub(crate) use layers::Flags;
pub(crate) use values::parse_duration;

/// Why the settings cannot be used, in one line that names the setting and never its value if that is secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(pub(crate) String);

/// Which part a node plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    All,
    Api,
    Worker,
}

impl Role {
    /// Whether this node answers customers.
    pub(crate) fn has_api(self) -> bool {
        self != Self::Worker
    }

    /// Whether this node extracts and delivers.
    pub(crate) fn has_worker(self) -> bool {
        self != Self::Api
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Every setting, by the name it has everywhere; `config.default.toml` says what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) role: Role,
    #[serde(deserialize_with = "values::required")]
    pub(crate) listen: SocketAddr,
    #[serde(deserialize_with = "values::parsed")]
    pub(crate) public_url: Option<Url>,
    pub(crate) data_dir: PathBuf,
    #[serde(deserialize_with = "values::secret")]
    pub(crate) database_url: Option<Secret>,
    #[serde(deserialize_with = "values::secret")]
    pub(crate) storage_url: Option<Secret>,
    #[serde(deserialize_with = "values::list")]
    pub(crate) allow_networks: Vec<IpNet>,
    workers: usize,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_source_bytes: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) retention: Duration,
    #[serde(deserialize_with = "values::secret")]
    pub(crate) api_key: Option<Secret>,
    #[serde(deserialize_with = "values::secret")]
    pub(crate) webhook_secret: Option<Secret>,
    #[serde(deserialize_with = "values::secret")]
    pub(crate) master_key: Option<Secret>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,

    pub(crate) max_connections: usize,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) header_read_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) request_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) write_stall_timeout: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) rest_bytes: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) rest_timeout: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) linger_bytes: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) linger_pause: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) linger_timeout: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_body_bytes: u64,
    pub(crate) rate_limit_per_second: u32,
    pub(crate) rate_limit_burst: u32,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) drain_timeout: Duration,

    pub(crate) max_queued: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) lease: Duration,
    pub(crate) max_attempts: u32,
    #[serde(deserialize_with = "values::durations")]
    pub(crate) retry_waits: Vec<Duration>,
    pub(crate) estimated_job_secs: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) progress_interval: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) poll_interval: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) sweep_interval: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) retention_interval: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) min_free_bytes: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) idempotency_retention: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) undelivered_retention: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) undelivered_margin: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) row_retention: Duration,

    #[serde(deserialize_with = "values::duration")]
    pub(crate) source_connect_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) source_first_byte_timeout: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) source_min_bytes_per_sec: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) source_stall_window: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) source_timeout: Duration,
    pub(crate) source_retries: u32,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_fetched_bytes: u64,
    pub(crate) source_connections: usize,
    pub(crate) source_hosts: usize,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) source_window_bytes: u64,
    pub(crate) source_max_parts: usize,
    pub(crate) max_redirects: u32,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_playlist_bytes: u64,
    pub(crate) max_playlist_segments: usize,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_spooled_bytes: u64,
    #[serde(deserialize_with = "values::parsed")]
    pub(crate) extra_ca_file: Option<PathBuf>,

    #[serde(deserialize_with = "values::duration")]
    pub(crate) upload_retention: Duration,
    pub(crate) max_uploads_per_key: u64,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_uploaded_bytes_per_key: u64,
    pub(crate) upload_slots: usize,
    pub(crate) upload_slots_per_key: usize,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) upload_part_bytes: u64,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) upload_min_bytes_per_sec: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) upload_stall_window: Duration,

    #[serde(deserialize_with = "values::bytes")]
    pub(crate) child_memory_bytes: u64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) child_cpu: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) child_stall_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) child_timeout: Duration,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_result_bytes: u64,
    pub(crate) max_decoded_samples: u64,
    pub(crate) max_streams: u32,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_probe_bytes: u64,
    pub(crate) max_damaged_percent: u32,
    pub(crate) max_soundless_packets: u32,
    encoder_threads: u32,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_tag_bytes: u64,
    pub(crate) max_chapters: u32,
    #[serde(deserialize_with = "values::bytes")]
    pub(crate) max_cover_bytes: u64,

    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_live_timeout: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_live_interval: Duration,
    pub(crate) webhook_tests: usize,
    pub(crate) webhook_tests_per_key: usize,
    #[serde(deserialize_with = "values::durations")]
    pub(crate) webhook_retry_waits: Vec<Duration>,
    pub(crate) webhook_retry_jitter: f64,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_max_retry_after: Duration,
    pub(crate) webhook_slots: usize,
    pub(crate) webhook_slots_per_key: usize,
    pub(crate) webhook_window_start: usize,
    pub(crate) webhook_window_most: usize,
    pub(crate) webhook_replays_per_second: usize,
    pub(crate) webhook_open_after: u32,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_first_pause: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_longest_pause: Duration,
    #[serde(deserialize_with = "values::duration")]
    pub(crate) webhook_disable_after: Duration,

    /// Credentials and endpoint of the file store, from the variables that its own tools read.
    #[serde(skip)]
    pub(crate) storage_options: Vec<(String, Secret)>,
    /// Variables that start like ours and are no setting: a typo, or a container platform's own.
    #[serde(skip)]
    pub(crate) unknown_variables: Vec<String>,
}

impl Settings {
    /// Reads all layers.
    pub(crate) fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if name.starts_with(layers::PREFIX) => {
                    return Err(ConfigError(format!("{name}: not UTF-8")));
                }
                Err(_) => {}
            }
        }
        Self::from_layers(flags, environment.into_iter())
    }

    fn from_layers(
        flags: &Flags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (ours, others): (Vec<_>, Vec<_>) =
            environment.partition(|(name, _)| name.starts_with(layers::PREFIX));
        let layered = layers::layered(flags, ours.into_iter())?;
        let mut settings: Self = layered.table.try_into().map_err(|cause: toml::de::Error| {
            ConfigError(format!("configuration: {}", layers::one_line(&cause.to_string())))
        })?;
        settings.unknown_variables = layered.unknown_variables;
        settings.storage_options = others
            .into_iter()
            .filter(|(name, _)| name.starts_with("AWS_"))
            .map(|(name, value)| (name.to_ascii_lowercase(), Secret::new(value)))
            .collect();
        check::values(&settings)?;
        Ok(settings)
    }

    /// The built-in defaults alone.
    #[cfg(test)]
    pub(crate) fn defaults() -> Self {
        Self::from_layers(&Flags::default(), std::iter::empty()).expect("the defaults are sound")
    }

    /// Extractions at once on this node.
    pub(crate) fn workers(&self) -> usize {
        match self.workers {
            0 => cores(),
            workers => workers,
        }
    }

    /// When a webhook is tried again.
    pub(crate) fn webhook_retry(&self) -> RetryPolicy {
        RetryPolicy { waits: self.webhook_retry_waits.clone(), jitter: self.webhook_retry_jitter }
    }

    /// Threads that all extractions of this node have for encoding.
    pub(crate) fn encoder_threads(&self) -> u32 {
        match self.encoder_threads {
            0 => u32::try_from(cores()).unwrap_or(u32::MAX).min(check::MOST_ENCODER_THREADS),
            threads => threads,
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests;
