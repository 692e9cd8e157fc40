//! What FLAC says of itself beside the sound: the number of each frame, and the header of the whole (RFC 9639, 8.2
//! and 9.1).

use crc::{CRC_8_SMBUS, CRC_16_UMTS, Crc, Table};
use md5::{Digest as _, Md5};

/// Over a frame's header; polynomial 0x07 from 0.
const HEADER_CRC: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);
/// Over a whole frame; polynomial 0x8005 from 0. The tables make it keep pace with the encoder.
const FRAME_CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_UMTS);

/// Of a frame: sync code, size and rate of the block, channels, bits; then comes its number.
const FIXED_BYTES: usize = 4;
/// The CRC at its end.
const FOOTER_BYTES: usize = 2;
/// STREAMINFO without the head of its block.
const STREAMINFO_BYTES: usize = 34;

/// The same frame with another number; `None` if it is no frame.
pub(super) fn renumbered(frame: &[u8], number: u64) -> Option<Vec<u8>> {
    let (fixed, rest) = frame.split_first_chunk::<FIXED_BYTES>()?;
    let old_bytes = match rest.first()?.leading_ones() {
        0 => 1,
        ones @ 2..=7 => ones as usize,
        _ => return None,
    };
    // Sizes and rates that have no code of their own stand after the number.
    let size_bytes = match fixed[2] >> 4 {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate_bytes = match fixed[2] & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    let (extra, rest) = rest.get(old_bytes..)?.split_at_checked(size_bytes + rate_bytes)?;
    let body = rest.get(1..rest.len().checked_sub(FOOTER_BYTES)?)?;
    let mut made = Vec::with_capacity(frame.len() + 6);
    made.extend(fixed);
    write_number(&mut made, number);
    made.extend(extra);
    made.push(HEADER_CRC.checksum(&made));
    made.extend(body);
    made.extend(FRAME_CRC.checksum(&made).to_be_bytes());
    Some(made)
}

/// As UTF-8 writes a character, extended to 36 bits (RFC 9639, 9.1.5).
fn write_number(into: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        into.push(number as u8);
        return;
    }
    // Each byte that follows holds 6 bits; the first has as many ones as there are bytes.
    let following = (1..=6).find(|following| number >> (6 * following) < 1 << (6 - following)).unwrap_or(6);
    into.push((0xff00_u16 >> (following + 1)) as u8 | (number >> (6 * following)) as u8);
    into.extend((0..following).rev().map(|place| 0x80 | (number >> (6 * place)) as u8 & 0x3f));
}

/// What went in.
pub(super) struct Heard {
    md5: Md5,
    samples: u64,
}

impl Heard {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { md5: Md5::new(), samples: 0 }
    }

    /// Samples go in: interleaved, little endian, in as many bytes as their bits need.
    pub(super) fn hear(&mut self, bytes: &[u8], samples: u32) {
        self.md5.update(bytes);
        self.samples += u64::from(samples);
    }
}

/// What came out. With what went in, the header of the whole says so once all is known.
pub(super) struct Totals {
    least_frame_bytes: usize,
    most_frame_bytes: usize,
}

impl Totals {
    /// Of nothing yet.
    pub(super) fn new() -> Self {
        Self { least_frame_bytes: usize::MAX, most_frame_bytes: 0 }
    }

    /// A frame comes out.
    pub(super) fn count(&mut self, frame: &[u8]) {
        self.least_frame_bytes = self.least_frame_bytes.min(frame.len());
        self.most_frame_bytes = self.most_frame_bytes.max(frame.len());
    }

    /// Completes a STREAMINFO with what went in; `None` if it is none.
    pub(super) fn streaminfo(self, heard: Heard, begun: &[u8]) -> Option<[u8; STREAMINFO_BYTES]> {
        let mut made: [u8; STREAMINFO_BYTES] = begun.try_into().ok()?;
        if self.most_frame_bytes > 0 {
            made[4..7].copy_from_slice(&self.least_frame_bytes.to_be_bytes()[5..]);
            made[7..10].copy_from_slice(&self.most_frame_bytes.to_be_bytes()[5..]);
        }
        // 36 bits, of which 0 says that they are not known.
        let samples = Some(heard.samples).filter(|samples| *samples < 1 << 36).unwrap_or(0);
        made[13] = made[13] & 0xf0 | (samples >> 32) as u8;
        made[14..18].copy_from_slice(&(samples as u32).to_be_bytes());
        made[18..].copy_from_slice(&heard.md5.finalize());
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_utf8_and_beyond() {
        for number in [0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x10_ffff] {
            let mut made = Vec::new();
            write_number(&mut made, number);
            let character = char::from_u32(number as u32).expect("a character");
            assert_eq!(made, character.to_string().as_bytes(), "{number:#x}");
        }
        // The lengths that RFC 9639 adds: 5, 6 and 7 bytes from 21, 26 and 31 bits on.
        for (number, expected) in [
            (0x1f_ffff, &[0xf7, 0xbf, 0xbf, 0xbf][..]),
            (0x20_0000, &[0xf8, 0x88, 0x80, 0x80, 0x80]),
            (0x400_0000, &[0xfc, 0x84, 0x80, 0x80, 0x80, 0x80]),
            (0xf_ffff_ffff, &[0xfe, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf]),
        ] {
            let mut made = Vec::new();
            write_number(&mut made, number);
            assert_eq!(made, expected, "{number:#x}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for frame in [&[][..], &[0xff, 0xf8, 0xc9, 0xa8], &[0xff, 0xf8, 0xc9, 0xa8, 0xff, 0, 0, 0], &[0; 6]] {
            assert_eq!(renumbered(frame, 1), None, "{frame:?}");
        }
    }
}
