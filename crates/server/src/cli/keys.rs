//! `audio-extract keys create | list | revoke`; what webhooks are signed with is in `signing`.

mod signing;

use clap::{Args, Subcommand};
use domain::{Clock as _, KeyId, Scopes};
use serde::Serialize;

use super::{Stop, block_on, print, to_json};
use crate::boot;
use crate::clock::SystemClock;
use crate::config::{Flags, Settings};
use crate::keys::{ShownKey, new_key};

/// The longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 200;

#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Make an API key and print it once, with its webhook signing secret
    Create(CreateArgs),
    /// List the keys, without their secrets
    List(ListArgs),
    /// Make a key useless, at once
    Revoke(RevokeArgs),
    /// Make a new webhook signing secret and print it once; the one before signs beside it for a while
    ///
    /// A running service uses the new one within 5 seconds; until then, and no longer, it signs as it did.
    RotateSecret(signing::RotateSecretArgs),
    /// Send a header with every webhook, for receivers that compare a token
    SetHeader(signing::SetHeaderArgs),
    /// Sign webhooks with ed25519 (`v1a`) too, and print the public key
    AddSigningKey(signing::AddSigningKeyArgs),
    /// Sign webhooks with this ed25519 key no more
    RemoveSigningKey(signing::RemoveSigningKeyArgs),
}

#[derive(Args)]
struct CreateArgs {
    /// What to call it
    #[arg(long)]
    name: String,
    /// What it may do: a list of jobs:read, jobs:write and webhooks
    #[arg(long = "scope", value_name = "SCOPES", default_value = "jobs:read,jobs:write,webhooks")]
    scopes: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
struct ListArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// A key as it is listed.
#[derive(Serialize)]
struct ListedKey<'a> {
    id: &'a str,
    name: &'a str,
    scopes: String,
    revoked: bool,
}

#[derive(Args)]
struct RevokeArgs {
    /// The key's id: `key_…`
    id: String,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: KeysArgs) -> Result<(), Stop> {
    match args.command {
        KeysCommand::Create(args) => create(args),
        KeysCommand::List(args) => list(&args),
        KeysCommand::Revoke(args) => revoke(&args),
        KeysCommand::RotateSecret(args) => signing::rotate_secret(&args),
        KeysCommand::SetHeader(args) => signing::set_header(args),
        KeysCommand::AddSigningKey(args) => signing::add_signing_key(&args),
        KeysCommand::RemoveSigningKey(args) => signing::remove_signing_key(&args),
    }
}

fn create(args: CreateArgs) -> Result<(), Stop> {
    let scopes = Scopes::parse(&args.scopes).map_err(|reason| Stop::Usage(format!("--scope: {reason}")))?;
    if args.name.trim().is_empty()
        || args.name.len() > MAX_NAME_BYTES
        || args.name.chars().any(char::is_control)
    {
        return Err(Stop::Usage(format!("--name: give a plain name of 1 to {MAX_NAME_BYTES} bytes")));
    }
    let settings = Settings::load(&args.flags)?;
    block_on(async move {
        let rows = boot::open_rows(&settings).await?;
        let new = new_key(&args.name, scopes, SystemClock.now())?;
        rows.store.create_key(&new).await?;
        rows.store.close().await;
        if args.json {
            return print(&to_json(&ShownKey::from(&new))?);
        }
        print(&format!("id:              {}", new.key.id))?;
        print(&format!("api key:         {}", new.api_key.expose()))?;
        print(&format!("webhook secret:  {}", new.webhook_secret.expose()))?;
        eprintln!("Keep them now: they are not shown again.");
        Ok(())
    })
}

fn list(args: &ListArgs) -> Result<(), Stop> {
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let keys = rows.store.keys().await?;
        rows.store.close().await;
        for key in keys {
            let (scopes, is_revoked) = (key.scopes.to_text(), key.revoked_at.is_some());
            if args.json {
                print(&to_json(&ListedKey {
                    id: key.id.as_str(),
                    name: &key.name,
                    scopes,
                    revoked: is_revoked,
                })?)?;
            } else {
                let state = if is_revoked { "revoked" } else { "active" };
                print(&format!("{}  {state:<7}  {scopes}  {}", key.id, key.name))?;
            }
        }
        Ok(())
    })
}

fn revoke(args: &RevokeArgs) -> Result<(), Stop> {
    let id = KeyId::parse(&args.id).map_err(|malformed| Stop::Usage(malformed.to_string()))?;
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let was_there = rows.store.revoke_key(&id, SystemClock.now()).await?;
        rows.store.close().await;
        if was_there { Ok(()) } else { Err(Stop::Failed(format!("there is no active key {id}"))) }
    })
}
