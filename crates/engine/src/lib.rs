//! Decisions over time: a job is submitted, and loops carry it on. Each is one file: [`extract`] turns queued
//! jobs into results, [`deliver`] brings events to their receivers, [`sweep`] cleans up after time and crashes,
//! [`replay`] has events sent again that their owner asks for. [`upload`] takes in the files that jobs may name.
//!
//! The loops never call each other; they meet in the store, and a wake-up is only a hint. So any of them can stop at
//! any point, on any node, and another picks up from the rows.
//!
//! Never in here: SQL, HTTP, libav. The store is used as it is; media and egress are met as `domain`'s ports.
//!
//! Start with [`extract`].

mod chance;
pub mod deliver;
mod ending;
pub mod extract;
pub mod links;
pub mod replay;
pub mod submit;
pub mod sweep;
pub mod upload;

pub use chance::{random_bytes, random_id};
pub use deliver::{DeliverConfig, DeliverLoop};
pub use extract::{ExtractConfig, ExtractLoop};
pub use links::Links;
pub use replay::{ReplayConfig, ReplayLoop};
pub use submit::{IdempotencyToken, Submit, SubmitConfig, SubmitError};
pub use sweep::{SweepConfig, SweepLoop};
pub use tokio_util::sync::CancellationToken;
pub use upload::{UploadConfig, UploadError, Uploads};
