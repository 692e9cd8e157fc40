//! What was heard, counted against the limits.

use domain::Failure;

use super::super::ffi::{Frame, Shape};
use super::super::{AvLimits, failures};

/// So many damaged packets are enough to judge the rest by, in the middle of a file.
const ENOUGH_DAMAGED: u64 = 1000;

/// What was counted against the limits.
#[derive(Clone)]
pub(super) struct Tally {
    limits: AvLimits,
    samples: u64,
    packets: u64,
    damaged: u32,
    /// Whether the latest packet is among the damaged.
    is_latest_damaged: bool,
    /// Packets since the last that gave sound.
    soundless: u32,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new(limits: AvLimits) -> Self {
        Self { limits, samples: 0, packets: 0, damaged: 0, is_latest_damaged: false, soundless: 0 }
    }

    /// Packets that came.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that were damaged.
    pub(super) fn damaged(&self) -> u32 {
        self.damaged
    }

    /// Samples that are put out.
    pub(super) fn count(&mut self, frame: &Frame, shape: &Shape) -> Result<(), Failure> {
        self.samples += u64::from(frame.samples()) * u64::from(shape.layout.channels());
        let most = self.limits.max_decoded_samples;
        if self.samples > most {
            return Err(failures::over_limit(format!("more than {most} samples over all channels")));
        }
        Ok(())
    }

    /// One more packet, which may give no sound, like all before it in a row, at most so often.
    pub(super) fn count_packet(&mut self, at_secs: f64) -> Result<(), Failure> {
        self.packets += 1;
        self.is_latest_damaged = false;
        let most = self.limits.max_soundless_packets;
        if self.soundless >= most {
            return Err(failures::damaged(format!(
                "after {at_secs:.1} s, {most} packets in a row give no sound"
            )));
        }
        self.soundless += 1;
        Ok(())
    }

    /// The latest packets gave sound.
    pub(super) fn count_sound(&mut self) {
        self.soundless = 0;
    }

    /// The latest packet is damaged, however many complaints there are of it.
    pub(super) fn count_damaged(&mut self) {
        self.damaged = self.damaged.saturating_add(u32::from(!self.is_latest_damaged));
        self.is_latest_damaged = true;
    }

    /// Whether too many packets are damaged already, in the middle of a file.
    pub(super) fn check_so_far(&self, faults: u32, at_secs: f64) -> Result<(), Failure> {
        self.check_damage(faults, ENOUGH_DAMAGED, at_secs)
    }

    /// Whether too many packets are damaged is asked once there were `least` of them to tell by.
    pub(super) fn check_damage(&self, faults: u32, least: u64, at_secs: f64) -> Result<(), Failure> {
        let damaged = u64::from(self.damaged) + u64::from(faults);
        let share = u64::from(self.limits.max_damaged_percent) * self.packets;
        if damaged <= least || damaged * 100 <= share {
            return Ok(());
        }
        let packets = self.packets.max(damaged);
        Err(failures::damaged(format!(
            "{damaged} of {packets} packets in the first {at_secs:.1} s are damaged"
        )))
    }
}
