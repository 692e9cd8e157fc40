//! Layer III frames (ISO 11172-3, 2.4.1.3), and the frame before them that tells a player the length and what to trim:
//! Xing's header with LAME's extension.
#![allow(unsafe_code)] // checksums are libav's.

use ffmpeg_sys_next as sys;

/// Bitrates of MPEG-1 layer III and of MPEG-2 and 2.5, kbit/s, by their number in a header, from 1.
const KBPS: [[u32; 14]; 2] = [
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// What a decoder's filters add to the delay that LAME's extension names (its own convention).
pub(super) const DECODER_DELAY: u32 = 529;
/// The extension's two numbers have 12 bits each.
pub(super) const MOST_TRIM: u32 = 4095;
/// Flags, frames, bytes, table, quality; then the extension.
const XING_BYTES: usize = 4 + 4 + 4 + 4 + 100 + 4;
const LAME_BYTES: usize = 36;

/// What a frame's first four bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct FrameHead {
    raw: [u8; 4],
}

impl FrameHead {
    /// Reads it; `None` if it is none, or of free format.
    pub(in super::super) fn parse(bytes: &[u8]) -> Option<Self> {
        let raw: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let is_layer_3 = raw[0] == 0xff && raw[1] & 0xe6 == 0xe2;
        let is_known = raw[1] & 0x18 != 0x08 && raw[2] & 0x0c != 0x0c;
        let has_bitrate = (1..=14).contains(&(raw[2] >> 4));
        (is_layer_3 && is_known && has_bitrate).then_some(Self { raw })
    }

    fn is_mpeg1(self) -> bool {
        self.raw[1] & 0x18 == 0x18
    }

    fn rate(self) -> u32 {
        let rate = [44_100, 48_000, 32_000][usize::from(self.raw[2] >> 2 & 3).min(2)];
        match self.raw[1] & 0x18 {
            0x18 => rate,
            0x10 => rate / 2,
            _ => rate / 4,
        }
    }

    fn kbps(self) -> u32 {
        KBPS[usize::from(!self.is_mpeg1())][usize::from(self.raw[2] >> 4).clamp(1, 14) - 1]
    }

    /// Bytes of the whole frame.
    pub(super) fn bytes(self) -> usize {
        let slots = if self.is_mpeg1() { 144_000 } else { 72_000 };
        (slots * self.kbps() / self.rate()) as usize + usize::from(self.raw[2] >> 1 & 1)
    }

    /// Samples a channel.
    pub(super) fn samples(self) -> u32 {
        if self.is_mpeg1() { 1152 } else { 576 }
    }

    /// Whether both are of one stream: version, rate, and one channel or two.
    pub(super) fn is_like(self, other: Self) -> bool {
        let is_mono = |head: Self| head.raw[3] >> 6 == 3;
        self.raw[1] & 0x18 == other.raw[1] & 0x18
            && self.raw[2] & 0x0c == other.raw[2] & 0x0c
            && is_mono(self) == is_mono(other)
    }

    /// Bytes between the head and the sound.
    pub(in super::super) fn side_info_bytes(self) -> usize {
        match (self.is_mpeg1(), self.raw[3] >> 6 == 3) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        }
    }

    /// A frame of silence like this one, with room for `room` bytes after its side information.
    fn silence(self, room: usize) -> Vec<u8> {
        let with = |bitrate: u8| Self {
            // No checksum, no padding.
            raw: [self.raw[0], self.raw[1] | 1, self.raw[2] & 0x0c | bitrate << 4, self.raw[3]],
        };
        let needed = 4 + self.side_info_bytes() + room;
        let head = (1..=14).map(with).find(|head| head.bytes() >= needed).unwrap_or(with(14));
        let mut frame = vec![0; head.bytes().max(needed)];
        frame[..4].copy_from_slice(&head.raw);
        frame
    }
}

/// The frames of a copy, as its header will tell of them.
pub(super) struct Info {
    first: FrameHead,
    is_constant: bool,
    frames: u32,
    bytes: u64,
    checksum: u16,
    places: Places,
}

impl Info {
    /// Of a stream whose frames are like this one.
    pub(super) fn new(first: FrameHead) -> Self {
        let mut info = Self {
            first,
            is_constant: true,
            frames: 0,
            bytes: 0,
            checksum: 0,
            places: Places { every: 1, at: Vec::new() },
        };
        info.bytes = info.frame(None).len() as u64;
        info
    }

    /// A frame without sound, to warm up a decoder that is to be heard from the first frame.
    pub(super) fn warm_up(&self) -> Vec<u8> {
        self.first.silence(0)
    }

