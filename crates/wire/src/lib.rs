//! The public JSON: what a request may say, what answers and events look like, byte for byte.
//!
//! Never in here: decisions, IO, HTTP status codes. Requests become [`domain::JobSpec`] or a [`RequestError`];
//! domain values become bytes.
//!
//! Start with [`request`] for what comes in and [`event`] for what receivers get; [`query`] and [`webhook`] are how
//! deliveries are asked for and shown.

pub mod error;
pub mod event;
pub mod loudness;
pub mod query;
pub mod request;
pub mod response;
mod text;
pub mod webhook;

pub use error::{ErrorCode, RequestError};
pub use request::{MAX_BATCH_JOBS, parse_batch, parse_extract};
pub use request::{ReplayRequest, parse_replay, parse_test};
pub use text::http_date;

/// Where every endpoint of the API begins.
pub const BASE_PATH: &str = "/audio-extract";
