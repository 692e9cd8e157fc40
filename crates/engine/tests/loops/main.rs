//! The loops over a real store, with a clock that the test turns and ports that do as they are told: what is decided
//! here must not depend on how fast a machine is.

mod circuit;
mod crowd;
mod deliver;
mod extract;
mod house;
mod late;
mod live;
mod sweep;
