//! An encoder, opened and set as the table of qualities says.
#![allow(unsafe_code)] // the encoder is set up through raw pointers.

use std::ffi::{CStr, c_int};
use std::ptr;

use domain::AudioFormat;
use ffmpeg_sys_next as sys;
use sys::AVSampleFormat;

use super::ffi::{AvError, Frame, Layout, Options, Shape, sample_format};
use super::orders;
use super::packet::Packet;
use super::quality::{Encoding, Spending};

/// An encoder that is open.
pub(super) struct Codec(*mut sys::AVCodecContext);

impl Codec {
    /// Opens the encoder. libvorbis takes only some bitrates at each rate: there the nearest that it takes is used.
    pub(super) fn open(encoding: &Encoding, source: &Layout) -> Result<Self, AvError> {
        /// Outwards from what was asked for; beyond these it is not the bitrate that libvorbis minds.
        const NEAREST: [f64; 14] = [0.9, 1.1, 0.8, 1.25, 0.7, 1.4, 0.6, 1.6, 0.5, 2.0, 0.35, 3.0, 0.25, 4.0];
        let first = Self::try_open(encoding, source);
        let (kbps, most_kbps) = match encoding.spending {
            Spending::Average(kbps) => (kbps, u32::MAX),
            Spending::Within { kbps, most_kbps } => (kbps, most_kbps),
            Spending::Constant(_) | Spending::Steps(_) | Spending::Lossless(_) => return first,
        };
        if first.is_ok() || encoding.format != AudioFormat::Ogg {
            return first;
        }
        NEAREST
            .into_iter()
            .map(|factor| (f64::from(kbps) * factor).round() as u32)
            .filter(|near| *near <= most_kbps)
            .map(Spending::Average)
            // Less than it can keep to is left to its lowest quality, which spends next to nothing on next to nothing.
            .chain([Spending::Steps(-1.0)])
            .find_map(|spending| Self::try_open(&Encoding { spending, ..*encoding }, source).ok())
            .map_or(first, Ok)
    }

    fn try_open(encoding: &Encoding, source: &Layout) -> Result<Self, AvError> {
        let (name, format) = encoder(encoding);
        // SAFETY: the name ends with a zero; a codec lives for good.
        let codec = unsafe { sys::avcodec_find_encoder_by_name(name.as_ptr()) };
        if codec.is_null() {
            return Err(AvError::NO_ENCODER);
        }
        // SAFETY: allocates.
        let made = Self(unsafe { sys::avcodec_alloc_context3(codec) });
        // SAFETY: null or ours, and not open yet.
        let context = unsafe { made.0.as_mut() }.ok_or(AvError::MEMORY)?;
        context.sample_rate = c_int::try_from(encoding.rate).unwrap_or(c_int::MAX);
        context.time_base = sys::AVRational { num: 1, den: context.sample_rate };
        context.sample_fmt = format;
        context.ch_layout = orders::layout(encoding, source).raw();
        context.thread_count = 1;
        if encoding.format == AudioFormat::Flac {
            context.frame_size = FLAC_FRAME;
        }
        // Deterministic: the same input gives the same bytes, and no version of a library is written into them.
        context.flags |= flag(sys::AV_CODEC_FLAG_BITEXACT) | flag(sys::AV_CODEC_FLAG_GLOBAL_HEADER);
        match encoding.spending {
            Spending::Constant(kbps) | Spending::Average(kbps) | Spending::Within { kbps, .. } => {
                context.bit_rate = i64::from(kbps) * 1000;
            }
            Spending::Steps(quality) => {
                context.flags |= flag(sys::AV_CODEC_FLAG_QSCALE);
                context.global_quality = (quality * sys::FF_QP2LAMBDA as f32).round() as c_int;
            }
            Spending::Lossless(bits) => context.bits_per_raw_sample = c_int::try_from(bits).unwrap_or(16),
        }
        let mut options = Options::new(private_options(encoding))?;
        // SAFETY: context and codec belong together.
        AvError::check(unsafe { sys::avcodec_open2(context, codec, options.as_mut_ptr()) })?;
        debug_assert!(options.is_used_up(), "{name:?} does not know an option");
        Ok(made)
    }

