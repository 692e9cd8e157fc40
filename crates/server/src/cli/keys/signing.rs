//! `audio-extract keys rotate-secret | set-header | add-signing-key`: what a key's webhooks are made genuine with.

use clap::Args;
use domain::{Clock as _, KeyId, Secret, SecretHeader};
use egress::sign;
use serde::Serialize;

use super::super::{Stop, block_on, print, to_json};
use crate::boot::{self, Rows};
use crate::clock::SystemClock;
use crate::config::{Flags, Settings, parse_duration};
use crate::keys::configured_id;

#[derive(Args)]
pub(super) struct RotateSecretArgs {
    /// The key's id: `key_…`
    id: String,
    /// How long webhooks are signed with the secret before, too
    #[arg(long, default_value = "24h")]
    overlap: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct SetHeaderArgs {
    /// The key's id: `key_…`
    id: String,
    /// The header's name
    #[arg(required_unless_present = "remove")]
    name: Option<String>,
    /// The header's value
    #[arg(required_unless_present = "remove")]
    value: Option<String>,
    /// Send no such header any more
    #[arg(long, conflicts_with_all = ["name", "value"])]
    remove: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct AddSigningKeyArgs {
    /// The key's id: `key_…`
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args)]
pub(super) struct RemoveSigningKeyArgs {
    /// The key's id: `key_…`
    id: String,
    /// The public key of the pair: `whpk_…`
    public_key: String,
    #[command(flatten)]
    flags: Flags,
}

/// A new secret, shown once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSecret<'a> {
    id: &'a str,
    webhook_secret: &'a str,
}

/// What verifies a key's `v1a` signatures.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownPublicKey<'a> {
    id: &'a str,
    public_key: &'a str,
}

pub(super) fn rotate_secret(args: &RotateSecretArgs) -> Result<(), Stop> {
    let id = parse_id(&args.id)?;
    let overlap =
        parse_duration(&args.overlap).map_err(|cause| Stop::Usage(format!("--overlap: {cause}")))?;
    if id == configured_id() {
        // The next start would put the configured one back.
        return Err(Stop::Usage(
            "this key's secret is the setting `webhook_secret`; change it there, and the one before signs beside it for 24 h"
                .to_owned(),
        ));
    }
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let secret = sign::generate_secret().map_err(no_random)?;
        let is_done = rows.store.rotate_secret(&id, &secret, overlap, SystemClock.now()).await?;
        close(&rows, &id, is_done).await?;
        if args.json {
            let shown = ShownSecret { id: id.as_str(), webhook_secret: secret.expose() };
            return print(&to_json(&shown)?);
        }
        print(&format!("webhook secret:  {}", secret.expose()))?;
        eprintln!("Keep it now: it is not shown again.");
        Ok(())
    })
}

pub(super) fn set_header(args: SetHeaderArgs) -> Result<(), Stop> {
    let id = parse_id(&args.id)?;
    let header = match (args.name, args.value) {
        (Some(name), Some(value)) => Some(SecretHeader::parse(&name, &value).map_err(Stop::Usage)?),
        _ => None,
    };
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let is_done = rows.store.set_header(&id, header.as_ref()).await?;
        close(&rows, &id, is_done).await
    })
}

pub(super) fn add_signing_key(args: &AddSigningKeyArgs) -> Result<(), Stop> {
    let id = parse_id(&args.id)?;
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let private: Secret = sign::generate_private_key().map_err(no_random)?;
        let public = sign::PrivateKey::parse(&private).map_err(|cause| Stop::Failed(cause.to_string()))?;
        let public = public.public_key();
        let is_done = rows.store.add_private_key(&id, &private).await?;
        close(&rows, &id, is_done).await?;
        if args.json {
            let shown = ShownPublicKey { id: id.as_str(), public_key: public.as_str() };
            return print(&to_json(&shown)?);
        }
        print(&format!("public key:  {}", public.as_str()))
    })
}

pub(super) fn remove_signing_key(args: &RemoveSigningKeyArgs) -> Result<(), Stop> {
    let id = parse_id(&args.id)?;
    let settings = Settings::load(&args.flags)?;
    block_on(async {
        let rows = boot::open_rows(&settings).await?;
        let is_removed = remove_pair(&rows, &id, &args.public_key).await?;
        rows.store.close().await;
        if is_removed {
            return Ok(());
        }
        Err(Stop::Failed(format!("{id} signs with no key whose public part this is")))
    })
}

async fn remove_pair(rows: &Rows, id: &KeyId, public_key: &str) -> Result<bool, Stop> {
    let signing = rows.store.signing_keys(id, SystemClock.now()).await?;
    for private in &signing.private_keys {
        let pair = sign::PrivateKey::parse(private).map_err(|cause| Stop::Failed(cause.to_string()))?;
        if pair.public_key().as_str() == public_key {
            return Ok(rows.store.remove_private_key(id, private).await?);
        }
    }
    Ok(false)
}

fn parse_id(text: &str) -> Result<KeyId, Stop> {
    KeyId::parse(text).map_err(|malformed| Stop::Usage(malformed.to_string()))
}

fn no_random(cause: impl std::fmt::Display) -> Stop {
    Stop::Failed(format!("no random bytes: {cause}"))
}

/// A key that is not there is the one thing that can be wrong. A revoked one is: what it was promised is still
/// delivered.
async fn close(rows: &Rows, id: &KeyId, is_done: bool) -> Result<(), Stop> {
    rows.store.close().await;
    if is_done { Ok(()) } else { Err(Stop::Failed(format!("there is no key {id}"))) }
}
