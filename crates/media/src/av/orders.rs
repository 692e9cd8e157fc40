//! Orders of channels: which one a result has of a source in another.

use std::ffi::CStr;

use domain::AudioFormat;
use ffmpeg_sys_next::AVChannel::{self, *};

use super::ffi::Layout;
use super::quality::Encoding;

/// More are mixed to two: no format has an order of nine.
const MOST_CHANNELS: u16 = 8;

/// The order of channels that the encoder takes.
pub(super) fn layout(encoding: &Encoding, source: &Layout) -> Layout {
    let kept = kept(encoding.format, source);
    if kept.channels() == encoding.channels { kept } else { few(encoding.channels) }
}

/// What a result has where no fewer channels are asked for. wav and flac can name any order, flac in a comment that libav
/// writes and reads (RFC 9639, 8.6.2). The others have one for each number of channels: the largest that has no channel
/// which the source has not, as that would be silent. What is not in it is mixed down.
pub(super) fn kept(format: AudioFormat, source: &Layout) -> Layout {
    let can_name = match format {
        AudioFormat::Wav => true,
        AudioFormat::Flac => source.is_of_loudspeakers(),
        _ => false,
    };
    match source.channels() {
        ..=MOST_CHANNELS if can_name => source.clone(),
        few_channels @ ..=2 => few(few_channels),
        ..=MOST_CHANNELS => {
            let roles = source.roles();
            let mut orders = orders(format).iter().rev().filter_map(|name| Layout::named(name).ok());
            orders.find(|order| is_within(&order.roles(), &roles)).unwrap_or_else(|| few(2))
        }
        _ => few(2),
    }
}

/// Mono, or stereo.
fn few(channels: u16) -> Layout {
    Layout::usual(channels.clamp(1, 2))
}

/// The orders of three channels and more: of aac by ISO 14496-3, 1.6.3.5, of the others by Vorbis I, 4.3.9, RFC 7845, 5.1.1.2,
/// and RFC 9639, 9.1.3.
fn orders(format: AudioFormat) -> &'static [&'static CStr] {
    match format {
        AudioFormat::Mp3 => &[],
        AudioFormat::Aac => &[c"3.0", c"4.0", c"5.0", c"5.1", c"6.1", c"7.1"],
        _ => &[c"3.0", c"quad", c"5.0", c"5.1", c"6.1", c"7.1"],
    }
}

/// Whether the source has a channel for each of an order's.
fn is_within(order: &[AVChannel], source: &[AVChannel]) -> bool {
    order.iter().all(|role| {
        // What is beside the listener can as well be behind, unless the order has both.
        let beside = match role {
            AV_CHAN_BACK_LEFT => AV_CHAN_SIDE_LEFT,
            AV_CHAN_BACK_RIGHT => AV_CHAN_SIDE_RIGHT,
            _ => return source.contains(role),
        };
        source.contains(role) || source.contains(&beside) && !order.contains(&beside)
    })
}
