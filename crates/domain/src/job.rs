//! A job and the states it goes through:
//!
//! ```text
//! Queued -> Processing -> Completed | Failed
//!    ^__________|   (handed back: shutdown, lost lease, a failure worth another attempt)
//! ```
//!
//! A queued job can also fail without having been processed (cancelled, or out of attempts after a crash). Each
//! state holds its own data, and the transitions take the state they leave, so that a job cannot be finished twice.

use std::time::Duration;

use crate::failure::PublicFailure;
use crate::ids::{BatchId, JobId, KeyId};
use crate::loudness::LoudnessReport;
use crate::metadata::MetadataPart;
use crate::ports::{Fetched, Method};
use crate::spec::JobSpec;
use crate::time::Timestamp;

/// A whole percentage, 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(u8);

impl Percent {
    /// All of it: only a completed job says so.
    pub const DONE: Self = Self(100);

    /// Clamped to 100.
    pub fn new(percent: u8) -> Self {
        Self(percent.min(100))
    }

    /// 0 to 100.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// What a running job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Opening the source and fetching it.
    Downloading,
    /// Reading the container's header, choosing the track, measuring loudness.
    Analyzing,
    /// Decoding and encoding.
    Extracting,
    /// Storing the result.
    Finalizing,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 4] = [Self::Downloading, Self::Analyzing, Self::Extracting, Self::Finalizing];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading_video",
            Self::Analyzing => "analyzing_video",
            Self::Extracting => "extracting_audio",
            Self::Finalizing => "finalizing",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == text)
    }
}

/// How far a running job is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What it is doing.
    pub step: Step,
    /// How much of the whole is done; below 100 while it runs.
    pub percent: Percent,
    /// An estimate of the time left, where there is one.
    pub remaining: Option<Duration>,
}

/// What is known of the source once its header is read.
#[derive(Debug, Clone, PartialEq)]
pub struct InputFile {
    /// The file's name as its address gives it.
    pub name: String,
    /// Its length in bytes, where the host said it.
    pub size: Option<u64>,
    /// Its duration in seconds, where the container says it.
    pub duration_secs: Option<f64>,
    /// The container's short name: `mp4`, `mkv`, …
    pub format: String,
}

/// The audio that a job made.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultFile {
    /// Its name, extension included.
    pub filename: String,
    /// Where the file store keeps it: `{job}/{attempt}/{filename}`.
    pub location: String,
    /// Bytes.
    pub size: u64,
    /// Seconds.
    pub duration_secs: f64,
    /// What `bitrate` says, in kbit/s.
    pub bitrate_kbps: u32,
    /// Whether packets were copied or samples encoded.
    pub method: Method,
    /// SHA-256 of the file, in hex: the entity tag of downloads.
    pub sha256: String,
    /// Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Packets of the source that were damaged and left out.
    pub damaged_packets: u64,
    /// What normalising did, where it was asked for.
    pub loudness: Option<LoudnessReport>,
    /// Metadata that was asked for and could not be carried over.
    pub metadata_left_out: Vec<MetadataPart>,
}

/// Accepted, waiting for a free worker.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Queued {
    /// How far an earlier attempt had come: what a customer saw never falls.
    pub percent: Percent,
}

/// Being worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct Processing {
    /// Since when.
    pub started_at: Timestamp,
    /// How far.
    pub progress: Progress,
}

/// Done; the result can be fetched until it expires.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// When it was done.
    pub at: Timestamp,
    /// What was made.
    pub result: ResultFile,
    /// Until when it can be fetched at least. Only ever moves later.
    pub expires_at: Timestamp,
}

/// Ended without a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// When.
    pub at: Timestamp,
    /// Why, as the customer is told.
    pub failure: PublicFailure,
    /// How far it had come.
    pub percent: Percent,
}

impl Processing {
    /// It worked.
    pub fn complete(self, result: ResultFile, at: Timestamp, retention: Duration) -> Completed {
        Completed { at, result, expires_at: at.plus(retention) }
    }

    /// It did not, and will not be tried again.
    pub fn fail(self, failure: PublicFailure, at: Timestamp) -> Failed {
        Failed { at, failure, percent: self.progress.percent }
    }

    /// Back into the queue, for this node or another.
    pub fn hand_back(self) -> Queued {
        Queued { percent: self.progress.percent }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// Waiting.
    Queued(Queued),
    /// Running.
    Processing(Processing),
    /// Done.
    Completed(Completed),
    /// Ended without a result.
    Failed(Failed),
}

impl JobState {
    /// As written in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Processing(_) => "processing",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
        }
    }

    /// What a customer sees as `progress`.
    pub fn percent(&self) -> Percent {
        match self {
            Self::Queued(queued) => queued.percent,
            Self::Processing(processing) => processing.progress.percent,
            Self::Completed(_) => Percent::DONE,
            Self::Failed(failed) => failed.percent,
        }
    }
}

/// One extraction.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Whose it is.
    pub key: KeyId,
    /// What it was submitted with, if with others.
    pub batch: Option<BatchId>,
    /// What was asked for.
    pub spec: JobSpec,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// How often it was claimed.
    pub attempts: u32,
    /// What is known of its source.
    pub input: Option<InputFile>,
    /// What reading its source has cost, all attempts together.
    pub fetched: Fetched,
    /// Where it stands.
    pub state: JobState,
}
