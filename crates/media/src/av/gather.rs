//! Samples that come in any number at a time, gathered into frames as long as an encoder takes them.
#![allow(unsafe_code)] // samples are copied between raw planes.

use std::ffi::c_int;

use ffmpeg_sys_next as sys;

use super::ffi::{AvError, Frame, Shape};

/// A frame that fills up.
pub(super) struct Gatherer {
    shape: Shape,
    /// Samples a channel of a whole frame.
    whole: c_int,
    /// As long as what is in it, with room for all of a frame.
    frame: Option<Frame>,
    /// Frames to fill again.
    spare: Vec<Frame>,
}

impl Gatherer {
    /// Of frames of `whole` samples a channel.
    pub(super) fn new(shape: Shape, whole: c_int) -> Self {
        Self { shape, whole, frame: None, spare: Vec::new() }
    }

    /// What samples it takes.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes samples of its shape, beginning with number `from`, which goes on behind those that were taken. Gives the
    /// frame that they complete; with `None` all have been taken.
    pub(super) fn fill(&mut self, samples: &Frame, from: &mut c_int) -> Result<Option<Frame>, AvError> {
        let left = samples.get().nb_samples - *from;
        if left <= 0 {
            return Ok(None);
        }
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => self.empty()?,
        };
        let filled = frame.get().nb_samples;
        let count = left.min(self.whole - filled);
        self.copy(samples, *from, &mut frame, count)?;
        *from += count;
        if filled + count == self.whole {
            return Ok(Some(frame));
        }
        self.frame = Some(frame);
        Ok(None)
    }

    /// Appends samples to what is in the frame.
    fn copy(&self, samples: &Frame, from: c_int, frame: &mut Frame, count: c_int) -> Result<(), AvError> {
        let filled = frame.get().nb_samples;
        // SAFETY: both have planes of the shape's format and number of channels: the one has at least `from + count`
        // samples, the other room for `filled + count`, and it is ours alone.
        AvError::check(unsafe {
            sys::av_samples_copy(
                frame.get().extended_data,
                samples.get().extended_data,
                filled,
                from,
                count,
                c_int::from(self.shape.layout.channels()),
                self.shape.format,
            )
        })?;
        frame.get_mut().nb_samples = filled + count;
        Ok(())
    }

    fn empty(&mut self) -> Result<Frame, AvError> {
        let mut frame = self.spare.pop().map_or_else(|| Frame::with_room(&self.shape, self.whole), Ok)?;
        frame.get_mut().nb_samples = 0;
        Ok(frame)
    }

    /// Takes a frame back whose samples have been used, to fill it again, unless somebody still holds them.
    pub(super) fn give_back(&mut self, frame: Frame) {
        // SAFETY: the frame is ours.
        if unsafe { sys::av_frame_is_writable(frame.as_ptr()) } > 0 {
            self.spare.push(frame);
        }
    }

    /// What has not become a whole frame.
    pub(super) fn rest(&mut self) -> Option<Frame> {
        self.frame.take().filter(|frame| frame.samples() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ffi::Layout;
    use super::*;

    fn shape() -> Shape {
        let format = sys::AVSampleFormat::AV_SAMPLE_FMT_FLTP;
        Shape { rate: 48_000, layout: Layout::usual(2), format }
    }

    fn plane(frame: &Frame, channel: usize) -> *mut f32 {
        frame.get().data[channel].cast()
    }

    /// Samples that count up from `first`; those of the second channel down.
    fn counting(first: usize, count: usize) -> Frame {
        let frame = Frame::with_room(&shape(), count as c_int).expect("a frame");
        for at in 0..count {
            let number = (first + at) as f32;
            // SAFETY: both channels have so many samples.
            unsafe {
                plane(&frame, 0).add(at).write(number);
                plane(&frame, 1).add(at).write(-number);
            }
        }
        frame
    }

    fn assert_counting(frame: &Frame, first: usize, count: usize) {
        assert_eq!(frame.samples() as usize, count);
        for at in 0..count {
            // SAFETY: both channels have so many samples.
            let pair = unsafe { (plane(frame, 0).add(at).read(), plane(frame, 1).add(at).read()) };
            assert_eq!(pair, ((first + at) as f32, -((first + at) as f32)));
        }
    }

    #[test]
    fn pieces_of_any_length_become_frames_of_one() {
        let (mut gatherer, mut given, mut made) = (Gatherer::new(shape(), 10), 0, 0);
        for count in [3, 7, 1, 40, 9, 10, 25] {
            let (samples, mut from) = (counting(given, count), 0);
            given += count;
            while let Some(frame) = gatherer.fill(&samples, &mut from).expect("samples") {
                assert_counting(&frame, made, 10);
                made += 10;
                // Every other is kept by who got it.
                if made % 20 == 0 {
                    gatherer.give_back(frame);
                }
            }
        }
        assert_counting(&gatherer.rest().expect("a rest"), 90, 5);
        assert!(gatherer.rest().is_none());
    }

    #[test]
    fn a_frame_is_filled_again_once_nobody_holds_its_samples() {
        let mut gatherer = Gatherer::new(shape(), 10);
        let whole = |first, gatherer: &mut Gatherer| {
            gatherer.fill(&counting(first, 10), &mut 0).expect("samples").expect("a frame")
        };
        let frame = whole(0, &mut gatherer);
        let held = Frame::new().expect("a frame");
        // SAFETY: both frames are ours; the one is empty.
        assert_eq!(unsafe { sys::av_frame_ref(held.as_ptr(), frame.as_ptr()) }, 0);
        gatherer.give_back(frame);
        let next = whole(10, &mut gatherer);
        assert_counting(&held, 0, 10);
        let at = next.get().data[0];
        gatherer.give_back(next);
        let again = whole(20, &mut gatherer);
        assert_eq!(again.get().data[0], at, "the same memory");
        assert_counting(&again, 20, 10);
    }
}
