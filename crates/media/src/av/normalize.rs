//! An extraction at another loudness: all is heard once to measure it, and again to be encoded with the gain that
//! follows. What limiting takes of the loudness is measured on the way; only where it is too much for the target, all is
//! heard once more, until the gain is right, and encoded again.

use std::fs::File;
use std::rc::Rc;

use domain::{AudioFormat, Extracted, Failure, Loudness, LoudnessReport, OutputSpec, Step};

use super::ffi::{AvError, Frame, Shape};
use super::levelled::{Levelled, Outcome, unmeasured};
use super::loudness::{Heard, Level, Meter};
use super::pipeline::{self, Again, Sink, play};
use super::playback::Playback;
use super::{AvLimits, Host, failures, orders, rehear};

/// Does one extraction.
pub(super) fn normalize(
    host: &mut dyn Host,
    output: &OutputSpec,
    target: Loudness,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Extracted, Failure> {
    let heard = measure(Playback::open(host, limits, output)?, output)?;
    let Some(first) = Level::of(&heard, target) else {
        let as_it_is = OutputSpec { normalize: None, ..output.clone() };
        let extracted = pipeline::copy_or_encode(&mut Again(host), &as_it_is, limits, into)?;
        return Ok(Extracted { loudness: Some(LoudnessReport::Unmeasurable), ..extracted });
    };
    let mut order = Order { host: Again(host), output, limits, into: &into, heard: &heard };
    let (mut extracted, mut outcome) = order.encode(first)?;
    let mut level = first;
    while let Some(better) = level.corrected(outcome.after) {
        level = better;
        outcome = order.rehearse(level)?;
    }
    if level != first {
        pipeline::restart(&into).map_err(|cause| failures::unwritten(&cause))?;
        (extracted, outcome) = order.encode(level)?;
    }
    let is_lossless = matches!(output.format, AudioFormat::Flac | AudioFormat::Wav);
    let decoded = if is_lossless { None } else { rehear::true_peak_dbtp(&into, output.format, limits, host) };
    Ok(Extracted { loudness: Some(level.report(outcome.after, outcome.lowest, decoded)), ..extracted })
}

/// Measures the very samples that the encoder would get.
fn measure(mut playback: Playback<'_>, output: &OutputSpec) -> Result<Heard, Failure> {
    let encoding = pipeline::decide(&playback, output)?;
    let layout = orders::layout(&encoding, &pipeline::shape(&playback)?.layout);
    let mut meter = Meter::new(encoding.rate, &layout).map_err(unmeasured)?;
    play(&mut playback, &mut meter, Step::Analyzing)?;
    meter.finish().map_err(unmeasured)
}

/// What stays the same from one try to the next.
struct Order<'a> {
    host: Again<'a>,
    output: &'a OutputSpec,
    limits: &'a AvLimits,
    into: &'a Rc<File>,
    heard: &'a Heard,
}

impl Order<'_> {
    /// Encodes at this level.
    fn encode(&mut self, level: Level) -> Result<(Extracted, Outcome), Failure> {
        let mut playback = Playback::open(&mut self.host, self.limits, self.output)?;
        let encoding = pipeline::decide(&playback, self.output)?;
        let into = Rc::clone(self.into);
        let encoder = pipeline::encoder(&mut playback, &encoding, self.output, self.limits, into)?;
        let layout = encoder.shape().layout.clone();
        let mut levelled = Levelled::new(encoding.rate, &layout, self.heard, level, encoder)?;
        play(&mut playback, &mut levelled, Step::Extracting)?;
        let (outcome, encoder) = levelled.finish()?;
        Ok((pipeline::finish(encoder, &encoding, playback.damaged_packets())?, outcome))
    }

    /// Only measures what would come of this level.
    fn rehearse(&mut self, level: Level) -> Result<Outcome, Failure> {
        let mut playback = Playback::open(&mut self.host, self.limits, self.output)?;
        let encoding = pipeline::decide(&playback, self.output)?;
        let layout = orders::layout(&encoding, &pipeline::shape(&playback)?.layout);
        let nowhere = Nowhere(Meter::takes(encoding.rate, &layout));
        let mut levelled = Levelled::new(encoding.rate, &layout, self.heard, level, nowhere)?;
        play(&mut playback, &mut levelled, Step::Extracting)?;
        Ok(levelled.finish()?.0)
    }
}

/// Where a rehearsal's samples go.
struct Nowhere(Shape);

impl Sink for Nowhere {
    fn shape(&self) -> &Shape {
        &self.0
    }

    fn take(&mut self, _: &Frame) -> Result<(), AvError> {
        Ok(())
    }

    fn failure(&mut self, cause: AvError) -> Failure {
        failures::internal("a rehearsal", cause)
    }
}
