//! One extraction from end to end: normalise or copy if that is what was asked for; else decode, convert, encode.

use std::fs::File;
use std::io::{self, Seek};
use std::ops::Range;
use std::rc::Rc;

use domain::{Access, Extracted, Failure, Method, OutputSpec, Playlist, Step};

use super::copy::{self, Outcome};
use super::demux::Demux;
use super::encode::{Encoded, Encoder};
use super::ffi::{AvError, Frame, Shape};
use super::playback::Playback;
use super::progress::Telling;
use super::quality::{self, Encoding, Given, Spending};
use super::resample::Resampler;
use super::tags::Tags;
use super::{AvLimits, AvOrder, Host, HostGone, Probe, failures, normalize, orders};

/// Does one extraction.
pub(super) fn extract(order: AvOrder, host: &mut dyn Host) -> Result<Extracted, Failure> {
    let AvOrder { output, limits, into } = order;
    let into = Rc::new(into);
    host.progressed(Step::Downloading, None);
    let Some(target) = output.normalize else {
        return copy_or_encode(host, &output, &limits, into);
    };
    normalize::normalize(host, &output, target, &limits, into)
}

/// Copies it if it may, and encodes it as it is if not.
pub(super) fn copy_or_encode(
    host: &mut dyn Host,
    output: &OutputSpec,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Extracted, Failure> {
    let mut demux = Demux::open(host, limits, output)?;
    let Some(plan) = copy::plan(&mut demux, output)? else {
        demux.input().host().once();
        return encode(Playback::of(demux, limits, output)?, output, limits, into);
    };
    if output.preserve_metadata {
        demux.look_at_first()?;
    }
    let tags = Tags::read(&mut demux, output, limits);
    match copy::copy(plan, demux, tags, limits, Rc::clone(&into))? {
        Outcome::Copied(extracted) => Ok(extracted),
        Outcome::Unfit => {
            restart(&into).map_err(|cause| failures::unwritten(&cause))?;
            encode(Playback::open(&mut Again(host), limits, output)?, output, limits, into)
        }
    }
}

/// Makes the file empty again.
pub(super) fn restart(mut into: &File) -> io::Result<()> {
    into.rewind()?;
    into.set_len(0)
}

/// What takes samples.
pub(super) trait Sink {
    /// What samples it takes.
    fn shape(&self) -> &Shape;
    /// Takes samples of its shape.
    fn take(&mut self, frame: &Frame) -> Result<(), AvError>;
    /// What an error of its own means.
    fn failure(&mut self, cause: AvError) -> Failure;
}

impl Sink for Encoder {
    fn shape(&self) -> &Shape {
        self.shape()
    }

    fn take(&mut self, frame: &Frame) -> Result<(), AvError> {
        self.push(frame)
    }

    fn failure(&mut self, cause: AvError) -> Failure {
        self.failure(cause)
    }
}

/// Everything that is to be heard, into the sink.
pub(super) fn play(playback: &mut Playback<'_>, sink: &mut dyn Sink, step: Step) -> Result<(), Failure> {
    let mut resampler = Resampler::new(sink.shape().clone());
    let progress = Telling::new(step, playback.duration_secs(), playback.host());
    while let Some(frame) = playback.next()? {
        resampler.convert(&frame, |samples| sink.take(samples)).map_err(|cause| sink.failure(cause))?;
        progress.tell(playback.length_secs(), playback.host());
    }
    if let Some(samples) = playback.samples_at(sink.shape().rate) {
        resampler.promise(samples);
    }
    resampler.finish(|samples| sink.take(samples)).map_err(|cause| sink.failure(cause))
}

/// Encodes it as it is.
fn encode(
    mut playback: Playback<'_>,
    output: &OutputSpec,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Extracted, Failure> {
    let encoding = decide(&playback, output)?;
    let mut encoder = encoder(&mut playback, &encoding, output, limits, into)?;
    play(&mut playback, &mut encoder, Step::Extracting)?;
    finish(encoder, &encoding, playback.damaged_packets())
}

/// Opens the encoder, with what the source says of itself.
pub(super) fn encoder(
    playback: &mut Playback<'_>,
    encoding: &Encoding,
    output: &OutputSpec,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Encoder, Failure> {
    let source = shape(playback)?.layout;
    let tags = Tags::read(playback.demux(), output, limits);
    let encoder = Encoder::open(encoding, &source, tags, into, limits.max_output_bytes)?;
    encoder.on_threads(limits.encoder_threads, encoding, &source)
}

/// Completes the file.
pub(super) fn finish(
    encoder: Encoder,
    encoding: &Encoding,
    damaged_packets: u64,
) -> Result<Extracted, Failure> {
    let Encoded { samples, size, metadata_left_out } = encoder.finish()?;
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
            Spending::Average(_) | Spending::Within { .. } | Spending::Steps(_) | Spending::Lossless(_) => {
                None
            }
        },
        method: Method::Encode,
        damaged_packets,
        loudness: None,
        metadata_left_out,
    })
}

/// What the sound is made of at its start.
pub(super) fn shape(playback: &Playback<'_>) -> Result<Shape, Failure> {
    playback.shape().ok_or_else(|| failures::damaged("the decoder made sound of no known kind"))
}

/// What the encoder is told.
pub(super) fn decide(playback: &Playback<'_>, output: &OutputSpec) -> Result<Encoding, Failure> {
    let shape = shape(playback)?;
    let channels = orders::kept(output.format, &shape.layout).channels();
    let given = Given { rate: shape.rate, channels, depth: playback.depth() };
    let encoding = quality::encoding(given, output);
    Ok(playback.spent_kbps().map_or(encoding, |most_kbps| quality::within(encoding, most_kbps)))
}

/// The host on a second reading: what the source is has been told.
pub(super) struct Again<'a>(pub(super) &'a mut dyn Host);

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

    fn access(&self) -> Access {
        self.0.access()
    }

    fn playlist(&self) -> Option<Playlist> {
        self.0.playlist()
    }
}
