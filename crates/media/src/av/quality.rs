//! What an encoder is told: the table of qualities, within what each format can hold (`bounds`).
//!
//! For two channels; kbit/s, but for Vorbis' quality steps and the lossless formats' bits of a sample:
//!
//! | quality | mp3 | aac | ogg | opus | flac, wav |
//! |---|---|---|---|---|---|
//! | low | 128 | 96 | q2 | 64 | 16 |
//! | medium | 192 | 128 | q4 | 96 | 16 |
//! | high | 256 | 192 | q6 | 128 | the source's, up to 24 |
//! | extreme | 320 | 256 | q8 | 192 | the source's, up to 24 |
//!
//! Each channel gets half of it, so that mono costs half and 5.1 three times as much. A bitrate that was asked for is
//! taken as it is, for whatever channels there are, as far as the format goes.

mod bounds;

use domain::{AudioFormat, OutputSpec, Quality, SampleRate};

use self::bounds::{aac_most_kbps, mp3_kbps, mp3_most_kbps, opus_most_kbps, rate};

/// What the sound is before it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// Hz.
    pub(super) rate: u32,
    /// How many channels: to be encoded, no more than the format has an order for.
    pub(super) channels: u16,
    /// Bits of a sample, 16 to 24.
    pub(super) depth: u32,
}

/// How an encoder spends its bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spending {
    /// So many kbit/s throughout.
    Constant(u32),
    /// So many kbit/s on average.
    Average(u32),
    /// So many on average, and no more than these where that cannot be had.
    Within {
        /// kbit/s.
        kbps: u32,
        /// kbit/s.
        most_kbps: u32,
    },
    /// libvorbis' quality, -1 to 10.
    Steps(f32),
    /// All that it takes; so many bits of a sample.
    Lossless(u32),
}

/// What the encoder is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Encoding {
    /// The format of the result.
    pub(super) format: AudioFormat,
    /// Hz.
    pub(super) rate: u32,
    /// How many channels.
    pub(super) channels: u16,
    /// How many bits.
    pub(super) spending: Spending,
}

/// Decides for one source and one order.
pub(super) fn encoding(given: Given, output: &OutputSpec) -> Encoding {
    let format = output.format;
    let most_channels = if format == AudioFormat::Mp3 { 2 } else { 8 };
    // More channels than the format has are mixed down to two: there is no order of eight for nine.
    let channels = if given.channels > most_channels { 2 } else { given.channels.max(1) };
    // Channels are never invented: two of a mono source are one.
    let channels = output.channels.map_or(channels, |asked| asked.get().min(channels));
    let rate = output.sample_rate.map_or_else(|| rate(format, given.rate), SampleRate::hz);
    let of_table = |kbps: u32| (kbps * u32::from(channels) / 2).max(1);
    let asked = output.bitrate.map(domain::Bitrate::kbps);
    let spending = match (format, asked, output.quality.unwrap_or_default()) {
        (AudioFormat::Mp3, _, quality) => {
            Spending::Constant(mp3_kbps(rate, asked.unwrap_or(of_table([128, 192, 256, 320][step(quality)]))))
        }
        (AudioFormat::Aac, _, quality) => {
            let kbps = asked.unwrap_or(of_table([96, 128, 192, 256][step(quality)]));
            Spending::Constant(kbps.min(aac_most_kbps(rate, channels)))
        }
        (AudioFormat::Opus, Some(kbps), _) => Spending::Constant(kbps.min(opus_most_kbps(channels))),
        (AudioFormat::Opus, None, quality) => {
            Spending::Average(of_table([64, 96, 128, 192][step(quality)]).min(opus_most_kbps(channels)))
        }
        (AudioFormat::Ogg, Some(kbps), _) => Spending::Average(kbps),
        (AudioFormat::Ogg, None, quality) => Spending::Steps([2.0, 4.0, 6.0, 8.0][step(quality)]),
        (AudioFormat::Flac | AudioFormat::Wav, _, Quality::Low | Quality::Medium) => Spending::Lossless(16),
        (AudioFormat::Flac | AudioFormat::Wav, _, Quality::High | Quality::Extreme) => {
            Spending::Lossless(if given.depth > 16 { 24 } else { 16 })
        }
    };
    Encoding { format, rate, channels, spending }
}

