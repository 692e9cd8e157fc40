//! What a key's owner sees and does about its webhooks: `deliveries` and their replays, `endpoints`, the feed of
//! events, the public keys; `try_out` sends a sample.

mod deliveries;
mod endpoints;
mod events;
mod public_keys;
mod replays;
mod try_out;

use domain::ids::MalformedId;
use store::Cursor;

use super::refusal::Refusal;

pub(super) use deliveries::{delivery, list as deliveries, replay};
pub(super) use endpoints::{enable, list as endpoints};
pub(super) use events::list as events;
pub(super) use public_keys::get as public_keys;
pub(super) use replays::{progress as replay_progress, start as replay_many};
pub(super) use try_out::test;

fn parse_cursor<Id: std::fmt::Display>(
    text: &str,
    parse_id: impl FnOnce(&str) -> Result<Id, MalformedId>,
) -> Result<Cursor<Id>, Refusal> {
    Cursor::parse(text, parse_id)
        .map_err(|malformed| wire::query::wrong(format!("`cursor`: {malformed}")).into())
}
