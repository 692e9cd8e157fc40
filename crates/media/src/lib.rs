//! Audio out of media that may be hostile: libav, the sandbox around it, and the protocol between the two.
//!
//! Never in here: SQL, HTTP, the network, a secret. libav never runs in the process that uses this crate; it runs in
//! a child that has no files, no network and no environment, and whose every message is checked.
//!
//! Start with `supervisor` (the parent's side, which implements [`domain::Extractor`]), then `zygote` (where children
//! come from), `child` (what one does), `jail` (what it cannot do), `protocol` (what the two say), `attack` (what
//! `doctor` tries) and `av` (the extraction).

mod ahead;
mod attack;
mod av;
mod child;
mod jail;
mod protocol;
mod supervisor;
mod zygote;

#[doc(hidden)]
pub use attack::checks_within;
pub use attack::{Attack, Check, checks};
pub use av::AvLimits;
pub use jail::{Wall, Walls};
pub use supervisor::{MediaError, Supervisor, SupervisorConfig};
pub use zygote::run_if_zygote;
