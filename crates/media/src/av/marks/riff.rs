//! What an AVI or a WAVE says of its own length: libav says only what it finds.

use std::ops::Range;

use super::le_u64;

/// A chunk's name and length, before its body.
const HEAD_BYTES: usize = 8;

/// Where the (first) RIFF chunk of an AVI ends, and how long it promises to be.
pub(in super::super) fn parse_avi(head: &[u8]) -> (Option<u64>, Option<f64>) {
    let is_avi = head.get(24..28) == Some(b"avih");
    let secs = le_u32(head, 32)
        .zip(le_u32(head, 48))
        .map(|(micros, frames)| f64::from(micros) * f64::from(frames) / 1e6)
        .filter(|secs| is_avi && *secs > 0.0);
    (riff_end(head), secs)
}

/// Where the sound of a WAVE (also RF64) ends, and how long that is. What comes behind it is no sound, and the sizes of the
/// whole are wrong in many files: some writers count the name and the size itself, or a byte of padding that is not
/// there. Where it ends before its sound one of the two is wrong, and the less is taken for all.
pub(in super::super) fn parse_wave(head: &[u8]) -> (Option<u64>, Option<f64>) {
    let wave = Wave::parse(head);
    let whole = wave.riff_end.or_else(|| riff_end(head));
    let sound = wave.sound.as_ref().map(|sound| sound.end);
    let bytes = wave.sound.map(|sound| sound.end - sound.start).or(whole);
    let secs = bytes.zip(wave.bytes_a_sec).map(|(bytes, a_sec)| bytes as f64 / f64::from(a_sec));
    (sound.into_iter().chain(whole).min(), secs.filter(|secs| *secs > 0.0 && secs.is_finite()))
}

/// What the chunks of a WAVE say, as far as they are in its head.
#[derive(Default)]
struct Wave {
    bytes_a_sec: Option<u32>,
    /// Where the whole ends, where 64 bits say it.
    riff_end: Option<u64>,
    sound: Option<Range<u64>>,
}

impl Wave {
    fn parse(head: &[u8]) -> Self {
        let (mut wave, mut long_size) = (Self::default(), None);
        let is_known = [b"RIFF", b"RF64", b"BW64"].iter().any(|name| head.starts_with(*name));
        if !is_known || head.get(8..12) != Some(b"WAVE") {
            return wave;
        }
        let mut at = 12;
        while let (Some(name), Some(size)) = (head.get(at..at + 4), le_u32(head, at + 4)) {
            let body = at + HEAD_BYTES;
            match name {
                b"fmt " => wave.bytes_a_sec = le_u32(head, body + 8),
                // EBU Tech 3306: the sizes that are all ones in their own places.
                b"ds64" => {
                    wave.riff_end = le_u64(head, body).and_then(|size| size.checked_add(HEAD_BYTES as u64));
                    long_size = le_u64(head, body + 8);
                }
                b"data" => {
                    let size = if size == u32::MAX { long_size } else { Some(u64::from(size)) };
                    let end = size.filter(|size| *size > 0).and_then(|size| size.checked_add(body as u64));
                    wave.sound = end.map(|end| body as u64..end);
                    break;
                }
                _ => {}
            }
            // Chunks begin at even places.
            let Some(next) = usize::try_from(size).ok().and_then(|size| body.checked_add(size)) else {
                break;
            };
            at = next.next_multiple_of(2);
        }
        wave
    }
}

/// Where a RIFF chunk ends; a recorder that died leaves 0 or all ones.
fn riff_end(head: &[u8]) -> Option<u64> {
    let size = le_u32(head, 4).filter(|size| head.starts_with(b"RIFF") && *size != 0 && *size != u32::MAX);
    size.map(|size| HEAD_BYTES as u64 + u64::from(size))
}

