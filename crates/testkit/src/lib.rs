//! What the tests of more than one crate start: real parts, and scripted ones at the other end of a wire.
//!
//! Never in here: anything that the service itself runs on. Only ever a dev-dependency.

pub mod host;
pub mod nginx;
pub mod playlists;
mod postgres;
pub mod samples;

pub use postgres::{PostgresCluster, durable_postgres, postgres};
