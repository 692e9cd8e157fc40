//! Loudness: `meter` measures it, by what passes the `gate`; `level` decides on the gain, `limiter` keeps true peaks below
//! their ceiling where the gain would take them above, along the `curve` of what it takes off. `peaks` finds the highest;
//! `draw` leaves out what cannot matter, and `oversample` draws the wave between the samples.

mod curve;
mod draw;
mod gate;
mod level;
mod limiter;
mod meter;
mod oversample;
mod peaks;
mod planes;

pub(super) use level::{Level, decibels};
pub(super) use limiter::Limiter;
pub(super) use meter::{Heard, Meter};
pub(super) use peaks::PeakMeter;
pub(super) use planes::scaled;