    /// Counts a frame that was written.
    pub(super) fn count(&mut self, frame: &[u8]) {
        self.places.note(self.frames, self.bytes);
        self.is_constant &= FrameHead::parse(frame).is_some_and(|head| head.kbps() == self.first.kbps());
        self.frames += 1;
        self.bytes += frame.len() as u64;
        self.checksum = crc16(self.checksum, frame);
    }

    /// The frame itself, which a player that does not know it plays as silence. `trims`: samples before the sound and
    /// after it, as [`Self::trims`] says them.
    pub(super) fn frame(&self, trims: Option<(u32, u32)>) -> Vec<u8> {
        let mut frame = self.first.silence(XING_BYTES + LAME_BYTES);
        let at = 4 + self.first.side_info_bytes();
        let mut tag = Vec::with_capacity(XING_BYTES + LAME_BYTES);
        tag.extend(if self.is_constant { b"Info" } else { b"Xing" });
        tag.extend(0x0f_u32.to_be_bytes());
        let (frames, bytes) = (self.frames, u32::try_from(self.bytes).unwrap_or(u32::MAX));
        tag.extend([frames.to_be_bytes(), bytes.to_be_bytes()].concat());
        tag.extend((0..100u32).map(|percent| self.places.share(percent * frames / 100, self.bytes)));
        tag.extend(0_u32.to_be_bytes());
        if let Some((delay, padding)) = trims {
            let both = delay.min(MOST_TRIM) << 12 | padding.min(MOST_TRIM);
            tag.extend(b"Lavf\0\0\0\0\0");
            tag.extend([0; 12]);
            tag.extend(&both.to_be_bytes()[1..]);
            tag.extend([0; 4]);
            tag.extend(bytes.to_be_bytes());
            tag.extend(self.checksum.to_be_bytes());
        }
        frame[at..at + tag.len()].copy_from_slice(&tag);
        if trims.is_some() {
            let end = at + tag.len();
            let checksum = crc16(0, &frame[..end]);
            frame[end..end + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        frame
    }
}

/// Where each so many frames begin, for the table by which players seek.
struct Places {
    every: u32,
    at: Vec<u64>,
}

impl Places {
    /// More would not be seen in a table of 100 entries of 8 bits.
    const MOST: usize = 1024;

    fn note(&mut self, frame: u32, at: u64) {
        if !frame.is_multiple_of(self.every) {
            return;
        }
        if self.at.len() == Self::MOST {
            let mut place = 0;
            self.at.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
        if frame.is_multiple_of(self.every) {
            self.at.push(at);
        }
    }

    /// In 256ths of the file.
    fn share(&self, frame: u32, of: u64) -> u8 {
        let at = self.at.get((frame / self.every) as usize).copied().unwrap_or(0);
        (at * 256 / of.max(1)).min(255) as u8
    }
}

fn crc16(so_far: u16, bytes: &[u8]) -> u16 {
    // SAFETY: libav's table lives for good; it reads so many bytes.
    let crc = unsafe {
        let table = sys::av_crc_get_table(sys::AVCRCId::AV_CRC_16_ANSI_LE);
        sys::av_crc(table, u32::from(so_far), bytes.as_ptr(), bytes.len())
    };
    crc as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_how_long_it_is() {
        for (raw, expected) in [
            ([0xff, 0xfb, 0x90, 0x00], Some((417, 1152))),
            ([0xff, 0xfb, 0x92, 0x00], Some((418, 1152))),
            ([0xff, 0xf3, 0x40, 0xc0], Some((104, 576))),
            ([0xff, 0xe3, 0x18, 0xc0], Some((72, 576))),
            ([0xff, 0xfb, 0x00, 0x00], None),
            ([0xff, 0xfd, 0x90, 0x00], None),
            ([0xff, 0xfb, 0x9c, 0x00], None),
            ([0x00, 0xfb, 0x90, 0x00], None),
        ] {
            let read = FrameHead::parse(&raw).map(|head| (head.bytes(), head.samples()));
            assert_eq!(read, expected, "{raw:x?}");
        }
    }

    #[test]
    fn the_table_stays_small_and_leads_to_the_right_place() {
        let mut places = Places { every: 1, at: Vec::new() };
        (0..100_000).for_each(|frame| places.note(frame, u64::from(frame) * 100));
        assert!(places.at.len() <= Places::MOST);
        assert_eq!((places.share(0, 10_000_000), places.share(50_000, 10_000_000)), (0, 127));
    }
}