/// About how many kbit/s that is; `None` where it is lossless.
pub(super) fn nominal_kbps(encoding: &Encoding) -> Option<f64> {
    match encoding.spending {
        Spending::Constant(kbps) | Spending::Average(kbps) | Spending::Within { kbps, .. } => {
            Some(f64::from(kbps))
        }
        Spending::Steps(quality) => Some(vorbis_kbps(quality) * f64::from(encoding.channels) / 2.0),
        Spending::Lossless(_) => None,
    }
}

/// The same within so many kbit/s.
pub(super) fn within(encoding: Encoding, most_kbps: f64) -> Encoding {
    /// An average of packets is met by a bitrate that is listed to within this.
    const EXACT: f64 = 1.01;
    let most = (most_kbps * EXACT).max(1.0) as u32;
    let is_less = nominal_kbps(&encoding).is_none_or(|kbps| kbps <= most_kbps * EXACT);
    let spending = match (encoding.format, encoding.spending) {
        // libvorbis may not take it, and the nearest that it takes may be more.
        (AudioFormat::Ogg, Spending::Average(kbps)) => {
            Spending::Within { kbps: kbps.min(most), most_kbps: most }
        }
        _ if is_less => return encoding,
        (AudioFormat::Mp3, _) => Spending::Constant(mp3_most_kbps(encoding.rate, most)),
        (AudioFormat::Ogg, _) => Spending::Within { kbps: most, most_kbps: most },
        // libopus takes an average for an aim, and overshoots it with sound that is hard to encode.
        _ => Spending::Constant(most),
    };
    Encoding { spending, ..encoding }
}

/// What two channels take at each of libvorbis' steps, by its authors' table for 44.1 kHz.
fn vorbis_kbps(quality: f32) -> f64 {
    match quality {
        ..=2.0 => 96.0,
        ..=4.0 => 128.0,
        ..=6.0 => 192.0,
        _ => 256.0,
    }
}

fn step(quality: Quality) -> usize {
    match quality {
        Quality::Low => 0,
        Quality::Medium => 1,
        Quality::High => 2,
        Quality::Extreme => 3,
    }
}

#[cfg(test)]
mod tests {
    use AudioFormat::{Aac, Flac, Mp3, Ogg, Opus, Wav};
    use Spending::{Average, Constant, Lossless, Steps, Within};
    use domain::Bitrate;

    use super::*;

    fn decide(
        format: AudioFormat,
        quality: Quality,
        bitrate: Option<&str>,
        given: (u32, u16, u32),
    ) -> Encoding {
        let bitrate = bitrate.map(|text| Bitrate::parse(text, format).expect("a bitrate"));
        let given = Given { rate: given.0, channels: given.1, depth: given.2 };
        encoding(given, &OutputSpec { quality: Some(quality), bitrate, ..OutputSpec::plain(format) })
    }

    #[test]
    fn the_table_holds() {
        for (format, spendings) in [
            (Mp3, [Constant(128), Constant(192), Constant(256), Constant(320)]),
            (Aac, [Constant(96), Constant(128), Constant(192), Constant(256)]),
            (Ogg, [Steps(2.0), Steps(4.0), Steps(6.0), Steps(8.0)]),
            (Opus, [Average(64), Average(96), Average(128), Average(192)]),
            (Flac, [Lossless(16), Lossless(16), Lossless(24), Lossless(24)]),
            (Wav, [Lossless(16), Lossless(16), Lossless(24), Lossless(24)]),
        ] {
            for (quality, spending) in Quality::ALL.into_iter().zip(spendings) {
                let encoding = decide(format, quality, None, (48_000, 2, 24));
                assert_eq!(encoding, Encoding { format, rate: 48_000, channels: 2, spending });
            }
        }
    }

