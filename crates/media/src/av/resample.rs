//! From what the decoder makes to what the encoder takes: rate, channels, sample format.
#![allow(unsafe_code)] // libswresample works on raw planes of samples.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_sys_next as sys;

use super::ffi::{AvError, Frame, Layout, Shape};

/// Converts frames into one shape, whatever shape they come in and change to.
pub(super) struct Resampler {
    swr: *mut sys::SwrContext,
    from: Option<Shape>,
    to: Shape,
    /// Samples of the new rate that what came stands for.
    due: f64,
    given: u64,
}

impl Resampler {
    /// To this shape.
    pub(super) fn new(to: Shape) -> Self {
        Self { swr: ptr::null_mut(), from: None, to, due: 0.0, given: 0 }
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
        self.pass(None, &mut sink)?;
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
        let mut out = Frame::with_room(&self.to, room)?;
        // SAFETY: `out` has room for `room` samples of the shape that the context makes; the frame has `samples` of the
        // shape that it takes, or null flushes.
        let made = AvError::check(unsafe {
            sys::swr_convert(self.swr, out.get().extended_data, room, planes, samples)
        })?;
        let left = (self.due.round() as u64).saturating_sub(self.given);
        out.shorten(u32::try_from(made).unwrap_or(0).min(u32::try_from(left).unwrap_or(u32::MAX)));
        self.given += u64::from(out.samples());
        if out.samples() > 0 { sink(&out) } else { Ok(()) }
    }

    fn open(&mut self, from: Shape) -> Result<(), AvError> {
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
