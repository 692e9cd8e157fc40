//! Samples on their way to the encoder at another level: each times the gain, with peaks limited where the gain would
//! take them above their ceiling; and what came of it.

use domain::{Failure, MeasuredLoudness};

use super::failures;
use super::ffi::{AvError, Frame, Layout, Shape};
use super::loudness::{Heard, Level, Limiter, Meter, PeakMeter, scaled};
use super::pipeline::Sink;
use super::resample::Resampler;

/// A level, and where the samples go from there.
pub(super) struct Levelled<S> {
    level: Level,
    /// What comes of it where nothing is limited.
    expected: MeasuredLoudness,
    shape: Shape,
    limiter: Option<Limiter>,
    onward: Onward<S>,
}

/// What came of a level.
pub(super) struct Outcome {
    /// The samples that the encoder got.
    pub(super) after: MeasuredLoudness,
    /// The factor by which the limiter took most off.
    pub(super) lowest: f32,
}

struct Onward<S> {
    /// Listens where peaks are limited: what comes of that cannot be told beforehand.
    meter: Option<Meter>,
    converter: Resampler,
    sink: S,
}

impl<S: Sink> Levelled<S> {
    /// For sound of this rate and order of channels, in which `heard` was measured.
    pub(super) fn new(
        rate: u32,
        layout: &Layout,
        heard: &Heard,
        level: Level,
        sink: S,
    ) -> Result<Self, Failure> {
        let shape = Meter::takes(rate, layout);
        let ceiling = level.ceiling();
        let limiter = ceiling.map(|ceiling| Limiter::new(&shape, level.gain(), ceiling, heard.peaks.clone()));
        let meter = ceiling.map(|_| Meter::new(rate, layout));
        let onward = Onward {
            meter: meter.transpose().map_err(unmeasured)?,
            converter: Resampler::new(sink.shape().clone()),
            sink,
        };
        let limiter = limiter.transpose().map_err(|cause| failures::internal("the limiter", cause))?;
        Ok(Self { level, expected: level.expected(heard), shape, limiter, onward })
    }

    /// Gives out what was held back, and says what came of it.
    pub(super) fn finish(self) -> Result<(Outcome, S), Failure> {
        let Self { expected, limiter, mut onward, .. } = self;
        let limited = limiter.map(|limiter| limiter.finish(&mut |frame| onward.take(frame)));
        let lowest = limited.transpose().map_err(|cause| onward.sink.failure(cause))?.unwrap_or(1.0);
        let Onward { meter, mut converter, mut sink } = onward;
        converter.finish(|samples| sink.take(samples)).map_err(|cause| sink.failure(cause))?;
        let heard = meter.map(Meter::finish).transpose().map_err(unmeasured)?;
        let measured = heard.as_ref().and_then(Heard::measured);
        Ok((Outcome { after: measured.unwrap_or(expected), lowest }, sink))
    }
}

impl<S: Sink> Sink for Levelled<S> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn take(&mut self, frame: &Frame) -> Result<(), AvError> {
        let onward = &mut self.onward;
        match &mut self.limiter {
            Some(limiter) => limiter.push(frame, &mut |frame| onward.take(frame)),
            None => onward.take(&scaled(frame, self.level.gain())?),
        }
    }

    fn failure(&mut self, cause: AvError) -> Failure {
        self.onward.sink.failure(cause)
    }
}

impl<S: Sink> Onward<S> {
    fn take(&mut self, frame: &Frame) -> Result<(), AvError> {
        if let Some(meter) = &mut self.meter {
            meter.push(frame)?;
        }
        self.converter.convert(frame, |samples| self.sink.take(samples))
    }
}

/// What only listens.
macro_rules! listens {
    ($meter:ty) => {
        impl Sink for $meter {
            fn shape(&self) -> &Shape {
                self.shape()
            }

            fn take(&mut self, frame: &Frame) -> Result<(), AvError> {
                self.push(frame)
            }

            fn failure(&mut self, cause: AvError) -> Failure {
                unmeasured(cause)
            }
        }
    };
}

listens!(Meter);
listens!(PeakMeter);

/// A meter that fails.
pub(super) fn unmeasured(cause: AvError) -> Failure {
    failures::internal("the loudness meter", cause)
}
