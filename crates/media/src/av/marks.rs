//! Marks at a container's start that libav does not pass on, read from its first bytes. `riff` has those of AVI and WAVE.

mod riff;

pub(super) use riff::{is_piped_wave, parse_avi, parse_wave};

/// Where a Wave64 file ends, whose sizes have 64 bits, and how long it promises to be.
pub(super) fn parse_w64(head: &[u8]) -> (Option<u64>, Option<f64>) {
    let size = le_u64(head, 16).filter(|size| head.starts_with(b"riff") && *size > 0 && *size < u64::MAX);
    let bytes_a_sec = head.get(72..76).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let is_wave = head.get(24..28) == Some(b"wave") && head.get(40..44) == Some(b"fmt ");
    let secs = size.zip(bytes_a_sec).map(|(size, bytes_a_sec)| size as f64 / f64::from(bytes_a_sec));
    (size, secs.filter(|secs| is_wave && secs.is_finite()))
}

/// The same of a Core Audio file: where its sound ends, unless that was not known when it was begun, and how long it is,
/// where its packets are of one size.
pub(super) fn parse_caf(head: &[u8]) -> (Option<u64>, Option<f64>) {
    let number = |at: usize| be_u64(head, at);
    let half = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes).map(f64::from);
    let mut at = 8;
    while head.starts_with(b"caff") {
        let (Some(name), Some(size)) = (head.get(at..at + 4), number(at + 4)) else { break };
        let body = at + 12;
        if name == b"data" {
            let end = size.checked_add(body as u64).filter(|end| *end < i64::MAX as u64);
            let rate = number(20).map(f64::from_bits);
            let secs = || Some(size as f64 / half(36)? * half(40)? / rate?);
            return (end, secs().filter(|secs| secs.is_finite() && *secs > 0.0));
        }
        let next = usize::try_from(size).ok().and_then(|size| body.checked_add(size));
        let Some(next) = next.filter(|next| *next < head.len()) else { break };
        at = next;
    }
    (None, None)
}

fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

fn be_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_be_bytes)
}

/// Where an ASF file ends, and how long it promises to be: libav believes neither once the file is short. A broadcast
/// says nothing (ASF specification, 3.2).
pub(super) fn parse_asf(head: &[u8]) -> (Option<u64>, Option<f64>) {
    const FILE_PROPERTIES: [u8; 16] =
        [0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11, 0x8e, 0xe4, 0x00, 0xc0, 0x0c, 0x20, 0x53, 0x65];
    const UNITS_A_SEC: f64 = 1e7;
    let Some(start) = head.windows(16).position(|bytes| bytes == FILE_PROPERTIES) else {
        return (None, None);
    };
    let number = |at: usize| {
        let at = start + at;
        head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    };
    let is_broadcast = number(88).is_none_or(|flags| flags & 1 != 0);
    if is_broadcast {
        return (None, None);
    }
    let preroll_secs = number(80).map_or(0.0, |millis| millis as f64 / 1000.0);
    let secs = number(64).map(|units| units as f64 / UNITS_A_SEC - preroll_secs);
    (number(40).filter(|size| *size > 0), secs.filter(|secs| *secs > 0.0))
}

/// Whether packets of a transport stream are marked as scrambled (ISO 13818-1, 2.4.3.3).
pub(super) fn is_scrambled(head: &[u8]) -> bool {
    let Some((first, stride)) = transport_packets(head) else { return false };
    (first..head.len())
        .step_by(stride)
        .any(|at| head[at] == 0x47 && head.get(at + 3).is_some_and(|flags| flags & 0x80 != 0))
}

/// Where the first packet of a transport stream begins, and how far it is to the next.
pub(super) fn transport_packets(bytes: &[u8]) -> Option<(usize, usize)> {
    /// Plain, behind a time stamp of four bytes (Blu-ray), before 16 bytes of error correction.
    const STRIDES: [usize; 3] = [188, 192, 204];
    let is_stream = |first: usize, stride: usize| {
        (first..bytes.len()).step_by(stride).take(5).all(|at| bytes[at] == 0x47)
    };
    STRIDES
        .into_iter()
        .flat_map(|stride| (0..stride).map(move |first| (first, stride)))
        .find(|(first, stride)| first + 5 * stride <= bytes.len() && is_stream(*first, *stride))
}

/// A box's name and its whole length (ISO 14496-12, 4.2). `None` for one that goes on to the file's end, or is none.
pub(super) fn parse_box(head: &[u8]) -> Option<(&str, u64)> {
    let short = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
    let name = std::str::from_utf8(head.get(4..8)?).ok()?;
    let (bytes, least) = match short {
        1 => (u64::from_be_bytes(head.get(8..16)?.try_into().ok()?), 16),
        short => (u64::from(short), 8),
    };
    (bytes >= least && name.bytes().all(|byte| byte.is_ascii_graphic())).then_some((name, bytes))
}

/// What a Matroska file says at its start.
#[derive(Debug, PartialEq)]
pub(super) struct MatroskaHead {
    /// By its document type.
    pub(super) is_webm: bool,
    /// Where the segment ends, unless it was written live.
    pub(super) segment_end: Option<u64>,
}

/// EBML header, then the segment (RFC 8794, RFC 9559).
pub(super) fn parse_matroska(head: &[u8]) -> Option<MatroskaHead> {
    const EBML: u64 = 0x1a45_dfa3;
    const DOC_TYPE: u64 = 0x4282;
    const SEGMENT: u64 = 0x1853_8067;
    let (id, size, mut at) = element(head, 0)?;
    let header_end = at.checked_add(usize::try_from(size?).ok()?)?;
    if id != EBML {
        return None;
    }
    let mut is_webm = false;
    while at < header_end {
        let (id, size, body) = element(head, at)?;
        at = body.checked_add(usize::try_from(size?).ok()?)?;
        is_webm |= id == DOC_TYPE && head.get(body..at)?.starts_with(b"webm");
    }
    let (id, size, body) = element(head, header_end)?;
    let segment_end =
        (id == SEGMENT).then_some(size).flatten().and_then(|size| size.checked_add(body as u64));
    Some(MatroskaHead { is_webm, segment_end })
}

