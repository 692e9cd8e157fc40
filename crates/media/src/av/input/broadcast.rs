//! What broadcasts have that files have not: several programmes, and clocks that jump.
#![allow(unsafe_code)] // programmes, and what libav has read ahead, are looked at through raw pointers.

use std::ffi::c_uint;
use std::slice;

use super::super::ffi::NO_TIME;
use super::super::picture_clock::{PictureClock, Run};
use super::Input;

impl Input<'_> {
    /// Whether a stream is of another programme than this one. Each has a clock of its own.
    pub(in super::super) fn is_apart(&self, index: usize, from: usize) -> bool {
        let own: Vec<&[c_uint]> =
            self.programmes().into_iter().filter(|streams| has_stream(streams, from)).collect();
        !own.is_empty() && !own.iter().any(|streams| has_stream(streams, index))
    }

    /// The streams of each programme, where the container tells them apart.
    fn programmes(&self) -> Vec<&[c_uint]> {
        let context = self.format_context();
        let streams = |at: usize| {
            // SAFETY: libav keeps `nb_programs` valid pointers there, each to a programme that lives as long.
            let programme = unsafe { &**context.programs.add(at) };
            if programme.stream_index.is_null() {
                return &[][..];
            }
            // SAFETY: libav keeps so many numbers there, and changes them only in calls that take `&mut self`.
            unsafe {
                slice::from_raw_parts(
                    programme.stream_index.cast_const(),
                    programme.nb_stream_indexes as usize,
                )
            }
        };
        (0..context.nb_programs as usize).map(streams).collect()
    }

    /// Reads the clock of this stream, a transport stream's picture, off the bytes from here on.
    pub(in super::super) fn follow_clock(&mut self, index: usize) {
        let Some((pid, start)) = self.stream(index).map(|stream| (stream.id, stream.start_time)) else {
            return;
        };
        let Ok(pid) = u16::try_from(pid) else { return };
        let mut clock = PictureClock::new(pid, if start == NO_TIME { 0 } else { start });
        let at = self.position();
        // SAFETY: the context is alive, and what libav has read ahead of its position is between these two, which it
        // moves in its own calls alone.
        let ahead = unsafe {
            let count = (*self.io).buf_end.offset_from((*self.io).buf_ptr);
            slice::from_raw_parts((*self.io).buf_ptr.cast_const(), usize::try_from(count).unwrap_or(0))
        };
        clock.watch(at, ahead);
        self.reader().show(clock);
    }

    /// What the clock that is read off went through, if one is.
    pub(in super::super) fn followed(&mut self) -> Option<&Run> {
        self.reader().clock().map(PictureClock::run)
    }
}

fn has_stream(streams: &[c_uint], index: usize) -> bool {
    streams.iter().any(|stream| *stream as usize == index)
}
