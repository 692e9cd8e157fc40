//! From what the decoder makes to what the encoder takes: rate, channels, sample format.
#![allow(unsafe_code)] // libswresample works on raw planes of samples.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_sys_next as sys;

use super::ffi::{AvError, Frame, Layout, Shape};

/// Converts frames into one shape, whatever shape they come in and change to.
pub(super) struct Resampler {
    /// Null while the sound comes in the shape that is wanted.
    swr: *mut sys::SwrContext,
    from: Option<Shape>,
    to: Shape,
    /// Where converted samples go, with room for so many: each time the same.
    out: Option<(Frame, c_int)>,
    /// Samples of the new rate that what came stands for.
    due: f64,
    given: u64,
}

impl Resampler {
    /// To this shape.
    pub(super) fn new(to: Shape) -> Self {
        Self { swr: ptr::null_mut(), from: None, to, out: None, due: 0.0, given: 0 }
    }

    /// Converts one frame. Where the source changes in mid-stream, what the old shape still owes comes first.
    pub(super) fn convert(
        &mut self,
        frame: &Frame,
        mut sink: impl FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        let Some(shape) = frame.shape() else { return Ok(()) };
        if self.from.as_ref() != Some(&shape) {
            self.finish(&mut sink)?;
            self.open(shape)?;
        }
        self.due += f64::from(frame.samples()) * self.ratio();
        if self.swr.is_null() {
            // All that came before has been given out, to the sample that was due.
            self.given += u64::from(frame.samples());
            return sink(frame);
        }
        self.pass(Some(frame), &mut sink)
    }

    /// Samples of the new rate for one of the old.
    fn ratio(&self) -> f64 {
        self.from.as_ref().map_or(1.0, |from| f64::from(self.to.rate) / f64::from(from.rate))
    }

    /// Says how many samples there shall be in all, where that is known better than by counting what came.
    pub(super) fn promise(&mut self, samples: u64) {
        self.due = samples as f64;
    }

    /// Gives out what was held back for filtering, so that there are as many samples in all as are due.
    pub(super) fn finish(
        &mut self,
        mut sink: impl FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        if self.from.take().is_none() {
            return Ok(());
        }
        if !self.swr.is_null() {
            self.pass(None, &mut sink)?;
        }
        let missing = (self.due.round() as u64).saturating_sub(self.given);
        if missing == 0 {
            return Ok(());
        }
        self.given += missing;
        sink(&Frame::silence(&self.to, c_int::try_from(missing).map_err(|_| AvError::STOP)?)?)
    }

    fn pass(
        &mut self,
        frame: Option<&Frame>,
        sink: &mut dyn FnMut(&Frame) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        let (planes, samples) = frame.map_or((ptr::null_mut(), 0), |frame| {
            (frame.get().extended_data.cast::<*const u8>(), frame.get().nb_samples)
        });
        // SAFETY: the context is open: `from` was set.
        let room = AvError::check(unsafe { sys::swr_get_out_samples(self.swr, samples) })?;
        if room == 0 {
            return Ok(());
        }
        let (mut out, most) = match self.out.take().filter(|(_, most)| *most >= room) {
            Some(again) => again,
            None => (Frame::with_room(&self.to, room)?, room),
        };
        // SAFETY: `out` has room for `room` samples of the shape that the context makes; the frame has `samples` of the
        // shape that it takes, or null flushes.
        let made = AvError::check(unsafe {
            sys::swr_convert(self.swr, out.get().extended_data, room, planes, samples)
        })?;
        let left = (self.due.round() as u64).saturating_sub(self.given);
        out.get_mut().nb_samples = made.min(c_int::try_from(left).unwrap_or(c_int::MAX));
        self.given += u64::from(out.samples());
        if out.samples() > 0 {
            sink(&out)?;
        }
        self.out = Some((out, most));
        Ok(())
    }

    fn open(&mut self, from: Shape) -> Result<(), AvError> {
        if from == self.to {
            // SAFETY: frees the context, if any.
            unsafe { sys::swr_free(&mut self.swr) };
            self.from = Some(from);
            return Ok(());
        }
        let named = self.configure(&from);
        if named.is_err() {
            // An order of channels that cannot be mixed by its names is taken as the usual one for their number.
            self.configure(&Shape { layout: Layout::usual(from.layout.channels()), ..from.clone() })?;
        }
        self.from = Some(from);
        Ok(())
    }

    fn configure(&mut self, from: &Shape) -> Result<(), AvError> {
        let (mut out, mut given) = (self.to.layout.raw(), from.layout.raw());
        let rate = |shape: &Shape| c_int::try_from(shape.rate).unwrap_or(c_int::MAX);
        // SAFETY: frees the old context, if any, and makes a new one; the layouts are copied.
        AvError::check(unsafe {
            sys::swr_free(&mut self.swr);
            sys::swr_alloc_set_opts2(
                &mut self.swr,
                &mut out,
                self.to.format,
                rate(&self.to),
                &mut given,
                from.format,
                rate(from),
                0,
                ptr::null_mut(),
            )
        })?;
        if from.layout != self.to.layout {
            // The mix of BS.775 is scaled so that full scale in every channel stays full scale; libswresample does
            // that unasked for integers only.
            self.set(c"rematrix_maxval", c"1.0")?;
            self.set(c"internal_sample_fmt", c"fltp")?;
        }
        // SAFETY: the context was just made.
        AvError::check(unsafe { sys::swr_init(self.swr) })?;
        Ok(())
    }

    fn set(&mut self, name: &std::ffi::CStr, value: &std::ffi::CStr) -> Result<(), AvError> {
        // SAFETY: the context is an object with options; both strings end with a zero and are copied.
        AvError::check(unsafe { sys::av_opt_set(self.swr.cast(), name.as_ptr(), value.as_ptr(), 0) })?;
        Ok(())
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        // SAFETY: frees the context, if any.
        unsafe { sys::swr_free(&mut self.swr) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rate: u32) -> Shape {
        let format = sys::AVSampleFormat::AV_SAMPLE_FMT_FLTP;
        Shape { rate, layout: Layout::usual(2), format }
    }

    #[test]
    fn what_has_the_shape_goes_through_as_it_is() {
        let mut resampler = Resampler::new(shape(48_000));
        let frame = Frame::silence(&shape(48_000), 480).expect("a frame");
        let sink = |samples: &Frame| {
            assert_eq!((samples.as_ptr(), samples.samples()), (frame.as_ptr(), 480));
            Ok(())
        };
        resampler.convert(&frame, sink).expect("samples");
        resampler.finish(|_| panic!("nothing is missing")).expect("an end");
    }

    #[test]
    fn no_sample_is_lost_where_the_shape_changes() {
        let mut resampler = Resampler::new(shape(48_000));
        let (mut made, mut due) = (0, 0.0);
        for (rate, frames) in [(48_000, 50), (44_100, 70), (48_000, 30), (11_025, 100), (48_000, 1)] {
            let samples = rate / 100 + 1;
            let frame = Frame::silence(&shape(rate), samples as c_int).expect("a frame");
            for _ in 0..frames {
                let count = |samples: &Frame| {
                    made += u64::from(samples.samples());
                    Ok(())
                };
                resampler.convert(&frame, count).expect("samples");
                due += f64::from(samples) * 48_000.0 / f64::from(rate);
            }
        }
        let count = |samples: &Frame| {
            made += u64::from(samples.samples());
            Ok(())
        };
        resampler.finish(count).expect("an end");
        assert_eq!(made, due.round() as u64);
    }
}
