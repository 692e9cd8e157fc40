//! What a lossy source spends. Another encoding by the same codec gets no more: it would only store what the first one
//! left out.

use domain::{AudioFormat, Failure, OutputSpec};

use super::super::demux::Demux;
use super::super::input::Input;
use super::super::track::Track;
use super::framing::Framing;
use super::plan::{codec_of, framing};

/// So many packets tell a bitrate, if they have no more bytes than any codec makes of them.
const ENOUGH_PACKETS: usize = 2000;
const ENOUGH_BYTES: usize = 8 << 20;

/// Average kbit/s of the track, where it is in the lossy codec of the format that was asked for.
pub(in super::super) fn spent_kbps(
    demux: &mut Demux<'_>,
    output: &OutputSpec,
) -> Result<Option<f64>, Failure> {
    let track = demux.track().clone();
    let is_latm = track.codec == "aac_latm" && output.format == AudioFormat::Aac;
    let is_lossless = matches!(output.format, AudioFormat::Flac | AudioFormat::Wav);
    if is_lossless || !(is_latm || codec_of(&track) == Some(output.format)) {
        return Ok(None);
    }
    match listed_kbps(demux.input(), &track) {
        Some(kbps) => Ok(Some(kbps)),
        None => measured_kbps(demux, &track),
    }
}

/// By the index of an mp4, which has all packets: how many bytes they have, and how long most of them are.
fn listed_kbps(input: &Input<'_>, track: &Track) -> Option<f64> {
    let index = if input.container() == "mp4" { input.index(track.index) } else { Vec::new() };
    let mut lengths: Vec<i64> = index.windows(2).map(|pair| pair[1].2.saturating_sub(pair[0].2)).collect();
    lengths.sort_unstable();
    let usual_secs = track.time_base.secs(*lengths.get(lengths.len() / 2)?);
    let bytes: f64 = index.iter().map(|(_, bytes, _)| *bytes as f64).sum();
    kbps(bytes, usual_secs * index.len() as f64)
}

/// By the packets that are asked for, as far as they tell enough. The header's word counts where it is for more: sound
/// may begin softly.
fn measured_kbps(demux: &mut Demux<'_>, track: &Track) -> Result<Option<f64>, Failure> {
    let until_secs = demux.until_secs();
    let is_framed = codec_of(track).is_some();
    let mut framing = is_framed.then(|| framing(track, demux.input().extradata(track.index))).flatten();
    let (mut bytes, mut secs, mut packets, mut is_past) = (0, 0.0, 0, false);
    let is_all = demux.look(|packet| {
        let lasting = match &mut framing {
            Some((framing, given)) => secs_of(framing, packet.bytes(), given.rate),
            None => packet.duration().map(|ticks| track.time_base.secs(ticks)),
        };
        if let Some(lasting) = lasting {
            bytes += packet.size();
            secs += lasting;
        }
        packets += 1;
        let at_secs = packet.time().map(|time| track.time_base.secs(time));
        is_past = at_secs.zip(until_secs).is_some_and(|(at, until)| at >= until);
        Ok(is_past || packets == ENOUGH_PACKETS || bytes > ENOUGH_BYTES)
    })?;
    let said = if is_all || is_past { None } else { demux.input().said_kbps(track.index) };
    Ok(kbps(bytes as f64, secs).into_iter().chain(said).max_by(f64::total_cmp))
}

fn secs_of(framing: &mut Framing, packet: &[u8], rate: u32) -> Option<f64> {
    framing.samples(packet).map(|samples| f64::from(samples) / f64::from(rate.max(1)))
}

fn kbps(bytes: f64, secs: f64) -> Option<f64> {
    (bytes > 0.0 && secs > 0.0).then(|| bytes * 8.0 / secs / 1000.0)
}
