//! `audio-extract serve`

use clap::Args;

use super::{Stop, block_on};
use crate::config::{Flags, Settings, for_serving};
use crate::{lifecycle, logging};

/// The settings, as flags; `--help` lists all of them with their reasons
#[derive(Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: ServeArgs) -> Result<(), Stop> {
    let settings = Settings::load(&args.flags)?;
    for_serving(&settings)?;
    logging::start(&settings)?;
    for variable in &settings.unknown_variables {
        tracing::warn!(variable, "this variable looks like a setting and is none");
    }
    block_on(lifecycle::serve(settings))
}