    #[test]
    fn what_a_format_cannot_hold_becomes_the_nearest_that_it_can() {
        for (format, bitrate, given, expected) in [
            (Mp3, None, (44_100, 1, 16), (44_100, 1, Constant(96))),
            (Mp3, None, (48_000, 6, 24), (48_000, 2, Constant(192))),
            (Mp3, Some("320k"), (8000, 1, 16), (8000, 1, Constant(64))),
            (Mp3, Some("100k"), (44_100, 2, 16), (44_100, 2, Constant(96))),
            (Mp3, None, (96_000, 2, 24), (48_000, 2, Constant(192))),
            (Mp3, None, (88_200, 2, 24), (44_100, 2, Constant(192))),
            (Mp3, None, (11_000, 2, 16), (11_025, 2, Constant(64))),
            (Aac, None, (48_000, 6, 24), (48_000, 6, Constant(384))),
            (Aac, Some("512k"), (16_000, 1, 16), (16_000, 1, Constant(96))),
            (Aac, None, (192_000, 2, 24), (96_000, 2, Constant(128))),
            (Opus, None, (44_100, 2, 16), (48_000, 2, Average(96))),
            (Opus, Some("510k"), (48_000, 1, 16), (48_000, 1, Constant(256))),
            (Opus, None, (22_050, 1, 16), (24_000, 1, Average(48))),
            (Ogg, Some("192k"), (44_100, 2, 16), (44_100, 2, Average(192))),
            (Ogg, None, (4000, 1, 16), (8000, 1, Steps(4.0))),
            (Flac, None, (384_000, 2, 24), (192_000, 2, Lossless(16))),
            (Flac, None, (65_534, 2, 16), (65_534, 2, Lossless(16))),
            (Flac, None, (65_535, 2, 16), (65_540, 2, Lossless(16))),
            (Flac, None, (88_201, 2, 16), (88_210, 2, Lossless(16))),
            (Wav, None, (88_201, 2, 16), (88_201, 2, Lossless(16))),
            (Wav, None, (44_100, 24, 16), (44_100, 2, Lossless(16))),
        ] {
            let made = decide(format, Quality::Medium, bitrate, given);
            assert_eq!((made.rate, made.channels, made.spending), expected, "{format:?} of {given:?}");
        }
    }

    #[test]
    fn channels_and_rates_that_were_asked_for_are_taken_but_channels_are_never_invented() {
        use domain::ChannelCount::{Mono, Stereo};
        for (format, channels, hz, given, expected) in [
            (Mp3, Some(Mono), None, (44_100, 2, 16), (44_100, 1, Constant(96))),
            (Mp3, Some(Stereo), None, (44_100, 1, 16), (44_100, 1, Constant(96))),
            (Aac, Some(Stereo), None, (48_000, 6, 24), (48_000, 2, Constant(128))),
            (Wav, Some(Mono), Some(16_000), (48_000, 6, 24), (16_000, 1, Lossless(16))),
            (Wav, Some(Stereo), Some(96_000), (48_000, 24, 24), (96_000, 2, Lossless(16))),
            (Opus, None, Some(16_000), (44_100, 2, 16), (16_000, 2, Average(96))),
            (Mp3, None, Some(16_000), (44_100, 2, 16), (16_000, 2, Constant(160))),
        ] {
            let asked = OutputSpec {
                channels,
                sample_rate: hz.map(|hz| SampleRate::parse(hz, format).expect("a rate")),
                ..OutputSpec::plain(format)
            };
            let made = encoding(Given { rate: given.0, channels: given.1, depth: given.2 }, &asked);
            assert_eq!((made.rate, made.channels, made.spending), expected, "{format:?} of {given:?}");
        }
    }

    #[test]
    fn a_source_is_not_outspent() {
        for (format, quality, most, expected) in [
            (Mp3, Quality::Extreme, 190.0, Constant(160)),
            (Mp3, Quality::Extreme, 127.9, Constant(128)),
            (Mp3, Quality::Low, 320.0, Constant(128)),
            (Mp3, Quality::Low, 1.0, Constant(32)),
            (Aac, Quality::High, 100.0, Constant(101)),
            (Opus, Quality::High, 50.0, Constant(50)),
            (Ogg, Quality::High, 100.0, Within { kbps: 101, most_kbps: 101 }),
            (Ogg, Quality::Low, 100.0, Steps(2.0)),
            (Flac, Quality::Low, 1.0, Lossless(16)),
        ] {
            let encoding = decide(format, quality, None, (44_100, 2, 16));
            assert_eq!(within(encoding, most).spending, expected, "{format:?} {quality:?} within {most}");
        }
        for (bitrate, most, kbps, most_kbps) in [("64k", 100.0, 64, 101), ("192k", 100.0, 101, 101)] {
            let encoding = decide(Ogg, Quality::Low, Some(bitrate), (44_100, 2, 16));
            assert_eq!(
                within(encoding, most).spending,
                Within { kbps, most_kbps },
                "{bitrate} within {most}"
            );
        }
    }

    #[test]
    fn depth_is_the_sources() {
        assert_eq!(decide(Flac, Quality::High, None, (44_100, 2, 16)).spending, Lossless(16));
        assert_eq!(decide(Flac, Quality::High, None, (44_100, 2, 20)).spending, Lossless(24));
    }
}