/// An element's id, its size (`None`: unknown), and where its body begins.
fn element(bytes: &[u8], at: usize) -> Option<(u64, Option<u64>, usize)> {
    let (id, _, size_at) = number(bytes, at)?;
    let (marked, width, body) = number(bytes, size_at)?;
    let mask = (1u64 << (7 * width)) - 1;
    let size = marked & mask;
    Some((id, (size != mask).then_some(size), body))
}

/// A variable-length number with its length mark, its width, and where it ends.
fn number(bytes: &[u8], at: usize) -> Option<(u64, u32, usize)> {
    let width = bytes.get(at)?.leading_zeros() + 1;
    let end = at.checked_add(width as usize)?;
    let value = bytes
        .get(at..end)
        .filter(|_| width <= 8)?
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((value, width, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matroska_says_its_kind_and_its_end() {
        let header = [0x1a, 0x45, 0xdf, 0xa3, 0x87, 0x42, 0x82, 0x84, b'w', b'e', b'b', b'm'];
        let with = |segment: &[u8]| parse_matroska(&[&header[..], segment].concat());
        assert_eq!(
            with(&[0x18, 0x53, 0x80, 0x67, 0x41, 0x00]),
            Some(MatroskaHead { is_webm: true, segment_end: Some(18 + 256) })
        );
        let live = [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(with(&live), Some(MatroskaHead { is_webm: true, segment_end: None }));
        for bad in [&[][..], &[0], &[0x1a, 0x45, 0xdf, 0xa3, 0xff], &header, &[0xff; 64]] {
            assert_eq!(parse_matroska(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn scrambled_packets_are_noticed() {
        let packet = |flags: u8| [&[0x47, 0x01, 0x01, flags], [0x11; 184].as_slice()].concat();
        let clear = packet(0x10).repeat(8);
        let stamped = |last: Vec<u8>| {
            [vec![0; 4], packet(0x10)].concat().repeat(7).into_iter().chain([0; 4]).chain(last)
        };
        assert!(!is_scrambled(&clear) && is_scrambled(&[clear, packet(0x90)].concat()));
        assert!(!is_scrambled(&stamped(packet(0x10)).collect::<Vec<u8>>()));
        assert!(is_scrambled(&stamped(packet(0xd0)).collect::<Vec<u8>>()));
        assert!(!is_scrambled(&[]) && !is_scrambled(&[0xff; 2000]));
    }

    #[test]
    fn a_box_says_its_name_and_its_length() {
        assert_eq!(parse_box(b"\0\0\0\x18ftypisom"), Some(("ftyp", 24)));
        assert_eq!(parse_box(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0"), Some(("mdat", 1 << 32)));
        for bad in [&b"\0\0\0\0mdat"[..], b"\0\0\0\x07mdat", b"\0\0\0\x01mdat\0\0", b"\0\0\x01\0m\0at", b"\0"]
        {
            assert_eq!(parse_box(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn wave64_and_core_audio_say_their_end_and_their_length() {
        let mut w64 = [b"riff".as_slice(), &[0; 12], &800u64.to_le_bytes(), b"wave"].concat();
        w64.resize(40, 0);
        w64.extend(b"fmt ");
        w64.resize(72, 0);
        w64.extend(400u32.to_le_bytes());
        assert_eq!(parse_w64(&w64), (Some(800), Some(2.0)));
        assert_eq!((parse_w64(&w64[..60]), parse_w64(b"riff")), ((Some(800), None), (None, None)));

        let desc = [8000f64.to_be_bytes(), *b"lpcm\0\0\0\0"].concat();
        let mut caf = [b"caff\0\x01\0\0desc".as_slice(), &32u64.to_be_bytes(), &desc].concat();
        caf.extend([4u32, 1, 2, 16].map(u32::to_be_bytes).concat());
        caf.extend([b"data".as_slice(), &64_000u64.to_be_bytes()].concat());
        assert_eq!(parse_caf(&caf), (Some(64_064), Some(2.0)));
        let open = [&caf[..caf.len() - 8], &[0xff; 8]].concat();
        assert_eq!(parse_caf(&open).0, None, "its size was not known");
        // Sizes that lead beyond all numbers, and just not.
        let free = |size: u64| [b"caff\0\x01\0\0free".as_slice(), &size.to_be_bytes()].concat();
        for bad in [&caf[..40], b"caff", &free(u64::MAX), &free(u64::MAX - 21)] {
            assert_eq!(parse_caf(bad), (None, None));
        }
    }

    #[test]
    fn asf_says_its_end_and_its_length() {
        let asf = |flags: u8| {
            let mut head = vec![0x30; 30];
            head.extend([
                0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11, 0x8e, 0xe4, 0x00, 0xc0, 0x0c, 0x20, 0x53,
                0x65,
            ]);
            head.extend([0; 24]);
            for number in [5000u64, 0, 0, 90_000_000, 0, 3000] {
                head.extend(number.to_le_bytes());
            }
            head.extend([flags, 0, 0, 0, 0, 0, 0, 0]);
            head
        };
        assert_eq!(parse_asf(&asf(2)), (Some(5000), Some(6.0)));
        assert_eq!(parse_asf(&asf(1)), (None, None), "a broadcast");
        assert_eq!(parse_asf(&asf(2)[..60]), (None, None));
    }
}
