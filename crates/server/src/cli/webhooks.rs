//! `audio-extract webhooks …`

use clap::{Args, Subcommand};

use super::{Stop, listen};

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
}

pub(super) fn run(args: WebhooksArgs) -> Result<(), Stop> {
    match args.command {
        WebhooksCommand::Listen(args) => listen::run(args),
    }
}
