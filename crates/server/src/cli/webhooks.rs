//! `audio-extract webhooks listen | replay`

use clap::{Args, Subcommand};
use domain::{Clock as _, KeyId};
use serde_json::json;
use store::{MAX_REPLAYS, ReplayFilter};

use super::{Stop, block_on, listen, print};
use crate::boot;
use crate::clock::SystemClock;
use crate::config::{Flags, Settings};

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// Receive webhooks: verify each, print it, answer 200
    Listen(listen::ListenArgs),
    /// Send deliveries again: the running service does it, in the background
    Replay(ReplayArgs),
}

#[derive(Args)]
struct ReplayArgs {
    /// Those of this key alone: `key_…`
    #[arg(long)]
    key: Option<String>,
    /// Those that are `pending`, `delivered` or `exhausted`
    #[arg(long)]
    state: Option<String>,
    /// Those made at this time or later, like 2026-01-21T12:34:56Z
    #[arg(long)]
    after: Option<String>,
    /// Those made before this time
    #[arg(long)]
    before: Option<String>,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: WebhooksArgs) -> Result<(), Stop> {
    match args.command {
        WebhooksCommand::Listen(args) => listen::run(args),
        WebhooksCommand::Replay(args) => replay(args),
    }
}

/// Prints a line for each key: the replay's id, by which `GET /v1/webhooks/replay/{id}` tells how far it is. A key that may
/// have no more of them keeps none of the others from theirs.
fn replay(args: ReplayArgs) -> Result<(), Stop> {
    let wanted = args.key.as_deref().map(KeyId::parse).transpose();
    let wanted = wanted.map_err(|malformed| Stop::Usage(format!("--key: {malformed}")))?;
    // The same rules as over HTTP, by the same way.
    let asked = [("state", args.state), ("after", args.after), ("before", args.before)];
    let asked = asked.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?))));
    let body = serde_json::Value::Object(asked.collect()).to_string();
    let request = wire::parse_replay(body.as_bytes())
        .map_err(|refused| Stop::Usage(refused.details.unwrap_or(refused.message)))?;
    let filter = ReplayFilter { state: request.state, after: request.after, before: request.before };
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let mut keys: Vec<KeyId> = rows.store.keys().await?.into_iter().map(|key| key.id).collect();
        if let Some(wanted) = wanted {
            keys.retain(|key| *key == wanted);
            if keys.is_empty() {
                return Err(Stop::Failed(format!("there is no key {wanted}")));
            }
        }
        let mut refused = Vec::new();
        for key in keys {
            match rows.store.start_replay(&key, &filter, SystemClock.now()).await? {
                Some(id) => print(&format!("{id}  {key}"))?,
                None => refused.push(format!("{key} has {MAX_REPLAYS} replays that are running")),
            }
        }
        rows.store.close().await;
        if refused.is_empty() { Ok(()) } else { Err(Stop::Failed(refused.join("; "))) }
    })
}
