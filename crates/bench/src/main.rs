//! `bench webhooks`: what webhooks cost and how long they wait; `bench media`: what audio costs, beside the `ffmpeg`
//! command; `bench fetch`: what is fetched for it, and how long that takes. Each is one table. `bench kills`: that no job and no webhook is lost when the service is killed, again and
//! again.
//!
//! Each figure is measured in a process of its own (`bench cell …`), so that neither memory nor caches of
//! one are seen in the next. Everything listens on 127.0.0.1 and ends by itself.
//!
//! Never in here: anything that the service itself runs on.
//!
//! Start with [`table`], [`media`] and [`fetch`], which say what is measured; then [`latency`].

mod bare;
mod client;
mod copies;
mod delivering;
mod fetch;
mod idle;
mod kills;
mod latency;
mod media;
mod memory;
mod receiver;
mod rows;
mod service;
mod sources;
mod stats;
mod table;
mod throughput;

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::{Clock, Timestamp};
use serde_json::Value;

use crate::latency::{Beside, Windows};
use crate::rows::Engine;

const USAGE: &str = "\
bench webhooks [--quick] [--only FIGURE] [--database sqlite|postgres] [--service FILE]   one table
bench media [--quick] [--only FIGURE] [--service FILE]                                   one table
bench fetch [--quick] [--only SOURCE] [--service FILE]                                   one table
bench kills [--kills N] [--per-second N] [--service FILE]                                kill -9 under load";

/// What can go wrong in a measurement: all of it ends it.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The system's clock.
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

/// `--name value` pairs; a name without a value is its own.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read(words: &[String]) -> Outcome<Self> {
        let mut named = HashMap::new();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("what is `{word}`?\n{USAGE}"))?;
            let value = words.next_if(|next| !next.starts_with("--")).unwrap_or(word);
            named.insert(name.to_owned(), value.clone());
        }
        Ok(Self(named))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> Outcome<u64> {
        let Some(text) = self.0.get(name) else { return Ok(default) };
        text.parse().map_err(|_| format!("--{name} wants a number\n{USAGE}").into())
    }

    fn service(&self) -> PathBuf {
        let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("audio-extract")));
        self.0.get("service").map(PathBuf::from).or(beside).unwrap_or_default()
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| matches!(word.as_str(), "--help" | "-h" | "help")) {
        say(USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let is_good = match words.first().map(String::as_str) {
        Some("cell") => {
            let figure = words.get(1).ok_or(USAGE)?;
            log_to_nowhere();
            let measured = runtime.block_on(cell(figure, &Arguments::read(&words[2..])?))?;
            say(&measured.to_string());
            true
        }
        Some("kills") => {
            let arguments = Arguments::read(&words[1..])?;
            let plan = kills::Plan {
                binary: arguments.service(),
                kills: usize::try_from(arguments.number("kills", 100)?)?,
                per_second: u32::try_from(arguments.number("per-second", 100)?)?,
            };
            runtime.block_on(kills::run(&plan, say))?
        }
        Some("fetch") => {
            let arguments = Arguments::read(&words[1..])?;
            let plan = fetch::Plan {
                is_quick: arguments.has("quick"),
                only: arguments.text("only", "").to_owned(),
                binary: arguments.service(),
            };
            fetch::print(&plan, &runtime, say)?
        }
        Some("media") => {
            let arguments = Arguments::read(&words[1..])?;
            let plan = media::Plan {
                is_quick: arguments.has("quick"),
                only: arguments.text("only", "").to_owned(),
                binary: arguments.service(),
            };
            media::print(&plan, &runtime, say)?
        }
        Some("webhooks") => {
            let arguments = Arguments::read(&words[1..])?;
            let plan = table::Plan {
                is_quick: arguments.has("quick"),
                only: arguments.text("only", "").to_owned(),
                database: Engine::parse(arguments.text("database", "sqlite"))?,
                service: arguments.service(),
            };
            table::print(&plan, say)?
        }
        _ => return Err(USAGE.into()),
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One figure, in this process.
async fn cell(figure: &str, arguments: &Arguments) -> Outcome<Value> {
    let engine = Engine::parse(arguments.text("database", "sqlite"))?;
    let secs = |name, default| arguments.number(name, default).map(Duration::from_secs);
    let count = |default| Outcome::Ok(usize::try_from(arguments.number("count", default)?)?);
    let windows = || Outcome::Ok(Windows { alone: secs("alone", 10)?, beside: secs("beside", 0)? });
    match figure {
        "throughput" => throughput::measure(engine, count(20_000)?).await,
        "alone" => latency::measure(engine, Beside::Nothing, windows()?).await,
        "mute" => latency::measure(engine, Beside::Mute(count(1_000)?), windows()?).await,
        "urls" => latency::measure(engine, Beside::Urls(count(12_000)?), windows()?).await,
        "stream" => latency::measure(engine, Beside::Stream(20), windows()?).await,
        "waiting" => latency::measure(engine, Beside::Waiting(count(100_000)?), windows()?).await,
        "idle" => {
            let service: PathBuf = Path::new(arguments.text("service", "")).to_owned();
            idle::measure(&service, count(100_000)?, secs("beside", 30)?).await
        }
        _ => Err(format!("there is no figure `{figure}`").into()),
    }
}

/// A folder for one measurement's files: beside the program, on a real disk, and gone with its owner.
fn scratch() -> Outcome<tempfile::TempDir> {
    let program = std::env::current_exe()?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(program.parent().ok_or("no folder")?)?)
}

/// Log lines are made as the service makes them, and go nowhere.
fn log_to_nowhere() {
    tracing_subscriber::fmt().json().with_writer(std::io::sink).init();
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
