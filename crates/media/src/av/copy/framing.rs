//! What a packet is by its own bytes, without a decoder: how many samples it makes, and whether it is as it should be.
#![allow(unsafe_code)] // checksums and Vorbis' block sizes are libav's.

use std::ops::Range;
use std::ptr;

use ffmpeg_sys_next as sys;

use super::super::xing::id3_bytes;
use super::aac::AdtsHead;
use super::mp3::FrameHead;

/// The packets of one codec.
pub(super) enum Framing {
    /// Layer III; all frames are like the first.
    Mp3(Option<FrameHead>),
    /// AAC, bare; so many samples each.
    Aac(u32),
    /// AAC with ADTS headers, decoded to so many Hz; all are like the first.
    Adts(Option<AdtsHead>, u32),
    /// Opus, counted at 48 kHz.
    Opus,
    /// Vorbis.
    Vorbis(Blocks),
    /// FLAC.
    Flac,
    /// PCM of so many bytes a sample over all channels.
    Pcm(usize),
}

impl Framing {
    /// Samples a channel that a decoder makes of the packet; `None` if it is damaged or unlike the others.
    pub(super) fn samples(&mut self, packet: &[u8]) -> Option<u32> {
        match self {
            Self::Mp3(first) => {
                let frame = packet.get(tags_bytes(packet)..)?;
                let head = FrameHead::parse(frame)?;
                let junk = frame.get(head.bytes()..)?;
                let is_frame =
                    |first: &FrameHead| FrameHead::parse(junk).is_some_and(|head| first.is_like(head));
                let first = first.get_or_insert(head);
                (first.is_like(head) && !is_frame(first)).then(|| head.samples())
            }
            Self::Aac(samples) => (!packet.is_empty()).then_some(*samples),
            Self::Adts(first, rate) => {
                let head = AdtsHead::parse(packet)?;
                (*first.get_or_insert(head) == head).then(|| aac_samples(*rate, head.core_rate))
            }
            Self::Opus => opus_samples(packet),
            Self::Vorbis(blocks) => blocks.samples(packet),
            Self::Flac => flac_samples(packet),
            Self::Pcm(bytes) => packet
                .len()
                .is_multiple_of(*bytes)
                .then(|| u32::try_from(packet.len() / *bytes).ok())
                .flatten(),
        }
    }

    /// Where in the packet the frame is. Where two files of layer III are one, libav leaves the second one's tags before
    /// its first frame, and other junk behind a frame.
    pub(super) fn frame(&self, packet: &[u8]) -> Range<usize> {
        let start = if matches!(self, Self::Mp3(_)) { tags_bytes(packet) } else { 0 };
        let head = packet.get(start..).filter(|_| matches!(self, Self::Mp3(_))).and_then(FrameHead::parse);
        start..head.map_or(packet.len(), |head| (start + head.bytes()).min(packet.len()))
    }

    /// Whether it is nothing that the others are, as tags behind the last frame of an mp3 are not.
    pub(super) fn is_junk(&self, packet: &[u8]) -> bool {
        matches!(self, Self::Mp3(Some(_))) && FrameHead::parse(packet).is_none()
    }
}

/// How many bytes of ID3v2 it begins with.
fn tags_bytes(packet: &[u8]) -> usize {
    let mut at = 0;
    while let Some(bytes) = packet.get(at..).and_then(id3_bytes).and_then(|bytes| usize::try_from(bytes).ok())
    {
        at += bytes;
    }
    at
}

/// A frame of AAC has 1024 samples, and SBR makes twice as many of them.
pub(super) fn aac_samples(rate: u32, core_rate: u32) -> u32 {
    1024 * (rate / core_rate.max(1)).clamp(1, 2)
}

/// RFC 6716, 3.1: the first byte, and for code 3 the second.
fn opus_samples(packet: &[u8]) -> Option<u32> {
    /// 120 ms.
    const MOST: u32 = 5760;
    let first = *packet.first()?;
    let frame = match first >> 3 {
        kind @ 0..=11 => [480, 960, 1920, 2880][usize::from(kind & 3)],
        kind @ 12..=15 => [480, 960][usize::from(kind & 1)],
        kind => [120, 240, 480, 960][usize::from(kind & 3)],
    };
    let frames = match first & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=MOST).contains(samples))
}

/// RFC 9639, 9.1: the block's size; and the checksum over the whole frame, which makes nothing of it.
fn flac_samples(frame: &[u8]) -> Option<u32> {
    (crc16(frame) == 0).then(|| flac_head(frame)).flatten().map(|(_, samples)| samples)
}

