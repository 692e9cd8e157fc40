//! What a customer asks for, once it is known to make sense. Nothing invalid gets past the `parse` functions here;
//! their errors are sentences for the customer.

use std::fmt;

use crate::delivery::EventKind;
use crate::filename::Filename;
use crate::ids::FileId;
use crate::output::OutputSpec;
use crate::secret::Secret;
use crate::web::{SourceUrl, WebhookUrl};

/// Which part of a request was refused; decides the error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecPart {
    /// `source`: `INVALID_SOURCE`.
    Source,
    /// `output`: `INVALID_OUTPUT`.
    Output,
    /// `options` and everything else: `INVALID_REQUEST`.
    Request,
}

/// Why a request makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Which part of it.
    pub part: SpecPart,
    /// The field, as a path: `output.bitrate`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub reason: String,
}

impl SpecError {
    /// A refusal of one field.
    pub fn new(part: SpecPart, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { part, field: field.into(), reason: reason.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.reason)
    }
}

impl std::error::Error for SpecError {}

/// How soon a job is taken, within its key's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub enum Priority {
    /// After everything else.
    Low,
    /// In order.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text)
    }
}

/// A header to send to the source's host, and to no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHeader {
    /// Lower case.
    pub name: String,
    /// Often a credential.
    pub value: Secret,
}

/// Where the media comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// Fetched over HTTP.
    Url {
        /// From here.
        url: SourceUrl,
        /// With these headers.
        headers: Vec<SourceHeader>,
    },
    /// Sent to us before.
    Upload {
        /// Under this id.
        file: FileId,
        /// What its owner called it; known once the job is taken.
        name: Option<Filename>,
    },
}

impl SourceSpec {
    /// A name for the file, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Url { url, .. } => url.last_segment().or(url.url().host_str()).unwrap_or("source"),
            Self::Upload { file, name } => name.as_ref().map_or(file.as_str(), Filename::as_written),
        }
    }
}

/// What else was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOptions {
    /// The result's name.
    pub filename: Option<Filename>,
    /// Who is told.
    pub webhook: Option<WebhookUrl>,
    /// How soon.
    pub priority: Priority,
    /// Echoed to the customer, in order.
    pub metadata: Vec<(String, String)>,
    /// Which events the webhook gets.
    pub webhook_events: Vec<EventKind>,
}

impl JobOptions {
    /// Whether there is a webhook that gets this kind of event.
    pub fn wants(&self, kind: EventKind) -> bool {
        self.webhook.is_some() && self.webhook_events.contains(&kind)
    }

    /// Whether there is a webhook that is told of the job while it runs.
    pub fn wants_live(&self) -> bool {
        self.webhook.is_some() && self.webhook_events.iter().any(|kind| kind.is_live())
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            filename: None,
            webhook: None,
            priority: Priority::default(),
            metadata: Vec::new(),
            webhook_events: EventKind::DEFAULT.to_vec(),
        }
    }
}

/// A job as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    /// Where the media comes from.
    pub source: SourceSpec,
    /// What it should become.
    pub output: OutputSpec,
    /// And how.
    pub options: JobOptions,
}

impl JobSpec {
    /// The result's name: the one asked for, else the source's with its extension replaced.
    pub fn result_filename(&self) -> String {
        let format = self.output.format;
        if let Some(filename) = &self.options.filename {
            return filename.for_format(format);
        }
        let name = self.source.name();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        match Filename::parse(stem) {
            Ok(stem) => format!("{}.{}", stem.as_written(), format.as_str()),
            Err(_) => format!("audio.{}", format.as_str()),
        }
    }
}
