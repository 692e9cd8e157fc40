//! What a child would otherwise do first: libraries bound, tables computed. Done once, before the first fork.
#![allow(unsafe_code)] // decoders are opened and closed through raw pointers.

use std::ptr;

use domain::{AudioFormat, OutputSpec};
use ffmpeg_sys_next as sys;

use super::codec::Codec;
use super::ffi::Layout;
use super::quality::{self, Given};

/// The decoders that nearly every source needs one of.
const COMMON: [sys::AVCodecID; 6] = [
    sys::AVCodecID::AV_CODEC_ID_AAC,
    sys::AVCodecID::AV_CODEC_ID_MP3,
    sys::AVCodecID::AV_CODEC_ID_AC3,
    sys::AVCodecID::AV_CODEC_ID_EAC3,
    sys::AVCodecID::AV_CODEC_ID_MP2,
    sys::AVCodecID::AV_CODEC_ID_WMAV2,
];

/// What libav would log is of no use to anybody here, and the child has nowhere to write it.
pub(super) fn silence() {
    // SAFETY: sets a global, before there are threads.
    unsafe { sys::av_log_set_level(sys::AV_LOG_QUIET) };
}

/// Opens and closes every encoder and the common decoders. One that does not open is found out by the job that needs
/// it. Nothing here starts a thread: every codec is told to use one.
pub(super) fn warm() {
    for format in AudioFormat::ALL {
        let output = OutputSpec::plain(format);
        let given = Given { rate: 48_000, channels: 2, depth: 16 };
        drop(Codec::open(&quality::encoding(given, &output), &Layout::usual(2)));
    }
    for codec in COMMON {
        open_decoder(codec);
    }
}

fn open_decoder(codec: sys::AVCodecID) {
    // SAFETY: a codec lives for good or is null; the context is made, opened and freed here, and null is fine for
    // freeing.
    unsafe {
        let codec = sys::avcodec_find_decoder(codec);
        let mut context = if codec.is_null() { ptr::null_mut() } else { sys::avcodec_alloc_context3(codec) };
        if let Some(context) = context.as_mut() {
            context.thread_count = 1;
            context.sample_rate = 48_000;
            context.ch_layout = Layout::usual(2).raw();
            sys::avcodec_open2(context, codec, ptr::null_mut());
        }
        sys::avcodec_free_context(&mut context);
    }
}
