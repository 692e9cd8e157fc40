//! The words and rules of audio-extract: what a job is, which states it goes through, when a delivery is
//! tried again, and the ports through which the decisions reach the world.
//!
//! Never in here: IO, a runtime, SQL, HTTP, JSON, or the time of day. Everything is a plain value or a trait.
//!
//! Start with [`job`], then [`spec`] (what a customer asked for), [`delivery`] (how the customer is told) and
//! [`ports`] (what the rooms above implement).

pub mod circuit;
pub mod delivery;
pub mod endpoint;
pub mod failure;
pub mod filename;
pub mod format;
pub mod ids;
pub mod job;
pub mod key;
pub mod language;
pub mod lease;
pub mod loudness;
pub mod metadata;
pub mod output;
pub mod ports;
pub mod request_head;
pub mod retry;
pub mod secret;
pub mod signing;
pub mod spec;
pub mod time;
pub mod upload;
pub mod web;

pub use circuit::{CircuitPolicy, EndpointHealth};
pub use delivery::{
    Delivery, DeliveryAttempt, DeliveryState, Disposition, Event, EventKind, Phases, Receiver, SendError,
    SendOutcome,
};
pub use endpoint::{Endpoint, EndpointState, EndpointVerdict};
pub use failure::{Failure, FailureCode, PublicFailure, Retry};
pub use filename::Filename;
pub use format::{AudioFormat, SampleRates};
pub use ids::{BatchId, DeliveryId, EndpointId, EventId, FileId, JobId, KeyId, NodeId, ReplayId};
pub use job::{
    Completed, Failed, InputFile, Job, JobState, Percent, Processing, Progress, Queued, ResultFile, Step,
};
pub use key::{ApiKey, Scope, Scopes};
pub use language::{Closeness, closeness};
pub use lease::Lease;
pub use loudness::{Loudness, LoudnessReport, MeasuredLoudness};
pub use metadata::MetadataPart;
pub use output::{Bitrate, ChannelCount, OutputSpec, Quality, SampleRate, Span, TrackChoice};
pub use ports::{
    Access, AddressPolicy, AddressRefused, BoxFuture, Clock, ExtractOrder, Extracted, Extractor, Fetched,
    Method, Notice, Notifier, Playlist, PlaylistKind, ProgressSink, Source, SourceOpener, Tally,
};
pub use request_head::RequestHead;
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use signing::{SecretHeader, SigningKeys};
pub use spec::{JobOptions, JobSpec, Priority, SourceHeader, SourceSpec, SpecError, SpecPart};
pub use time::Timestamp;
pub use upload::{Upload, UploadState};
pub use web::{SourceUrl, WebUrl, WebhookUrl};
