//! The process: command line, configuration, HTTP, and the wiring of the rooms.
//!
//! Never in here: SQL, libav, or a decision about when a job or a delivery is tried again.
//!
//! Start with [`cli`] (the commands), then [`boot`] (which concrete part stands behind which port), [`lifecycle`]
//! (how the service starts and stops) and [`http`] (the API).

mod boot;
mod cli;
mod clock;
mod config;
mod data_dir;
mod http;
mod keys;
mod lifecycle;
mod logging;
mod sources;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The zygote must be forked from before there is a runtime, a setting or a secret in memory.
    media::run_if_zygote();
    cli::run()
}