/// The number of a frame, and its samples.
fn flac_head(frame: &[u8]) -> Option<(u64, u32)> {
    if frame.len() < 6 || frame[0] != 0xff || frame[1] & 0xfe != 0xf8 {
        return None;
    }
    // The coded number has as many bytes as its first has leading ones, as in UTF-8.
    let ones = frame[4].leading_ones();
    let coded = frame.get(4..4 + (ones as usize).max(1))?;
    let first = if ones > 6 { 0 } else { coded[0] << ones >> ones };
    let number =
        coded[1..].iter().fold(u64::from(first), |number, byte| number << 6 | u64::from(byte & 0x3f));
    let after = frame.get(4 + coded.len()..4 + coded.len() + 2)?;
    let samples = match frame[2] >> 4 {
        1 => 192,
        size @ 2..=5 => 144 << size,
        6 => u32::from(after[0]) + 1,
        7 => u32::from(u16::from_be_bytes([after[0], after[1]])) + 1,
        size @ 8..=15 => 1 << size,
        _ => return None,
    };
    Some((number, samples))
}

/// How many samples there are up to the end of this frame of FLAC, by its number (RFC 9639, 9.1.5).
pub(in super::super) fn flac_end(frame: &[u8], streaminfo: &[u8]) -> Option<u64> {
    let (number, samples) = flac_head(frame)?;
    let counts_samples = frame[1] & 1 == 1;
    let block = u64::from(u16::from_be_bytes(streaminfo.get(2..4)?.try_into().ok()?));
    let begin = if counts_samples { number } else { number.checked_mul(block)? };
    begin.checked_add(samples.into())
}

fn crc16(bytes: &[u8]) -> u32 {
    // SAFETY: libav's table lives for good; it reads so many bytes.
    unsafe {
        sys::av_crc(sys::av_crc_get_table(sys::AVCRCId::AV_CRC_16_ANSI), 0, bytes.as_ptr(), bytes.len())
    }
}

/// Vorbis' blocks, whose sizes are known by the setup header only.
pub(super) struct Blocks {
    parser: *mut sys::AVVorbisParseContext,
    has_begun: bool,
}

impl Blocks {
    /// By its headers; `None` if they make no sense.
    pub(super) fn new(extradata: &[u8]) -> Option<Self> {
        let size = i32::try_from(extradata.len()).ok()?;
        // SAFETY: it reads so many bytes, and keeps none of them.
        let parser = unsafe { sys::av_vorbis_parse_init(extradata.as_ptr(), size) };
        (!parser.is_null()).then_some(Self { parser, has_begun: false })
    }

    /// The first block makes no sound: it waits for the next to overlap with.
    fn samples(&mut self, packet: &[u8]) -> Option<u32> {
        let size = i32::try_from(packet.len()).ok()?;
        // SAFETY: the parser is alive; it reads so many bytes.
        let samples = unsafe { sys::av_vorbis_parse_frame(self.parser, packet.as_ptr(), size) };
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        u32::try_from(samples)
            .ok()
            .filter(|samples| *samples > 0)
            .map(|samples| if is_first { 0 } else { samples })
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: frees what `new` allocated, once.
        unsafe { sys::av_vorbis_parse_free(ptr::from_mut(&mut self.parser)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_flac_says_where_it_ends() {
        /// Blocks of 4096 samples.
        const STREAMINFO: [u8; 4] = [0x10, 0, 0x10, 0];
        for (frame, expected) in [
            (&[0xff, 0xf8, 0xc9, 0xa8, 0x00, 0x11, 0x22][..], Some(4096)),
            (&[0xff, 0xf8, 0xc9, 0xa8, 0x7f, 0x11, 0x22], Some(128 * 4096)),
            (&[0xff, 0xf8, 0xc9, 0xa8, 0xc2, 0x80, 0x11, 0x22], Some(129 * 4096)),
            (&[0xff, 0xf8, 0x79, 0xa8, 0xe2, 0x82, 0xac, 0x00, 0xff, 0x11], Some(8364 * 4096 + 256)),
            (
                &[0xff, 0xf9, 0xc9, 0xa8, 0xfe, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x11, 0x22],
                Some((1 << 30) + 4096),
            ),
            (&[0xff, 0xf8, 0x09, 0xa8, 0x00, 0x11, 0x22], None),
            (&[0xff, 0xf8, 0xc9, 0xa8, 0xc2], None),
            (&[0xff; 20], None),
            (&[], None),
        ] {
            assert_eq!(flac_end(frame, &STREAMINFO), expected, "{frame:x?}");
        }
        assert_eq!(flac_end(&[0xff, 0xf8, 0xc9, 0xa8, 0x00, 0x11, 0x22], &[]), None);
    }

    #[test]
    fn opus_says_its_length() {
        for (packet, expected) in [
            (&[0b1111_1000][..], Some(960)),
            (&[0b0000_0001], Some(960)),
            (&[0b1000_0011, 6], Some(720)),
            (&[0b0111_1000], Some(960)),
            (&[0b0001_1011, 48], None),
            (&[0b1111_1011], None),
            (&[], None),
        ] {
            assert_eq!(opus_samples(packet), expected, "{packet:?}");
        }
    }
}
