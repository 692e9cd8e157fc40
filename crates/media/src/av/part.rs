//! The part of the sound that was asked for, counted in samples.
#![allow(unsafe_code)] // samples are moved within a frame.

use std::ops::Range;

use domain::Span;
use ffmpeg_sys_next as sys;

use super::ffi::{AvError, Frame, sample_format};

/// A span of the sound, and how far the sound has come.
pub(super) struct Part {
    span: Span,
    /// Hz of what came last, 0 before anything did; it may change in mid-stream.
    rate: u32,
    /// Samples before the next one, at this rate.
    position: u64,
    given_secs: f64,
}

impl Part {
    /// At the start of the sound.
    pub(super) fn new(span: Span) -> Self {
        Self { span, rate: 0, position: 0, given_secs: 0.0 }
    }

    /// Which of the next samples belong to the part.
    pub(super) fn take(&mut self, samples: u32, rate: u32) -> Range<u32> {
        self.tune(rate);
        let (first, end) = self.bounds();
        let within =
            |at: u64| u32::try_from(at.saturating_sub(self.position)).unwrap_or(u32::MAX).min(samples);
        let taken = within(first)..within(end);
        self.position += u64::from(samples);
        self.given_secs += f64::from(taken.end - taken.start) / f64::from(self.rate.max(1));
        taken
    }

    /// Goes on behind the first so many samples, none of which belongs to it.
    pub(super) fn skip(&mut self, samples: u64, rate: u32) {
        self.tune(rate);
        self.position = samples;
    }

    /// Whether nothing that comes belongs to it.
    pub(super) fn is_over(&self) -> bool {
        self.rate > 0 && self.position >= self.bounds().1
    }

    /// Whether nothing that came belonged to it.
    pub(super) fn is_missed(&self) -> bool {
        self.given_secs == 0.0
    }

    /// What was asked for.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// How much of it came, in seconds.
    pub(super) fn given_secs(&self) -> f64 {
        self.given_secs
    }

    /// Its length, where the whole has this one; both in seconds.
    pub(super) fn length_secs(&self, whole_secs: Option<f64>) -> Option<f64> {
        let end = match (self.span.end_secs, whole_secs) {
            (Some(end), Some(whole)) => Some(end.min(whole)),
            (end, whole) => end.or(whole),
        };
        end.map(|end| (end - self.span.start_secs).max(0.0))
    }

    /// How many samples at `rate` Hz it has, once its end has been reached: so many as its ends are apart. `None`
    /// where the sound ended first.
    pub(super) fn samples_at(&self, rate: u32) -> Option<u64> {
        let end = self.span.end_secs.filter(|_| self.is_over())?;
        Some(samples(end - self.span.start_secs, rate))
    }

    fn tune(&mut self, rate: u32) {
        if rate != self.rate && rate > 0 {
            let position = self.position as f64 * f64::from(rate) / f64::from(self.rate.max(1));
            (self.position, self.rate) = (position.round() as u64, rate);
        }
    }

    /// The first sample and the one after the last.
    fn bounds(&self) -> (u64, u64) {
        let first = samples(self.span.start_secs, self.rate);
        let count = self.span.end_secs.map(|end| samples(end - self.span.start_secs, self.rate));
        (first, count.map_or(u64::MAX, |count| first.saturating_add(count)))
    }
}

/// To the nearest sample; by whole nanoseconds, so that the half of a sample in `0.015 - 0.01` is one.
fn samples(secs: f64, rate: u32) -> u64 {
    const NANOS: u128 = 1_000_000_000;
    let nanos = (secs * NANOS as f64).round() as u128;
    u64::try_from((nanos * u128::from(rate) + NANOS / 2) / NANOS).unwrap_or(u64::MAX)
}

impl Frame {
    /// Keeps only these samples.
    pub(super) fn keep(&mut self, samples: Range<u32>) -> Result<(), AvError> {
        let count = samples.end.min(self.samples()).saturating_sub(samples.start);
        if samples.start > 0 && count > 0 {
            let format = sample_format(self.get().format).ok_or(AvError::STOP)?;
            let (start, count) = (samples.start as i32, count as i32);
            // SAFETY: the frame is ours; afterwards nobody else sees its samples.
            AvError::check(unsafe { sys::av_frame_make_writable(self.as_ptr()) })?;
            let frame = self.get();
            // SAFETY: `start + count` is at most the number of samples in the frame's planes; libav copies what
            // overlaps as memmove does.
            AvError::check(unsafe {
                let (planes, channels) = (frame.extended_data, frame.ch_layout.nb_channels);
                sys::av_samples_copy(planes, planes, 0, start, count, channels, format)
            })?;
        }
        self.shorten(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start_secs: f64, end_secs: Option<f64>) -> Part {
        Part::new(Span { start_secs, end_secs })
    }

    #[test]
    fn every_sample_between_its_ends_is_taken_and_no_other() {
        for (start, end, rate, expected) in [
            (0.0, None, 1000, 0..5000),
            (0.0, Some(2.5), 1000, 0..2500),
            (1.2345, Some(1.2355), 1000, 1235..1236),
            (0.1, Some(0.3), 44_100, 4410..13_230),
            (0.01, Some(0.015), 44_100, 441..662),
            (4.9, Some(9.0), 1000, 4900..5000),
            (7.0, Some(9.0), 1000, 0..0),
        ] {
            let mut part = part(start, end);
            let mut taken = Vec::new();
            for frame in 0..5 * rate / 100 {
                if part.is_over() {
                    break;
                }
                taken.extend(part.take(100, rate).map(|at| frame * 100 + at));
            }
            assert_eq!(taken, expected.clone().collect::<Vec<_>>(), "{start} to {end:?} at {rate} Hz");
            assert_eq!(part.is_missed(), expected.is_empty());
        }
    }

    #[test]
    fn a_rate_that_changes_does_not_move_its_ends() {
        let mut part = part(1.5, Some(2.5));
        assert_eq!(part.take(1000, 1000), 1000..1000);
        assert_eq!(part.take(2000, 2000), 1000..2000);
        assert_eq!(part.take(1000, 1000), 0..500);
        assert!(part.is_over());
        assert!((part.given_secs() - 1.0).abs() < 1e-9);
        assert_eq!((part.samples_at(48_000), part.samples_at(3)), (Some(48_000), Some(3)));
    }

    #[test]
    fn its_length_is_told_as_far_as_the_whole_goes() {
        for (start, end, whole, expected) in [
            (0.0, None, Some(6.0), Some(6.0)),
            (1.0, Some(3.0), Some(6.0), Some(2.0)),
            (1.0, Some(30.0), Some(6.0), Some(5.0)),
            (1.0, Some(3.0), None, Some(2.0)),
            (9.0, None, Some(6.0), Some(0.0)),
            (1.0, None, None, None),
        ] {
            assert_eq!(part(start, end).length_secs(whole), expected, "{start} to {end:?} of {whole:?}");
        }
    }
}
