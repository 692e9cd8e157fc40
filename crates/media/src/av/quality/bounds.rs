//! What each format can hold: sampling rates and bitrates.

use domain::AudioFormat;

/// Sampling rates of MPEG-1, 2 and 2.5 layer III (ISO 11172-3, 13818-3).
const MP3_RATES: &[u32] = &[8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
/// Sampling rates that ADTS can name (ISO 14496-3, 1.6.3.4).
const AAC_RATES: &[u32] =
    &[7350, 8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];
/// Sampling rates that an Opus encoder takes (RFC 6716, 2).
const OPUS_RATES: &[u32] = &[8000, 12_000, 16_000, 24_000, 48_000];
/// What libvorbis has tuned modes for.
const VORBIS_RATES: (u32, u32) = (8000, 192_000);
/// The highest rate that is kept in a lossless result: above it nothing was ever recorded.
const LOSSLESS_RATES: (u32, u32) = (1, 192_000);

/// Bitrates of MPEG-1 layer III, kbit/s.
const MPEG1_KBPS: &[u32] = &[32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
/// Bitrates of MPEG-2 layer III, kbit/s; MPEG-2.5 has those up to 64.
const MPEG2_KBPS: &[u32] = &[8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// The source's own rate where the format has it, else the next higher one: nothing is lost, and no more invented than
/// the format demands.
pub(super) fn rate(format: AudioFormat, given: u32) -> u32 {
    let listed = |rates: &[u32]| match rates.iter().find(|rate| **rate >= given) {
        Some(rate) => *rate,
        // Above them all: 88.2 and 176.4 kHz divide evenly by 44.1, where the format has that.
        None if given.is_multiple_of(44_100) && rates.contains(&44_100) && !rates.contains(&88_200) => 44_100,
        None => rates.last().copied().unwrap_or(48_000),
    };
    match format {
        AudioFormat::Mp3 => listed(MP3_RATES),
        AudioFormat::Aac => listed(AAC_RATES),
        AudioFormat::Opus => listed(OPUS_RATES),
        AudioFormat::Ogg => given.clamp(VORBIS_RATES.0, VORBIS_RATES.1),
        AudioFormat::Flac => flac_rate(given.clamp(LOSSLESS_RATES.0, LOSSLESS_RATES.1)),
        AudioFormat::Wav => given.clamp(LOSSLESS_RATES.0, LOSSLESS_RATES.1),
    }
}

/// A FLAC frame says its rate in 16 bits, of Hz or of tens of Hz (RFC 9639, 9.1.2); all ones are not taken by libav.
fn flac_rate(rate: u32) -> u32 {
    if rate < u32::from(u16::MAX) { rate } else { rate.next_multiple_of(10) }
}

/// The nearest bitrate that a layer III frame can have at this rate.
pub(super) fn mp3_kbps(rate: u32, kbps: u32) -> u32 {
    mp3_table(rate).iter().copied().min_by_key(|listed| listed.abs_diff(kbps)).unwrap_or(kbps)
}

/// The highest up to this one, or the lowest that there is.
pub(super) fn mp3_most_kbps(rate: u32, kbps: u32) -> u32 {
    let table = mp3_table(rate);
    table.iter().copied().filter(|listed| *listed <= kbps).max().unwrap_or(table[0])
}

fn mp3_table(rate: u32) -> &'static [u32] {
    match rate {
        32_000.. => MPEG1_KBPS,
        16_000.. => MPEG2_KBPS,
        _ => &MPEG2_KBPS[..8],
    }
}

/// A channel's share of a frame has at most 6144 bits, and a frame 1024 samples (ISO 14496-3, 4.5.3.1).
pub(super) fn aac_most_kbps(rate: u32, channels: u16) -> u32 {
    (6144 * u32::from(channels) * (rate / 100) / 1024 / 10).max(8)
}

/// libopus takes at most 256 kbit/s a channel (its frames have at most 1275 bytes).
pub(super) fn opus_most_kbps(channels: u16) -> u32 {
    256 * u32::from(channels)
}