    pub(super) fn get(&self) -> &sys::AVCodecContext {
        // SAFETY: it is open, ours, and written to only in calls that take `&mut self`.
        unsafe { &*self.0 }
    }

    /// What it takes.
    pub(super) fn shape(&self) -> Shape {
        let context = self.get();
        Shape {
            rate: u32::try_from(context.sample_rate).unwrap_or(0),
            layout: Layout::copy_of(&context.ch_layout),
            format: sample_format(context.sample_fmt as c_int).unwrap_or(AVSampleFormat::AV_SAMPLE_FMT_S16),
        }
    }

    /// How many samples it takes at a time.
    pub(super) fn frame_samples(&self) -> c_int {
        /// PCM takes any number.
        const PCM_FRAME: c_int = 4096;
        Some(self.get().frame_size).filter(|size| *size > 0).unwrap_or(PCM_FRAME)
    }

    /// Feeds samples; `None` says that no more will come.
    pub(super) fn send(&mut self, frame: Option<&Frame>) -> Result<(), AvError> {
        let frame = frame.map_or(ptr::null(), |frame| frame.as_ptr().cast_const());
        // SAFETY: both are alive; null flushes.
        AvError::check(unsafe { sys::avcodec_send_frame(self.0, frame) })?;
        Ok(())
    }

    /// Takes a packet: [`AvError::AGAIN`] wants more samples, [`AvError::END`] has no more packets.
    pub(super) fn receive(&mut self, packet: &mut Packet) -> Result<(), AvError> {
        // SAFETY: both are alive; libav empties the packet first.
        AvError::check(unsafe { sys::avcodec_receive_packet(self.0, packet.as_ptr()) })?;
        Ok(())
    }
}

// SAFETY: it is owned alone, and no encoder of libav minds which thread calls it.
unsafe impl Send for Codec {}

impl Drop for Codec {
    fn drop(&mut self) {
        // SAFETY: frees what `try_open` allocated, once; null is fine.
        unsafe { sys::avcodec_free_context(&mut self.0) };
    }
}

fn flag(flag: u32) -> c_int {
    // libav's flags are unsigned constants for a signed field.
    flag as c_int
}

/// The encoder's name, and the sample format to give it.
fn encoder(encoding: &Encoding) -> (&'static CStr, AVSampleFormat) {
    use AVSampleFormat::*;
    let is_deep = matches!(encoding.spending, Spending::Lossless(17..));
    match encoding.format {
        AudioFormat::Mp3 => (c"libmp3lame", AV_SAMPLE_FMT_FLTP),
        AudioFormat::Aac => (c"aac", AV_SAMPLE_FMT_FLTP),
        AudioFormat::Ogg => (c"libvorbis", AV_SAMPLE_FMT_FLTP),
        AudioFormat::Opus => (c"libopus", AV_SAMPLE_FMT_FLT),
        AudioFormat::Flac if is_deep => (c"flac", AV_SAMPLE_FMT_S32),
        AudioFormat::Flac => (c"flac", AV_SAMPLE_FMT_S16),
        AudioFormat::Wav if is_deep => (c"pcm_s24le", AV_SAMPLE_FMT_S32),
        AudioFormat::Wav => (c"pcm_s16le", AV_SAMPLE_FMT_S16),
    }
}

/// Samples a channel in a frame of FLAC: what its reference encoder takes. libav's own choice of 4608 costs 0.3 % more
/// bytes on music.
const FLAC_FRAME: c_int = 4096;

/// What only this encoder understands.
fn private_options(encoding: &Encoding) -> &'static [(&'static CStr, &'static CStr)] {
    match (encoding.format, encoding.spending) {
        // A bitrate that was asked for is kept to, frame by frame as closely as Opus can without losing quality.
        (AudioFormat::Opus, Spending::Constant(_)) => &[(c"vbr", c"constrained")],
        (AudioFormat::Opus, _) => &[(c"vbr", c"on")],
        // With libav's own 15 bits, predicting from 16-bit samples takes 64-bit arithmetic: a sixth more time for
        // 0.1 % fewer bytes.
        (AudioFormat::Flac, Spending::Lossless(..=16)) => &[(c"lpc_coeff_precision", c"13")],
        _ => &[],
    }
}
