//! A picture: what every player shows is JPEG or PNG, told by its own bytes and not by what the source calls it.

/// A picture whose head makes sense.
#[derive(Debug, PartialEq)]
pub(super) struct Cover {
    pub(super) mime_type: &'static str,
    /// Pixels.
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bits of a pixel.
    pub(super) depth: u32,
    pub(super) bytes: Vec<u8>,
}

impl Cover {
    /// `None` for what is neither.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (mime_type, (width, height, depth)) = match png_shape(bytes) {
            Some(shape) => ("image/png", shape),
            None => ("image/jpeg", jpeg_shape(bytes)?),
        };
        Some(Self { mime_type, width, height, depth, bytes: bytes.to_vec() })
    }
}

/// Width, height and depth, from the header chunk (PNG specification, 11.2.2).
fn png_shape(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let head = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
    let number = |at: usize| {
        head.get(at..at + 4).map(|four| four.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    let samples = match head.get(9)? {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    Some((number(0)?, number(4)?, u32::from(*head.get(8)?) * samples))
}

/// The same, from the frame header, which comes before the first scan (ITU-T T.81, B.2.2).
fn jpeg_shape(bytes: &[u8]) -> Option<(u32, u32, u32)> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let marker = *rest.strip_prefix(b"\xff")?.first()?;
        match marker {
            // A fill byte.
            0xff => rest = &rest[1..],
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let [_, _, precision, high, low, left, right, components] = *rest.get(2..)?.first_chunk()?;
                let pair = |one, other| u32::from(u16::from_be_bytes([one, other]));
                return Some((
                    pair(left, right),
                    pair(high, low),
                    u32::from(precision) * u32::from(components),
                ));
            }
            // A scan, or the end, with no frame before it; or what stands in a scan only.
            0xda | 0xd9 | 0xd0..=0xd8 | 0x00 | 0x01 => return None,
            _ => {
                let [high, low] = *rest.get(2..)?.first_chunk()?;
                rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_jpeg_nor_png_is_no_cover() {
        for bytes in [
            &b""[..],
            b"GIF89a",
            b"\xff\xd8",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xff\xff",
            b"\xff\xd8\xff\xd9",
            b"\xff\xd8\xff\xe0\xff\xff",
            b"\xff\xd8\xff\xe0\0\0\xff\xe0",
            b"\xff\xd8\xff\xc0\0\x11\x08\0\x10",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0",
            b"<svg/>",
        ] {
            assert_eq!(Cover::parse(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_says_the_shape() {
        let shape = |bytes: &[u8]| Cover::parse(bytes).map(|cover| (cover.width, cover.height, cover.depth));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x11\x08\0\x10\x01\x02\x03";
        assert_eq!(shape(jpeg), Some((258, 16, 24)));
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x02\0\0\0\x10\x08\x06";
        assert_eq!(shape(png), Some((258, 16, 32)));
    }
}
