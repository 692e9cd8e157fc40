//! One extraction from end to end: copy if that is what was asked for; else measure if asked to, then decode, convert,
//! encode.

use std::fs::File;
use std::io::{self, Seek};
use std::ops::Range;
use std::rc::Rc;

use domain::{Extracted, Failure, Loudness, Method, OutputSpec, Step};

use super::copy::{self, Outcome};
use super::demux::Demux;
use super::encode::Encoder;
use super::ffi::{AvError, Frame};
use super::loudness::Meter;
use super::playback::Playback;
use super::progress::Telling;
use super::quality::{self, Encoding, Given, Spending};
use super::resample::Resampler;
use super::{AvLimits, AvOrder, Host, HostGone, Probe, failures};

/// Does one extraction.
pub(super) fn extract(order: AvOrder, host: &mut dyn Host) -> Result<Extracted, Failure> {
    let AvOrder { output, limits, into } = order;
    let into = Rc::new(into);
    host.progressed(Step::Downloading, None);
    let Some(target) = output.normalize else {
        return copy_or_encode(host, &output, &limits, into);
    };
    let gain = measure(Playback::open(host, &limits, &output)?, &output, target)?;
    let wish = Wish { output: &output, gain, most_kbps: None };
    encode(Playback::open(&mut Again(host), &limits, &output)?, wish, &limits, into)
}

/// What the encoder is to make.
struct Wish<'a> {
    output: &'a OutputSpec,
    /// A factor; 1 leaves the samples as they are.
    gain: f64,
    /// What the source spent, where it is of the same lossy codec: more would be wasted.
    most_kbps: Option<f64>,
}

fn copy_or_encode(
    host: &mut dyn Host,
    output: &OutputSpec,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Extracted, Failure> {
    let mut demux = Demux::open(host, limits, output.track.as_ref())?;
    let as_it_is = Wish { output, gain: 1.0, most_kbps: None };
    let Some(plan) = copy::plan(&mut demux, output)? else {
        return encode(Playback::of(demux, limits, output)?, as_it_is, limits, into);
    };
    match copy::copy(plan, demux, limits, Rc::clone(&into))? {
        Outcome::Copied(extracted) => Ok(extracted),
        Outcome::Unfit(most_kbps) => {
            restart(&into).map_err(|cause| failures::unwritten(&cause))?;
            let wish = Wish { most_kbps, ..as_it_is };
            encode(Playback::open(&mut Again(host), limits, output)?, wish, limits, into)
        }
    }
}

/// Makes the file empty again.
fn restart(mut into: &File) -> io::Result<()> {
    into.rewind()?;
    into.set_len(0)
}

/// The gain that brings the result to the target: measured on the very samples that the encoder will get.
fn measure(mut playback: Playback<'_>, output: &OutputSpec, target: Loudness) -> Result<f64, Failure> {
    let encoding = decide(&playback, output)?;
    let layout = super::codec::layout(&encoding, &shape(&playback)?.layout);
    let mut meter = Meter::new(encoding.rate, layout)
        .map_err(|_| failures::internal("the loudness meter", AvError::MEMORY))?;
    let mut resampler = Resampler::new(meter.shape().clone(), 1.0);
    let failed = |cause| failures::internal("measuring", cause);
    let mut progress = Telling::new(Step::Analyzing, playback.duration_secs(), playback.host());
    while let Some(frame) = playback.next()? {
        resampler.convert(&frame, |samples| meter.push(samples)).map_err(failed)?;
        progress.tell(playback.length_secs(), playback.host());
    }
    resampler.finish(|samples| meter.push(samples)).map_err(failed)?;
    Ok(meter.gain(target))
}

fn encode(
    mut playback: Playback<'_>,
    wish: Wish<'_>,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Extracted, Failure> {
    let mut encoding = decide(&playback, wish.output)?;
    if let Some(most_kbps) = wish.most_kbps {
        encoding = quality::within(encoding, most_kbps);
    }
    let source = shape(&playback)?.layout;
    let mut encoder = Encoder::open(&encoding, &source, into, limits.max_output_bytes)?.on_threads(
        limits.encoder_threads,
        &encoding,
        &source,
    )?;
    let mut resampler = Resampler::new(encoder.shape().clone(), wish.gain);
    let mut progress = Telling::new(Step::Extracting, playback.duration_secs(), playback.host());
    while let Some(frame) = playback.next()? {
        push(&mut resampler, &mut encoder, Some(&frame))?;
        progress.tell(playback.length_secs(), playback.host());
    }
    if let Some(samples) = playback.samples_at(encoding.rate) {
        resampler.promise(samples);
    }
    push(&mut resampler, &mut encoder, None)?;
    let (samples, size) = encoder.finish()?;
    if samples == 0 {
        return Err(failures::no_audio("its audio track is too short to hold a sample of the result"));
    }
    Ok(Extracted {
        size,
        samples,
        sample_rate: encoding.rate,
        channels: encoding.channels,
        constant_kbps: match encoding.spending {
            Spending::Constant(kbps) => Some(kbps),
            Spending::Average(_) | Spending::Steps(_) | Spending::Lossless(_) => None,
        },
        method: Method::Encode,
        damaged_packets: playback.damaged_packets(),
        loudness: None,
    })
}

/// Feeds a frame; `None` gives out what the resampler held back.
fn push(resampler: &mut Resampler, encoder: &mut Encoder, frame: Option<&Frame>) -> Result<(), Failure> {
    let mut sink = |samples: &Frame| encoder.push(samples);
    let pushed = match frame {
        Some(frame) => resampler.convert(frame, &mut sink),
        None => resampler.finish(&mut sink),
    };
    pushed.map_err(|cause| encoder.failure(cause))
}

fn shape(playback: &Playback<'_>) -> Result<super::ffi::Shape, Failure> {
    playback.shape().ok_or_else(|| failures::damaged("the decoder made sound of no known kind"))
}

fn decide(playback: &Playback<'_>, output: &OutputSpec) -> Result<Encoding, Failure> {
    let shape = shape(playback)?;
    let given = Given { rate: shape.rate, channels: shape.layout.channels(), depth: playback.depth() };
    Ok(quality::encoding(given, output))
}

/// The host on a second reading: what the source is has been told.
struct Again<'a>(&'a mut dyn Host);

impl Host for Again<'_> {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        self.0.read_at(offset, buf)
    }

    fn size(&mut self) -> Result<u64, HostGone> {
        self.0.size()
    }

    fn plan(&mut self, ranges: &[Range<u64>]) {
        self.0.plan(ranges);
    }

    fn probed(&mut self, _: Probe) {}

    fn progressed(&mut self, step: Step, fraction: Option<f64>) {
        self.0.progressed(step, fraction);
    }
}
