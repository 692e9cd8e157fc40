//! The process.
mod config;
fn main() {}
