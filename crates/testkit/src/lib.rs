//! What the tests of more than one crate start: real parts, and scripted ones at the other end of a wire.
//!
//! Never in here: anything that the service itself runs on.

pub mod host;
