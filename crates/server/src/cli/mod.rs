//! The commands, one file each. Results go to stdout, everything else to stderr; the exit code is 0 when it is done,
//! 1 when it failed, 2 when it was asked for wrongly.

mod choice;
mod destination;
mod doctor;
mod extract;
mod keys;
mod listen;
mod migrate;
mod openapi;
mod origin;
mod progress;
mod serve;
mod webhooks;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde::Serialize;
use store::StoreError;

use crate::config::{ConfigError, Flags};

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It was asked for wrongly: exit 2.
    Usage(String),
    /// It did not work: exit 1.
    Failed(String),
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The audio of a video, by an API with webhooks that cannot be lost, or at once from the command line.
#[derive(Parser)]
#[command(name = "audio-extract", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// Extract the audio of one file or URL, without a server
    Extract(extract::ExtractArgs),
    /// Make, list and revoke API keys, and change what their webhooks are signed with
    Keys(keys::KeysArgs),
    /// Try webhooks out, send them again
    Webhooks(webhooks::WebhooksArgs),
    /// Bring the database to this version's schema
    Migrate(migrate::MigrateArgs),
    /// Check libraries, sandbox, database, file store and clock
    Doctor(doctor::DoctorArgs),
    /// Print the OpenAPI document
    Openapi,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are results and go to stdout; clap knows which is which.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let done =
        Cli::from_arg_matches(&matches).map_err(|error| Stop::Usage(error.to_string())).and_then(|cli| {
            match cli.command {
                Command::Serve(args) => serve::run(args),
                Command::Extract(args) => extract::run(args),
                Command::Keys(args) => keys::run(args),
                Command::Webhooks(args) => webhooks::run(args),
                Command::Migrate(args) => migrate::run(args),
                Command::Doctor(args) => doctor::run(args),
                Command::Openapi => openapi::run(),
            }
        });
    let (code, line) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Stop::Usage(line)) => (2, line),
        Err(Stop::Failed(line)) => (1, line),
    };
    let line = line.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    eprintln!("audio-extract: {line}");
    ExitCode::from(code)
}

/// The commands. Each takes every setting as a flag, but only `serve` lists them: elsewhere they would bury the few
/// options of the command itself.
fn command() -> clap::Command {
    let settings: Vec<clap::Id> = Flags::augment_args(clap::Command::new("settings"))
        .get_arguments()
        .map(|arg| arg.get_id().clone())
        .collect();
    let mut command = Cli::command();
    for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "serve") {
        hide(subcommand, &settings);
    }
    command
}

fn hide(command: &mut clap::Command, settings: &[clap::Id]) {
    let mut hidden = std::mem::take(command);
    for id in settings {
        if hidden.get_arguments().any(|arg| arg.get_id() == id) {
            hidden = hidden
                .mut_arg(id, |arg| arg.hide(true))
                .after_help("Every setting that `audio-extract serve --help` lists can be given here too.");
        }
    }
    *command = hidden;
    command.get_subcommands_mut().for_each(|subcommand| hide(subcommand, settings));
}

/// Runs a command that waits for things.
fn block_on<F: Future<Output = Result<(), Stop>>>(work: F) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| Stop::Failed(format!("the runtime did not start: {cause}")))?;
    let done = runtime.block_on(work);
    // What still blocks a thread (a name that does not resolve, a read of a slow disk) is not waited for.
    runtime.shutdown_background();
    done
}

/// Prints a line of a result.
fn print(line: &str) -> Result<(), Stop> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(line.as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    written
        .and_then(|()| stdout.flush())
        .map_err(|cause| Stop::Failed(format!("the result could not be written to stdout: {cause}")))
}

/// A result in JSON, its fields in their order.
fn to_json(result: &impl Serialize) -> Result<String, Stop> {
    serde_json::to_string(result).map_err(|cause| Stop::Failed(format!("the result makes no JSON: {cause}")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
