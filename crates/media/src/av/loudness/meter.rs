//! How loud it is (EBU R 128, ITU-R BS.1770-4), with its peaks.

use std::rc::Rc;

use ebur128::{Channel, EbuR128, Mode};
use ffmpeg_sys_next::{AVChannel, AVSampleFormat};

use super::super::ffi::{AvError, Frame, Layout, Shape};
use super::gate::Blocks;
use super::peaks::PeakMeter;
use super::planes::planes;

/// Samples whose peak is kept as one, so that a second pass knows where to look. At 48 kHz 85 ms: 4 MB for a day.
pub(super) const STRETCH: usize = 4096;

/// Listens to planar float, and measures.
pub(in super::super) struct Meter {
    /// Weighs channels and frequencies.
    weighing: EbuR128,
    /// Samples until the next block ends, and from each block's end to the next one's.
    until_block: usize,
    step: usize,
    blocks: Blocks,
    peaks: PeakMeter,
}

/// What was measured.
pub(in super::super) struct Heard {
    /// None of less than 400 ms.
    pub(super) blocks: Blocks,
    /// Of each stretch, as [`PeakMeter::finish`] says.
    pub(in super::super) peaks: Rc<[f32]>,
}

impl Meter {
    /// For sound of this rate and order of channels.
    pub(in super::super) fn new(rate: u32, layout: &Layout) -> Result<Self, AvError> {
        let failed = |_| AvError::MEMORY;
        let channels = u32::from(layout.channels());
        let mut weighing = EbuR128::new(channels, rate, Mode::M).map_err(failed)?;
        for (index, role) in (0..).zip(layout.roles()) {
            weighing.set_channel(index, weight(role)).map_err(failed)?;
        }
        // What the crate takes for 100 ms.
        let step = (rate as usize + 5) / 10;
        let peaks = PeakMeter::new(rate, layout)?;
        Ok(Self { weighing, until_block: 4 * step, step, blocks: Blocks::default(), peaks })
    }

    /// What samples it takes, of this rate and order of channels.
    pub(in super::super) fn takes(rate: u32, layout: &Layout) -> Shape {
        Shape { rate, layout: layout.clone(), format: AVSampleFormat::AV_SAMPLE_FMT_FLTP }
    }

    /// What samples it takes.
    pub(in super::super) fn shape(&self) -> &Shape {
        self.peaks.shape()
    }

    /// Listens to samples of its shape.
    pub(in super::super) fn push(&mut self, frame: &Frame) -> Result<(), AvError> {
        let given = planes(frame)?;
        let (mut from, whole) = (0, frame.samples() as usize);
        while from < whole {
            let upto = whole.min(from + self.until_block);
            let piece: Vec<&[f32]> = given.iter().map(|plane| &plane[from..upto]).collect();
            self.weighing.add_frames_planar_f32(&piece).map_err(|_| AvError::MEMORY)?;
            self.until_block -= upto - from;
            if self.until_block == 0 {
                self.blocks.push(self.weighing.loudness_momentary().map_err(|_| AvError::MEMORY)?);
                self.until_block = self.step;
            }
            from = upto;
        }
        self.peaks.push(frame)
    }

    /// What was measured.
    pub(in super::super) fn finish(self) -> Result<Heard, AvError> {
        Ok(Heard { blocks: self.blocks, peaks: self.peaks.finish()?.into() })
    }
}

/// How BS.1770 weighs a channel; the surrounds of 7.1 count as libav's own meter counts them.
fn weight(role: AVChannel) -> Channel {
    use AVChannel::*;
    match role {
        AV_CHAN_FRONT_LEFT => Channel::Left,
        AV_CHAN_FRONT_RIGHT => Channel::Right,
        AV_CHAN_FRONT_CENTER => Channel::Center,
        AV_CHAN_LOW_FREQUENCY | AV_CHAN_LOW_FREQUENCY_2 => Channel::Unused,
        AV_CHAN_BACK_LEFT | AV_CHAN_SIDE_LEFT => Channel::LeftSurround,
        AV_CHAN_BACK_RIGHT | AV_CHAN_SIDE_RIGHT => Channel::RightSurround,
        AV_CHAN_BACK_CENTER => Channel::LeftSurround,
        _ => Channel::Center,
    }
}
