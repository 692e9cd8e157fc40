//! A lossy result as a player will hear it: codecs overshoot.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use domain::{AudioFormat, Failure, OutputSpec, Step};

use super::levelled::unmeasured;
use super::loudness::{PeakMeter, decibels};
use super::pipeline::{self, play};
use super::playback::Playback;
use super::{AvLimits, Host, HostGone, Probe};

/// The true peak of what the file decodes to, dBTP. `None` where that cannot be told: it is no reason to withhold it.
pub(super) fn true_peak_dbtp(
    file: &File,
    format: AudioFormat,
    limits: &AvLimits,
    host: &mut dyn Host,
) -> Option<f64> {
    let mut result = FinishedFile { file, host };
    let peak = decoded_peak(&mut result, format, limits).ok()?;
    Some(decibels(peak)).filter(|peak| peak.is_finite())
}

fn decoded_peak(host: &mut dyn Host, format: AudioFormat, limits: &AvLimits) -> Result<f32, Failure> {
    let mut playback = Playback::open(host, limits, &OutputSpec::plain(format))?;
    let shape = pipeline::shape(&playback)?;
    let mut meter = PeakMeter::new(shape.rate, &shape.layout).map_err(unmeasured)?;
    play(&mut playback, &mut meter, Step::Finalizing)?;
    Ok(meter.finish().map_err(unmeasured)?.into_iter().fold(0.0, f32::max))
}

/// The result's file in the place of the source.
struct FinishedFile<'a> {
    file: &'a File,
    /// Told how far it is.
    host: &'a mut dyn Host,
}

impl FinishedFile<'_> {
    fn read(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read(buf)
    }
}

impl Host for FinishedFile<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        self.read(offset, buf).map_err(|_| HostGone)
    }

    fn size(&mut self) -> Result<u64, HostGone> {
        // Not by its metadata: the jail has no call for that.
        self.file.seek(SeekFrom::End(0)).map_err(|_| HostGone)
    }

    fn plan(&mut self, _: &[Range<u64>]) {}

    fn probed(&mut self, _: Probe) {}

    fn progressed(&mut self, step: Step, fraction: Option<f64>) {
        // Whatever is read here is said as the end of the job, not as another download.
        if step == Step::Finalizing {
            self.host.progressed(step, fraction);
        }
    }
}
