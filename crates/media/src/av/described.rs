//! What a container says of a stream, read off libav's values.
#![allow(unsafe_code)] // streams are looked at through raw pointers.

use std::ffi::{CStr, c_int};
use std::ptr;

use ffmpeg_sys_next as sys;

use super::ffi::{Layout, TimeBase, text};
use super::track::{Kind, Track};
use super::whitelist;

/// A stream as a track.
pub(super) fn describe(stream: &sys::AVStream) -> Track {
    // SAFETY: every stream has its parameters.
    let parameters = unsafe { &*stream.codecpar };
    let time_base = TimeBase::new(stream.time_base);
    let positive = |number: c_int| u32::try_from(number).unwrap_or(0);
    Track {
        index: positive(stream.index) as usize,
        kind: match parameters.codec_type {
            sys::AVMediaType::AVMEDIA_TYPE_AUDIO => Kind::Audio,
            sys::AVMediaType::AVMEDIA_TYPE_VIDEO
                if stream.disposition & sys::AV_DISPOSITION_ATTACHED_PIC == 0 =>
            {
                Kind::Video
            }
            _ => Kind::Other,
        },
        codec: codec_name(parameters),
        decoder: decoder_name(parameters.codec_id),
        channels: Layout::copy_of(&parameters.ch_layout).channels(),
        rate: positive(parameters.sample_rate),
        priming: positive(parameters.initial_padding),
        depth: positive(parameters.bits_per_raw_sample.max(parameters.bits_per_coded_sample)),
        language: tag(stream.metadata, c"language").filter(|language| language != "und"),
        is_default: stream.disposition & sys::AV_DISPOSITION_DEFAULT != 0,
        is_encrypted: is_encrypted(stream, parameters),
        duration_secs: (stream.duration > 0).then(|| time_base.secs(stream.duration)),
        time_base,
    }
}

fn codec_name(parameters: &sys::AVCodecParameters) -> String {
    if parameters.codec_id != sys::AVCodecID::AV_CODEC_ID_NONE {
        // SAFETY: libav answers with a text that lives for good.
        return unsafe { text(sys::avcodec_get_name(parameters.codec_id)) };
    }
    let tag = parameters.codec_tag.to_le_bytes();
    if tag.iter().all(|byte| byte.is_ascii_graphic()) {
        String::from_utf8_lossy(&tag).into_owned()
    } else {
        "unknown".to_owned()
    }
}

fn decoder_name(codec: sys::AVCodecID) -> Option<String> {
    // SAFETY: libav answers with null or a codec that lives for good.
    let name = unsafe { sys::avcodec_find_decoder(codec).as_ref().map(|decoder| text(decoder.name)) };
    name.filter(|name| whitelist::allows_decoder(name))
}

/// mp4 marks encrypted tracks by their tag (`enca`; `drms` and `drmi` are FairPlay's), webm by the key's id.
fn is_encrypted(stream: &sys::AVStream, parameters: &sys::AVCodecParameters) -> bool {
    let is_marked = matches!(&parameters.codec_tag.to_le_bytes(), b"enca" | b"drms" | b"drmi");
    is_marked || tag(stream.metadata, c"enc_key_id").is_some()
}

/// The text under this name, in whatever case; of a file, or of a stream.
pub(super) fn tag(tags: *mut sys::AVDictionary, name: &CStr) -> Option<String> {
    // SAFETY: the dictionary may be null; an entry lives as long as it, and its value is copied.
    unsafe { sys::av_dict_get(tags, name.as_ptr(), ptr::null(), 0).as_ref().map(|entry| text(entry.value)) }
}
