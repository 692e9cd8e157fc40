//! The wave between the samples, where the true peaks are (ITU-R BS.1770-4, annex 2).
#![allow(unsafe_code)] // libswresample works on raw planes of samples.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_sys_next as sys;
use sys::AVSampleFormat;

use super::super::ffi::{AvError, Frame, Layout, Shape};

/// Draws at least four points for each sample, by libswresample with the very settings with which libav's own meter,
/// the ebur128 filter, draws its. So what that meter finds is among them
/// (where drawing begins at the start or on a [`Grid::period`]).
pub(super) struct Oversampler {
    swr: *mut sys::SwrContext,
    rate: u32,
    points: Shape,
    room: Frame,
    room_points: c_int,
}

/// Where points are: so many among so many samples.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    samples: u64,
    points: u64,
}

impl Grid {
    /// Samples from one that has a point on it to the next that has. Drawing that begins on one of those makes the points
    /// that drawing from the start makes.
    pub(super) fn period(self) -> u64 {
        let (mut divisor, mut rest) = (self.samples, self.points);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        self.samples / divisor.max(1)
    }

    /// Points before a sample, both counted from the start.
    pub(super) fn points_before(self, sample: u64) -> u64 {
        (sample * self.points).div_ceil(self.samples.max(1))
    }

    /// The sample at or before a point, both counted from the start.
    pub(super) fn sample_before(self, point: u64) -> u64 {
        point * self.samples / self.points
    }
}

/// So many samples on either side have a part in a point: libswresample's filter has 32 taps.
pub(super) const REACH: usize = 16;

impl Oversampler {
    /// Of planar float at `rate` Hz.
    pub(super) fn new(rate: u32, layout: &Layout) -> Result<Self, AvError> {
        // libav's meter has 192 kHz for all rates: four points for each sample at 48 kHz, the least that BS.1770 asks
        // for. Above that a multiple, whose points are a superset.
        let points_rate = 192_000 * rate.div_ceil(48_000).max(1);
        let points =
            Shape { rate: points_rate, layout: layout.clone(), format: AVSampleFormat::AV_SAMPLE_FMT_FLTP };
        let room = Frame::with_room(&points, 1)?;
        let mut made = Self { swr: ptr::null_mut(), rate, points, room, room_points: 1 };
        let (mut out, mut given) = (made.points.layout.raw(), layout.raw());
        let hz = |rate: u32| c_int::try_from(rate).unwrap_or(c_int::MAX);
        // SAFETY: makes a new context; the layouts are copied.
        AvError::check(unsafe {
            sys::swr_alloc_set_opts2(
                &mut made.swr,
                &mut out,
                made.points.format,
                hz(points_rate),
                &mut given,
                made.points.format,
                hz(rate),
                0,
                ptr::null_mut(),
            )
        })?;
        made.restart()?;
        Ok(made)
    }

    /// Forgets what came.
    pub(super) fn restart(&mut self) -> Result<(), AvError> {
        // SAFETY: the context was made by `new`; on one that is open this starts it anew and keeps its filter.
        AvError::check(unsafe { sys::swr_init(self.swr) })?;
        Ok(())
    }

    /// Where its points are.
    pub(super) fn grid(&self) -> Grid {
        Grid { samples: u64::from(self.rate), points: u64::from(self.points.rate) }
    }

    /// The points that can be drawn with these samples of each channel; `None` draws those that are left.
    pub(super) fn draw(&mut self, samples: Option<&[&[f32]]>) -> Result<&Frame, AvError> {
        let mut planes: Vec<*const u8> =
            samples.unwrap_or_default().iter().map(|plane| plane.as_ptr().cast()).collect();
        let count = samples.and_then(<[_]>::first).map_or(0, |plane| plane.len());
        let count = c_int::try_from(count).map_err(|_| AvError::STOP)?;
        // SAFETY: the context is open.
        let room = AvError::check(unsafe { sys::swr_get_out_samples(self.swr, count) })?.max(1);
        if self.room_points < room {
            self.room = Frame::with_room(&self.points, room)?;
            self.room_points = room;
        }
        let given = if samples.is_some() { planes.as_mut_ptr() } else { ptr::null_mut() };
        // SAFETY: there is room for so many points; there are as many planes as channels, each with `count` samples.
        let made = AvError::check(unsafe {
            sys::swr_convert(self.swr, self.room.get().extended_data, room, given, count)
        })?;
        self.room.get_mut().nb_samples = made;
        Ok(&self.room)
    }
}

impl Drop for Oversampler {
    fn drop(&mut self) {
        // SAFETY: frees the context, if any.
        unsafe { sys::swr_free(&mut self.swr) };
    }
}
