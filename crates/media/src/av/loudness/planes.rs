//! A frame of planar float as slices, one a channel.
#![allow(unsafe_code)] // libav's planes are raw pointers.

use std::slice;

use ffmpeg_sys_next::AVSampleFormat;

use super::super::ffi::{AvError, Frame, Shape};

/// The samples of each channel.
pub(super) fn planes(frame: &Frame) -> Result<Vec<&[f32]>, AvError> {
    let (channels, samples) = dimensions(frame)?;
    // SAFETY: the frame is planar float: a plane a channel, each with so many samples, alive as long as the frame.
    Ok((0..channels)
        .map(|at| unsafe { slice::from_raw_parts((*frame.get().extended_data.add(at)).cast(), samples) })
        .collect())
}

/// The samples of each channel of a frame that was made with room for them and is nobody else's.
pub(super) fn planes_mut(frame: &mut Frame) -> Result<Vec<&mut [f32]>, AvError> {
    let (channels, samples) = dimensions(frame)?;
    let planes = frame.get_mut().extended_data;
    // SAFETY: as above; planes do not overlap, and the frame is borrowed for as long as they are.
    Ok((0..channels)
        .map(|at| unsafe { slice::from_raw_parts_mut((*planes.add(at)).cast(), samples) })
        .collect())
}

fn dimensions(frame: &Frame) -> Result<(usize, usize), AvError> {
    let Some(Shape { layout, format: AVSampleFormat::AV_SAMPLE_FMT_FLTP, .. }) = frame.shape() else {
        return Err(AvError::STOP);
    };
    Ok((usize::from(layout.channels()), frame.samples() as usize))
}

/// The highest absolute value.
pub(super) fn peak(samples: &[f32]) -> f32 {
    // Eight at a time, so that the compiler may compare them side by side.
    let higher = |most: f32, sample: f32| if sample.abs() > most { sample.abs() } else { most };
    let mut most = [0.0_f32; 8];
    let eights = samples.chunks_exact(8);
    let rest = eights.remainder().iter().fold(0.0, |most, sample| higher(most, *sample));
    for eight in eights {
        for (most, sample) in most.iter_mut().zip(eight) {
            *most = higher(*most, *sample);
        }
    }
    most.into_iter().fold(rest, higher)
}

/// The highest second difference: how far a sample is at most from the line through its neighbours, twice.
pub(super) fn bend(samples: &[f32]) -> f32 {
    let mut bends = [0.0_f32; 64];
    let (mut rest, mut most) = (samples, 0.0_f32);
    while rest.len() > 2 {
        let count = bends.len().min(rest.len() - 2);
        for (bend, three) in bends.iter_mut().zip(rest.windows(3)) {
            *bend = three[0] - 2.0 * three[1] + three[2];
        }
        most = most.max(peak(&bends[..count]));
        rest = &rest[count..];
    }
    most
}

/// The same samples times a factor.
pub(in super::super) fn scaled(frame: &Frame, gain: f32) -> Result<Frame, AvError> {
    let mut made = Frame::with_room(&frame.shape().ok_or(AvError::STOP)?, frame.get().nb_samples)?;
    for (out, plane) in planes_mut(&mut made)?.into_iter().zip(planes(frame)?) {
        for (out, sample) in out.iter_mut().zip(plane) {
            *out = sample * gain;
        }
    }
    Ok(made)
}
