//! One extraction from end to end: measure if asked to, then decode, convert, encode.

use std::ops::Range;
use std::time::{Duration, Instant};

use domain::{Extracted, Failure, Loudness, Method, OutputSpec, Step};

use super::encode::Encoder;
use super::ffi::{AvError, Frame};
use super::loudness::Meter;
use super::playback::Playback;
use super::quality::{self, Encoding, Given, Spending};
use super::resample::Resampler;
use super::{AvLimits, AvOrder, Host, HostGone, Probe, failures};

/// How often progress is told at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Does one extraction.
pub(super) fn extract(order: AvOrder, host: &mut dyn Host) -> Result<Extracted, Failure> {
    let AvOrder { output, limits, into } = order;
    host.progressed(Step::Downloading, None);
    let Some(target) = output.normalize else {
        return encode(Playback::open(host, &limits, &output)?, &output, &limits, into, 1.0);
    };
    let gain = measure(Playback::open(host, &limits, &output)?, &output, target)?;
    encode(Playback::open(&mut Again(host), &limits, &output)?, &output, &limits, into, gain)
}

/// The gain that brings the result to the target: measured on the very samples that the encoder will get.
fn measure(mut playback: Playback<'_>, output: &OutputSpec, target: Loudness) -> Result<f64, Failure> {
    let encoding = decide(&playback, output)?;
    let layout = super::codec::layout(&encoding, &shape(&playback)?.layout);
    let mut meter = Meter::new(encoding.rate, layout)
        .map_err(|_| failures::internal("the loudness meter", AvError::MEMORY))?;
    let mut resampler = Resampler::new(meter.shape().clone(), 1.0);
    let failed = |cause| failures::internal("measuring", cause);
    let mut progress = Telling::new(Step::Analyzing, &mut playback);
    while let Some(frame) = playback.next()? {
        resampler.convert(&frame, |samples| meter.push(samples)).map_err(failed)?;
        progress.tell(&mut playback);
    }
    resampler.finish(|samples| meter.push(samples)).map_err(failed)?;
    Ok(meter.gain(target))
}

fn encode(
    mut playback: Playback<'_>,
    output: &OutputSpec,
    limits: &AvLimits,
    into: std::fs::File,
    gain: f64,
) -> Result<Extracted, Failure> {
    let encoding = decide(&playback, output)?;
    let mut encoder = Encoder::open(&encoding, &shape(&playback)?.layout, into, limits.max_output_bytes)?;
    let mut resampler = Resampler::new(encoder.shape().clone(), gain);
    let mut progress = Telling::new(Step::Extracting, &mut playback);
    while let Some(frame) = playback.next()? {
        push(&mut resampler, &mut encoder, Some(&frame))?;
        progress.tell(&mut playback);
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

/// Tells how far a step is, now and then.
struct Telling {
    step: Step,
    whole_secs: Option<f64>,
    last: Instant,
}

impl Telling {
    fn new(step: Step, playback: &mut Playback<'_>) -> Self {
        let whole_secs = playback.duration_secs().filter(|whole| *whole > 0.0);
        playback.host().progressed(step, whole_secs.map(|_| 0.0));
        Self { step, whole_secs, last: Instant::now() }
    }

    fn tell(&mut self, playback: &mut Playback<'_>) {
        if self.last.elapsed() >= TELL_EVERY {
            self.last = Instant::now();
            let fraction = self.whole_secs.map(|whole| (playback.length_secs() / whole).clamp(0.0, 1.0));
            playback.host().progressed(self.step, fraction);
        }
    }
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
