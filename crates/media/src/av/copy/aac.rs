//! What AAC says of itself: AudioSpecificConfig (ISO 14496-3, 1.6.2.1) and ADTS' header (1.A.2.2).

/// Sampling rates by their number.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

/// A configuration that ADTS can say too: low complexity, with or without SBR and PS, frames of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AudioConfig {
    /// Hz, before SBR doubles it.
    pub(super) core_rate: u32,
    /// Whether it says itself whether there is SBR; else only a decoder finds out.
    pub(super) is_plain: bool,
}

impl AudioConfig {
    /// Reads it; `None` where ADTS cannot say it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        const LOW_COMPLEXITY: u32 = 2;
        const SBR: u32 = 5;
        const PS: u32 = 29;
        let mut bits = Bits { bytes, at: 0 };
        let mut object = bits.take(5)?;
        let core_rate = rate(bits.take(4)?)?;
        let channels = bits.take(4)?;
        let says_sbr = matches!(object, SBR | PS);
        if says_sbr {
            rate(bits.take(4)?)?;
            object = bits.take(5)?;
        }
        let has_short_frames = bits.take(1)? == 1;
        let depends_on_core = bits.take(1)? == 1;
        let is_carried = object == LOW_COMPLEXITY && (1..=7).contains(&channels);
        let says_extension = says_sbr || bits.at + 12 < bytes.len() * 8;
        (is_carried && !has_short_frames && !depends_on_core)
            .then_some(Self { core_rate, is_plain: says_extension })
    }
}

fn rate(number: u32) -> Option<u32> {
    RATES.get(number as usize).copied()
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let bit = self.bytes.get(self.at / 8)? >> (7 - self.at % 8) & 1;
            self.at += 1;
            Some(value << 1 | u32::from(bit))
        })
    }
}

/// What stays the same in the header of each packet: version, profile, rate, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdtsHead {
    fixed: [u8; 3],
    /// Hz, before SBR doubles it.
    pub(super) core_rate: u32,
}

impl AdtsHead {
    /// Reads it; `None` if it is none, is not as long as it says, or holds more than one block or none.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let head = packet.get(..7)?;
        let is_sync = head[0] == 0xff && head[1] & 0xf6 == 0xf0;
        let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
        let has_one_block = head[6] & 3 == 0;
        let core_rate = rate(u32::from(head[2] >> 2 & 0xf))?;
        let channels = head[2] & 1 << 2 | head[3] >> 6;
        (is_sync && length == packet.len() && has_one_block && channels > 0)
            .then_some(Self { fixed: [head[1], head[2], head[3] & 0xc0], core_rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adts_cannot_say_is_not_taken() {
        for (name, bytes, expected) in [
            ("low complexity, 44.1 kHz, stereo", &[0x12, 0x10][..], Some((44_100, false))),
            ("with SBR said", &[0x2b, 0x11, 0x88, 0x00], Some((24_000, true))),
            ("main profile", &[0x0a, 0x10], None),
            ("frames of 960", &[0x12, 0x14], None),
            ("channels said elsewhere", &[0x12, 0x00], None),
            ("a rate of its own", &[0x17, 0x80, 0x56, 0x22, 0x10], None),
            ("xHE-AAC", &[0xf9, 0x4e, 0x40], None),
            ("nothing", &[], None),
        ] {
            let read = AudioConfig::parse(bytes).map(|config| (config.core_rate, config.is_plain));
            assert_eq!(read, expected, "{name}");
        }
    }

    #[test]
    fn an_adts_packet_is_as_long_as_it_says() {
        let mut packet = vec![0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc];
        packet.resize(16, 0);
        assert_eq!(AdtsHead::parse(&packet).map(|head| head.core_rate), Some(44_100));
        packet.push(0);
        assert_eq!(AdtsHead::parse(&packet), None);
        assert_eq!(AdtsHead::parse(&[]), None);
    }
}
