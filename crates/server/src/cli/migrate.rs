//! `audio-extract migrate`

use clap::Args;

use super::{Stop, block_on};
use crate::boot;
use crate::config::{Flags, Settings};

#[derive(Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: MigrateArgs) -> Result<(), Stop> {
    let settings = Settings::load(&args.flags)?;
    block_on(async move {
        let rows = boot::open_rows(&settings).await?;
        rows.store.close().await;
        eprintln!("the database has this version's schema");
        Ok(())
    })
}
