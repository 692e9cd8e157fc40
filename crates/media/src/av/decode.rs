//! One decoder of one track.
#![allow(unsafe_code)] // the decoder is driven through raw pointers.

use std::ffi::CString;
use std::ptr;

use domain::Failure;
use ffmpeg_sys_next as sys;

use super::ffi::{AvError, Frame, text};
use super::input::Input;
use super::packet::Packet;
use super::track::Track;
use super::{failures, whitelist};

/// The largest frame taken, in samples a channel: FLAC's largest block is 65,535; PCM comes in packets of some 1,000s.
const MOST_FRAME_SAMPLES: i64 = 1 << 20;

/// A decoder that is open.
pub(super) struct Decoder(*mut sys::AVCodecContext);

impl Decoder {
    /// Opens the one for the track.
    pub(super) fn open(input: &Input<'_>, track: &Track) -> Result<Self, Failure> {
        let unusable =
            |cause: AvError| failures::undecodable(format!("no decoder takes this {}: {cause}", track.codec));
        // SAFETY: the parameters live as long as the input; a codec lives for good.
        let codec = unsafe {
            let parameters = input.parameters(track.index);
            parameters.as_ref().and_then(|given| sys::avcodec_find_decoder(given.codec_id).as_ref())
        };
        // SAFETY: the codec's name ends with a zero.
        let codec = codec.filter(|codec| whitelist::allows_decoder(&unsafe { text(codec.name) }));
        let Some(codec) = codec else {
            return Err(failures::undecodable(format!("no decoder for {}", track.codec)));
        };
        // SAFETY: allocates.
        let decoder = Self(unsafe { sys::avcodec_alloc_context3(codec) });
        if decoder.0.is_null() {
            return Err(failures::internal("the decoder", AvError::MEMORY));
        }
        // SAFETY: both are alive; the parameters are copied.
        AvError::check(unsafe {
            sys::avcodec_parameters_to_context(decoder.0, input.parameters(track.index))
        })
        .map_err(unusable)?;
        // SAFETY: the context is ours and not open yet.
        unsafe {
            (*decoder.0).pkt_timebase = track.time_base.raw();
            (*decoder.0).thread_count = 1;
            (*decoder.0).max_samples = MOST_FRAME_SAMPLES;
        }
        decoder.allow_only_listed().map_err(unusable)?;
        // SAFETY: context and codec belong together.
        AvError::check(unsafe { sys::avcodec_open2(decoder.0, codec, ptr::null_mut()) }).map_err(unusable)?;
        Ok(decoder)
    }

    /// Some decoders open another inside; that one must be listed too.
    fn allow_only_listed(&self) -> Result<(), AvError> {
        let names = CString::new(whitelist::decoders()).map_err(|_| AvError::MEMORY)?;
        // SAFETY: the context is an object with options; both strings end with a zero and are copied.
        AvError::check(unsafe {
            sys::av_opt_set(self.0.cast(), c"codec_whitelist".as_ptr(), names.as_ptr(), 0)
        })?;
        Ok(())
    }

    /// Feeds a packet; `None` says that no more will come.
    pub(super) fn send(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        let packet = packet.map_or(ptr::null(), |packet| packet.as_ptr().cast_const());
        // SAFETY: both are alive; null flushes.
        AvError::check(unsafe { sys::avcodec_send_packet(self.0, packet) })?;
        Ok(())
    }

    /// Takes a frame: [`AvError::AGAIN`] wants more packets, [`AvError::END`] has no more frames.
    pub(super) fn receive(&mut self) -> Result<Frame, AvError> {
        let frame = Frame::new()?;
        // SAFETY: both are alive.
        AvError::check(unsafe { sys::avcodec_receive_frame(self.0, frame.as_ptr()) })?;
        Ok(frame)
    }

    /// Forgets what it has heard: what comes next is from elsewhere.
    pub(super) fn forget(&mut self) {
        // SAFETY: the context is open.
        unsafe { sys::avcodec_flush_buffers(self.0) };
    }

    /// Bits of a sample that carry sound, where the decoder knows; 0 where it does not.
    pub(super) fn depth(&self) -> u32 {
        // SAFETY: the context is alive.
        u32::try_from(unsafe { (*self.0).bits_per_raw_sample }).unwrap_or(0)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: frees what `open` allocated, once; null is fine.
        unsafe { sys::avcodec_free_context(&mut self.0) };
    }
}
