//! ID3 tags before packed audio (RFC 8216, 3.4): each segment of bare AAC or MP3 begins with one that says its time,
//! and laid end to end they would lie in the middle of the sound.

use bytes::{Buf, Bytes};

/// The head of an ID3v2 tag.
const HEAD_BYTES: usize = 10;
/// Another copy of the head, at the end, which the size does not count.
const HAS_FOOTER: u8 = 0x10;

/// The beginning of one segment.
#[derive(Debug, Default)]
pub(super) struct Tags {
    head: Vec<u8>,
    skip: usize,
    is_over: bool,
}

impl Tags {
    /// What is left of these bytes once tags are taken off.
    pub(super) fn push(&mut self, mut bytes: Bytes) -> Bytes {
        while !self.is_over {
            let skipped = self.skip.min(bytes.len());
            bytes.advance(skipped);
            self.skip -= skipped;
            let missing = (HEAD_BYTES - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..missing]);
            bytes.advance(missing);
            if self.head.len() < HEAD_BYTES {
                return Bytes::new();
            }
            match tag_bytes(&self.head) {
                Some(rest) => (self.skip, self.head) = (rest, Vec::new()),
                None => {
                    self.is_over = true;
                    let head = std::mem::take(&mut self.head);
                    return if bytes.is_empty() {
                        head.into()
                    } else {
                        [&head[..], &bytes[..]].concat().into()
                    };
                }
            }
        }
        bytes
    }

    /// What was held back and is none.
    pub(super) fn finish(self) -> Bytes {
        self.head.into()
    }
}

/// Bytes of a tag behind its head.
fn tag_bytes(head: &[u8]) -> Option<usize> {
    let size =
        head.get(6..10).filter(|size| head.starts_with(b"ID3") && size.iter().all(|byte| *byte < 0x80))?;
    let size = size.iter().fold(0, |size, byte| size << 7 | usize::from(*byte));
    Some(if head[5] & HAS_FOOTER == 0 { size } else { size + HEAD_BYTES })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(bytes: &[u8], step: usize) -> Vec<u8> {
        let mut tags = Tags::default();
        let mut rest = Vec::new();
        for piece in bytes.chunks(step) {
            rest.extend_from_slice(&tags.push(Bytes::copy_from_slice(piece)));
        }
        rest.extend_from_slice(&tags.finish());
        rest
    }

    #[test]
    fn tags_go_and_nothing_else_does() {
        let tag = |flags: u8, body: usize| {
            let mut tag = vec![b'I', b'D', b'3', 4, 0, flags, 0, 0, (body >> 7) as u8, (body & 0x7f) as u8];
            tag.extend(std::iter::repeat_n(0xff, body));
            tag
        };
        let sound = b"\xff\xf1 this is sound, ID3 and all";
        let footed = [tag(HAS_FOOTER, 5), b"3DI\x04\x00\x10\x00\x00\x00\x05".to_vec()].concat();
        for before in [vec![], tag(0, 63), tag(0, 300), [tag(0, 0), tag(0, 9)].concat(), footed] {
            for step in [1, 7, 10, 1000] {
                assert_eq!(strip(&[&before[..], sound].concat(), step), sound, "{} by {step}", before.len());
            }
        }
        for plain in [&b""[..], b"ID3", b"ID3\x04\x00\x00\xff\xff\xff\xff and more"] {
            assert_eq!(strip(plain, 4), plain);
        }
    }
}
