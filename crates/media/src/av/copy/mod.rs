//! The source's packets into the result as they are, where that is the result that was asked for.
//!
//! `plan` decides by the header, before anything is written; `copier` finds out whether the packets keep what the
//! header promised. What it stands on: `framing` (what a packet is), `aac` and `mp3` (their headers). Where
//! it is no copy after all, `spent` says what the source was worth.

mod aac;
mod copier;
mod framing;
mod mp3;
mod plan;
mod spent;

pub(super) use copier::{Outcome, copy};
pub(super) use framing::flac_end;
pub(super) use mp3::FrameHead;
pub(super) use plan::plan;
pub(super) use spent::spent_kbps;
