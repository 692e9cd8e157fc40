//! Where an mp3 says that it ends: in Xing's header or Fraunhofer's, which take the place of the first frame's sound.

use domain::Failure;

use super::container::bytes_at;
use super::copy::FrameHead;
use super::input::Input;

/// Of a frame: its head, side information, Xing's name, flags, and the two numbers that come first.
const HEADER_BYTES: usize = 4 + 32 + 16;
/// An ID3v2 tag's head, and its foot where it has one.
const ID3_HEAD_BYTES: u64 = 10;
/// Its size is counted without these.
const ID3_FOOTED: u8 = 0x10;
/// Programs that do not know each other's tags put theirs in front.
const MOST_TAGS: usize = 4;

/// Where the last frame ends by that header; `None` if there is none, or it does not say.
pub(super) fn end(input: &mut Input<'_>) -> Result<Option<u64>, Failure> {
    let mut at = 0;
    for _ in 0..=MOST_TAGS {
        let begin = bytes_at(input, at, HEADER_BYTES)?;
        let Some(bytes) = id3_bytes(&begin) else {
            return Ok(said_bytes(&begin).map(|bytes| at + u64::from(bytes)));
        };
        at += bytes;
    }
    Ok(None)
}

/// How long an ID3v2 tag is of which this is the begin (ID3v2.4, 3.1).
pub(super) fn id3_bytes(head: &[u8]) -> Option<u64> {
    let size =
        head.get(6..10).filter(|size| head.starts_with(b"ID3") && size.iter().all(|byte| *byte < 0x80))?;
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    let foot = if head[5] & ID3_FOOTED == 0 { 0 } else { ID3_HEAD_BYTES };
    Some(ID3_HEAD_BYTES + size + foot)
}

/// How many bytes all frames have, the first of which is this one.
fn said_bytes(frame: &[u8]) -> Option<u32> {
    const HAS_FRAMES: u32 = 1;
    const HAS_BYTES: u32 = 2;
    /// Fraunhofer's stands always here, and its number behind version, delay and quality.
    const VBRI_AT: usize = 4 + 32;
    let said = |bytes: u32| Some(bytes).filter(|bytes| *bytes > 0);
    let number = |from: &[u8], at: usize| from.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let head = FrameHead::parse(frame)?;
    let vbri = frame.get(VBRI_AT..).filter(|header| header.starts_with(b"VBRI"));
    if let Some(header) = vbri {
        return number(header, 10).and_then(said);
    }
    let header = frame.get(4 + head.side_info_bytes()..)?;
    let is_xing = header.starts_with(b"Xing") || header.starts_with(b"Info");
    let flags = number(header, 4).filter(|flags| is_xing && flags & HAS_BYTES != 0)?;
    number(header, if flags & HAS_FRAMES == 0 { 8 } else { 12 }).and_then(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &[u8], flags: u32) -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
        frame.resize(4 + 32, 0);
        frame.extend(name);
        [flags, 1000, 2000, 3000].iter().for_each(|number| frame.extend(number.to_be_bytes()));
        frame
    }

    #[test]
    fn the_bytes_are_read_where_the_flags_say_that_they_are() {
        for (name, flags, expected) in [
            (b"Xing", 15, Some(2000)),
            (b"Info", 3, Some(2000)),
            (b"Xing", 2, Some(1000)),
            (b"Xing", 1, None),
            (b"LAME", 15, None),
            // Its version, delay and quality are 15 and 1000 here.
            (b"VBRI", 15, Some(1000 << 16)),
        ] {
            assert_eq!(said_bytes(&frame(name, flags)[..HEADER_BYTES]), expected, "{name:?}, {flags}");
        }
        assert_eq!(said_bytes(&frame(b"Xing", 15)[..50]), None);
        assert_eq!(said_bytes(&[]), None);
    }

    #[test]
    fn a_tag_says_how_long_it_is() {
        for (head, expected) in [
            (b"ID3\x04\0\0\0\0\x01\x02", Some(10 + 130)),
            (b"ID3\x04\0\x10\0\0\x01\x02", Some(20 + 130)),
            (b"ID3\x04\0\0\0\0\x81\x02", None),
            (b"\xff\xfb\x90\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(id3_bytes(head), expected, "{head:x?}");
        }
        assert_eq!(id3_bytes(b"ID3"), None);
    }
}
