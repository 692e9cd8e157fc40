//! How loud it is (EBU R 128, ITU-R BS.1770-4), with its peaks.

use std::rc::Rc;

use ebur128::{Channel, EbuR128, Mode};
use ffmpeg_sys_next::{AVChannel, AVSampleFormat};

use super::super::ffi::{AvError, Frame, Layout, Shape};
use super::peaks::PeakMeter;
use super::planes::planes;

/// Samples whose peak is kept as one, so that a second pass knows where to look. At 48 kHz 85 ms: 4 MB for a day.
pub(super) const STRETCH: usize = 4096;

/// Listens to planar float, and measures.
pub(in super::super) struct Meter {
    loudness: EbuR128,
    peaks: PeakMeter,
}

/// What was measured.
pub(in super::super) struct Heard {
    /// LUFS; minus infinity for silence, or less than one block of 400 ms.
    pub(super) integrated_lufs: f64,
    /// Of each stretch, as [`PeakMeter::finish`] says.
    pub(in super::super) peaks: Rc<[f32]>,
}

impl Meter {
    /// For sound of this rate and order of channels.
    pub(in super::super) fn new(rate: u32, layout: &Layout) -> Result<Self, AvError> {
        let failed = |_| AvError::MEMORY;
        let channels = u32::from(layout.channels());
        let mut loudness = EbuR128::new(channels, rate, Mode::I).map_err(failed)?;
        for (index, role) in (0..).zip(layout.roles()) {
            loudness.set_channel(index, weight(role)).map_err(failed)?;
        }
        Ok(Self { loudness, peaks: PeakMeter::new(rate, layout)? })
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
        self.loudness.add_frames_planar_f32(&planes(frame)?).map_err(|_| AvError::MEMORY)?;
        self.peaks.push(frame)
    }

    /// What was measured.
    pub(in super::super) fn finish(self) -> Result<Heard, AvError> {
        let integrated_lufs = self.loudness.loudness_global().map_err(|_| AvError::MEMORY)?;
        Ok(Heard { integrated_lufs, peaks: self.peaks.finish()?.into() })
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