/// Whether a WAVE was written through a pipe, by a program that could not go back to its header: ffmpeg leaves all ones
/// there, sox and arecord about 2 GiB, others 0. It ends where it ends.
pub(in super::super) fn is_piped_wave(head: &[u8]) -> bool {
    let says_nothing = matches!(le_u32(head, 4), Some(0 | 0x7fff_f000..=0x8000_0fff | u32::MAX));
    says_nothing && head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WAVE")
}

fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_avi_says_its_end_and_its_length() {
        let mut avi = b"RIFF\x00\x01\x00\x00AVI LIST\0\0\0\0hdrlavih\x38\0\0\0".to_vec();
        for field in [40_000u32, 0, 0, 0, 150] {
            avi.extend(field.to_le_bytes());
        }
        assert_eq!(parse_avi(&avi), (Some(264), Some(6.0)));
        assert_eq!((parse_avi(b"RIFF\xff\xff\xff\xffAVI "), parse_avi(b"RIF")), ((None, None), (None, None)));
    }

    /// A chunk whose size says so much.
    fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        [name.as_slice(), &size.to_le_bytes(), body].concat()
    }

    /// The head of a WAVE of 128 bytes a second.
    fn wave(riff_size: u32, before: &[u8], data_size: u32) -> Vec<u8> {
        let format = [&[1, 0, 1, 0, 64, 0, 0, 0][..], &128u32.to_le_bytes(), &[2, 0, 16, 0]].concat();
        let format = chunk(b"fmt ", 16, &format);
        [chunk(b"RIFF", riff_size, b"WAVE"), format, before.to_vec(), chunk(b"data", data_size, &[0; 20])]
            .concat()
    }

    #[test]
    fn a_wave_ends_with_its_sound() {
        for (name, head, expected) in [
            ("as it should be", wave(292, &[], 256), (Some(300), Some(2.0))),
            ("something behind", wave(800, &[], 256), (Some(300), Some(2.0))),
            ("a whole that is too small", wave(280, &[], 256), (Some(288), Some(2.0))),
            ("an odd chunk before", wave(800, &chunk(b"bext", 3, &[0; 4]), 256), (Some(312), Some(2.0))),
            ("no size of the sound", wave(248, &[], 0), (Some(256), Some(2.0))),
            ("none at all", wave(0, &[], u32::MAX), (None, None)),
            ("a chunk that hides it", wave(248, &chunk(b"LIST", 9000, &[]), 256), (Some(256), Some(2.0))),
        ] {
            assert_eq!(parse_wave(&head), expected, "{name}");
        }
        for bad in [&b"RIFF"[..], b"RIFF\0\x01\0\0WAVEfmt ", b"RIFF\0\x01\0\0WAVE\0\0\0\0\xff\xff\xff\xff"] {
            assert_eq!(parse_wave(bad).1, None, "{bad:?}");
        }
    }

    #[test]
    fn a_large_wave_says_it_in_64_bits() {
        let sizes = [(5u64 << 30) + 1000, 5 << 30, 0].map(u64::to_le_bytes).concat();
        let ds64 = chunk(b"ds64", 28, &[&sizes, &[0; 4][..]].concat());
        let plain = wave(u32::MAX, &[], u32::MAX);
        let large = [b"RF64".as_slice(), &plain[4..12], &ds64, &plain[12..]].concat();
        assert_eq!(parse_wave(&large), (Some((5 << 30) + 80), Some((5u64 << 30) as f64 / 128.0)));
    }

    #[test]
    fn a_piped_wave_is_told_from_a_large_one() {
        for (size, is_piped) in [
            (u32::MAX, true),
            (0x7fff_f024, true),
            (0x8000_0024, true),
            (0, true),
            (0x7000_0000, false),
            (0xf000_0000, false),
        ] {
            let head = [b"RIFF".as_slice(), &size.to_le_bytes(), b"WAVEfmt "].concat();
            assert_eq!(is_piped_wave(&head), is_piped, "{size:#x}");
        }
        assert!(!is_piped_wave(b"RIFF") && !is_piped_wave(b"RIFF\0\0\0\0AVI "));
    }
}
