//! What FLAC says of itself beside the sound: the number of each frame, and the header of the whole (RFC 9639, 8.2
//! and 9.1).

use crc::{CRC_8_SMBUS, CRC_16_UMTS, Crc};
use md5::{Digest as _, Md5};

/// Over a frame's header; polynomial 0x07 from 0.
const HEADER_CRC: Crc<u8> = Crc::<u8>::new(&CRC_8_SMBUS);
/// Over a whole frame; polynomial 0x8005 from 0.
const FRAME_CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_UMTS);

/// Of a frame: sync code, size and rate of the block, channels, bits; then comes its number.
const FIXED_BYTES: usize = 4;
/// The CRC at its end.
const FOOTER_BYTES: usize = 2;
/// STREAMINFO without the head of its block.
const STREAMINFO_BYTES: usize = 34;

/// A frame that got another number.
pub(super) struct Renumbered<'f> {
    head: Vec<u8>,
    body: &'f [u8],
    footer: [u8; FOOTER_BYTES],
}

impl Renumbered<'_> {
    /// Its bytes, in pieces.
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        [&self.head, self.body, &self.footer]
    }
}

/// The same frame with another number; `None` if it is no frame.
pub(super) fn renumbered(frame: &[u8], number: u64) -> Option<Renumbered<'_>> {
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
    let extra_at = FIXED_BYTES + old_bytes;
    let (old_head, rest) = frame.split_at_checked(extra_at + size_bytes + rate_bytes + 1)?;
    let (body, footer) = rest.split_last_chunk::<FOOTER_BYTES>()?;
    let mut head = Vec::with_capacity(old_head.len() + 6);
    head.extend(fixed);
    write_number(&mut head, number);
    head.extend(&old_head[extra_at..old_head.len() - 1]);
    head.push(HEADER_CRC.checksum(&head));
    // A CRC from 0 is linear: what the head's change does to it needs no look at the body.
    let change = followed(FRAME_CRC.checksum(old_head) ^ FRAME_CRC.checksum(&head), body.len());
    let footer = (u16::from_be_bytes(*footer) ^ change).to_be_bytes();
    Some(Renumbered { head, body, footer })
}

/// The frame's CRC of what is followed by so many zeros: times x to the power of 8 for each.
fn followed(crc: u16, zeros: usize) -> u16 {
    let (mut made, mut power, mut left) = (crc, 1 << 8, zeros);
    while left > 0 {
        if left & 1 == 1 {
            made = product(made, power);
        }
        power = product(power, power);
        left >>= 1;
    }
    made
}

/// Of two polynomials over GF(2), modulo the CRC's.
fn product(mut one: u16, other: u16) -> u16 {
    let mut made = 0;
    for bit in 0..u16::BITS {
        if other >> bit & 1 == 1 {
            made ^= one;
        }
        let carried = one >> 15 == 1;
        one <<= 1;
        if carried {
            one ^= CRC_16_UMTS.poly;
        }
    }
    made
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
    fn a_frame_with_another_number_has_the_checksums_of_its_bytes() {
        for body_bytes in [0, 1, 2, 9, 255, 4096, 70_001] {
            let body = (0..body_bytes).map(|at: usize| ((at * at) >> 3) as u8);
            // A size and a rate that stand behind the number take three bytes.
            let mut frame = vec![0xff, 0xf8, 0x6d, 0xa8, 5, 99, 1, 2];
            frame.push(HEADER_CRC.checksum(&frame));
            frame.extend(body);
            frame.extend(FRAME_CRC.checksum(&frame).to_be_bytes());
            for number in [5, 6, 0x80, 0x1_0000, 0xf_ffff_ffff] {
                let made = renumbered(&frame, number).expect("a frame").pieces().concat();
                let mut expected = vec![0xff, 0xf8, 0x6d, 0xa8];
                write_number(&mut expected, number);
                expected.extend([99, 1, 2]);
                expected.push(HEADER_CRC.checksum(&expected));
                expected.extend(&frame[9..frame.len() - 2]);
                expected.extend(FRAME_CRC.checksum(&expected).to_be_bytes());
                assert!(made == expected, "{body_bytes} bytes, number {number}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for frame in [&[][..], &[0xff, 0xf8, 0xc9, 0xa8], &[0xff, 0xf8, 0xc9, 0xa8, 0xff, 0, 0, 0], &[0; 6]] {
            assert!(renumbered(frame, 1).is_none(), "{frame:?}");
        }
    }
}
