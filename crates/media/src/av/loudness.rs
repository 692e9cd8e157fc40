//! How loud it is (EBU R 128, ITU-R BS.1770), and the one gain that brings it to its target.
#![allow(unsafe_code)] // a packed frame is looked at as a slice of samples.

use domain::Loudness;
use ebur128::{Channel, EbuR128, Mode};
use ffmpeg_sys_next::{AVChannel, AVSampleFormat};

use super::ffi::{AvError, Frame, Layout, Shape};

/// Less than one block of 400 ms cannot be measured (BS.1770).
const LEAST_SECS: f64 = 0.4;

/// Listens, and measures.
pub(super) struct Meter {
    meter: EbuR128,
    shape: Shape,
    samples: u64,
}

impl Meter {
    /// For sound of this rate and order of channels.
    pub(super) fn new(rate: u32, layout: Layout) -> Result<Self, ebur128::Error> {
        let mut meter = EbuR128::new(u32::from(layout.channels()), rate, Mode::I | Mode::TRUE_PEAK)?;
        for (index, role) in (0..).zip(layout.roles()) {
            meter.set_channel(index, weight(role))?;
        }
        let shape = Shape { rate, layout, format: AVSampleFormat::AV_SAMPLE_FMT_FLT };
        Ok(Self { meter, shape, samples: 0 })
    }

    /// What samples it takes.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Listens to samples of its shape.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), AvError> {
        let count = frame.samples() as usize * usize::from(self.shape.layout.channels());
        // SAFETY: the frame is packed float, with so many samples over all channels in its first plane.
        let samples = unsafe { std::slice::from_raw_parts(frame.get().data[0].cast::<f32>(), count) };
        self.samples += u64::from(frame.samples());
        self.meter.add_frames_f32(samples).map_err(|_| AvError::MEMORY)
    }

    /// The factor for every sample.
    pub(super) fn gain(&self, target: Loudness) -> f64 {
        let integrated = self.meter.loudness_global().unwrap_or(f64::NEG_INFINITY);
        let peaks =
            (0..u32::from(self.shape.layout.channels())).filter_map(|at| self.meter.true_peak(at).ok());
        let peak = peaks.fold(0.0, f64::max);
        let secs = self.samples as f64 / f64::from(self.shape.rate.max(1));
        10f64.powf(gain_db(integrated, peak, secs, target) / 20.0)
    }
}

/// Decibels to the target, but never so many that the true peak (a factor of full scale) would pass its ceiling.
/// Silence has no loudness, and what is too short cannot be measured: both are left as they are.
fn gain_db(integrated_lufs: f64, true_peak: f64, secs: f64, target: Loudness) -> f64 {
    if !integrated_lufs.is_finite() || true_peak <= 0.0 || secs < LEAST_SECS {
        return 0.0;
    }
    let wanted = target.integrated_lufs - integrated_lufs;
    let headroom = target.true_peak_dbtp - 20.0 * true_peak.log10();
    wanted.min(headroom)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gain_reaches_the_target_or_stops_at_the_ceiling() {
        let target = Loudness { integrated_lufs: -16.0, true_peak_dbtp: -1.0 };
        for (integrated, peak_db, secs, expected) in [
            (-20.0, -12.0, 10.0, 4.0),
            (-10.0, 0.0, 10.0, -6.0),
            (-30.0, -6.0, 10.0, 5.0),
            (-16.5, 0.5, 10.0, -1.5),
            (f64::NEG_INFINITY, -80.0, 10.0, 0.0),
            (-20.0, -12.0, 0.3, 0.0),
        ] {
            let gain = gain_db(integrated, 10f64.powf(peak_db / 20.0), secs, target);
            assert!((gain - expected).abs() < 1e-9, "{integrated} LUFS, {peak_db} dBTP: {gain}");
        }
        assert_eq!(gain_db(f64::NEG_INFINITY, 0.0, 10.0, target), 0.0, "digital silence");
    }
}
