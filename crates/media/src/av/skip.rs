//! Where reading goes on for a part that begins late, so that what comes before it is neither fetched nor decoded.
//!
//! A part is counted in samples from the beginning of the sound. So packets are skipped only where the container's index
//! shows how many samples they hold: all equally long, none missing (docs/adr/0011).

use super::ffi::TimeBase;
use super::track::Track;

/// Less than this is decoded and thrown away instead.
const LEAST_SAVED_SECS: f64 = 10.0;
/// What a decoder hears before its first sample counts. MP3's reservoir reaches 9 frames back (at most 0.65 s), SBR's
/// settings come twice a second, Opus asks for 80 ms (RFC 7845, 4.6), and all the others for one packet.
const WARM_UP_SECS: f64 = 1.0;
/// Packets that are read all the same: by the first sound is known what it is made of and when it begins.
const OPENING_PACKETS: usize = 8;

/// What of a track is left out. Times are in its ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skip {
    /// Where the decoder goes on.
    pub(super) from_ticks: i64,
    /// The first packet whose sound counts.
    pub(super) to_ticks: i64,
    /// When the packets begin that are read all the same, and the one behind them.
    opening_ticks: Vec<i64>,
}

impl Skip {
    /// By the track's index, as (position, bytes, time): what can be left out of a part that begins at `start_secs` of
    /// the sound, where the picture begins at `zero_secs` of the track's clock.
    pub(super) fn find(
        index: &[(u64, u64, i64)],
        track: &Track,
        start_secs: f64,
        zero_secs: f64,
    ) -> Option<Self> {
        let warm_up_secs = warm_up_secs(&track.codec)?;
        let secs = |ticks: i64| track.time_base.secs(ticks);
        let first_ticks = index.first()?.2;
        // The sound counts from the picture's begin or from its own, which is no earlier than its first packet.
        let start_secs = start_secs + zero_secs.min(secs(first_ticks));
        let last_before = |secs_before: f64| {
            index.partition_point(|(_, _, ticks)| secs(*ticks) <= secs_before).checked_sub(1)
        };
        let to = last_before(start_secs)?;
        let to_ticks = index[to].2;
        let from_ticks = index[last_before(secs(to_ticks) - warm_up_secs)?].2;
        let is_steady = is_steady(&index[..=to], track.codec.starts_with("pcm_"));
        let opening_ticks = index.iter().take(OPENING_PACKETS + 1).map(|(_, _, ticks)| *ticks).collect();
        (is_steady && secs(from_ticks) - secs(first_ticks) >= LEAST_SAVED_SECS).then_some(Self {
            from_ticks,
            to_ticks,
            opening_ticks,
        })
    }

    /// Whether the packet of this number and time is read.
    pub(super) fn reads(&self, number: usize, ticks: i64) -> bool {
        number < OPENING_PACKETS || ticks >= self.from_ticks
    }

    /// Samples at `rate` Hz from `ticks`, where a first frame of `samples` begins, to the first packet that counts;
    /// `None` where the clock does not count the samples: a packet is no whole number of them, or not so many as the
    /// frame shows. The frame may lack its begin, so it is its end that must be where the next packet begins.
    pub(super) fn samples_from(
        &self,
        ticks: i64,
        samples: u32,
        time_base: TimeBase,
        rate: u32,
    ) -> Option<u64> {
        let between = |from: i64, to: i64| time_base.samples(to.checked_sub(from)?, rate);
        let [first, second, ..] = self.opening_ticks[..] else { return None };
        let next = *self.opening_ticks.iter().find(|next| **next > ticks)?;
        let is_counted = between(first, second).is_some() && between(ticks, next) == Some(samples.into());
        between(ticks, self.to_ticks).filter(|_| is_counted)
    }
}

/// What this codec's decoder has to hear; `None` where that is not known.
fn warm_up_secs(codec: &str) -> Option<f64> {
    match codec {
        "alac" | "flac" => Some(0.0),
        codec if codec.starts_with("pcm_") => Some(0.0),
        "aac" | "ac3" | "eac3" | "mp2" | "mp3" | "opus" => Some(WARM_UP_SECS),
        _ => None,
    }
}

/// Whether each packet begins where the one before it ends. PCM's are as long as their bytes, all others' alike.
fn is_steady(packets: &[(u64, u64, i64)], is_pcm: bool) -> bool {
    let step = |pair: &[(u64, u64, i64)]| (pair[0].1, i128::from(pair[1].2) - i128::from(pair[0].2));
    let mut steps = packets.windows(2).map(step);
    let Some((first_bytes, first_ticks)) = steps.next() else { return false };
    let is_as_long = |bytes: u64, ticks: i128| {
        let (one, other) =
            (i128::from(bytes).checked_mul(first_ticks), i128::from(first_bytes).checked_mul(ticks));
        one.is_some() && one == other
    };
    first_ticks > 0
        && steps.all(|(bytes, ticks)| if is_pcm { is_as_long(bytes, ticks) } else { ticks == first_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_steady_where_each_begins_as_the_one_before_it_ends() {
        for (packets, is_pcm, expected) in [
            ([(0, 300, -1024), (300, 310, 0), (610, 290, 1024)], false, true),
            ([(0, 300, -1024), (300, 310, 0), (610, 290, 2048)], false, false),
            ([(0, 300, 0), (300, 310, 0), (610, 290, 0)], false, false),
            ([(0, 300, 1024), (300, 310, 0), (610, 290, -1024)], false, false),
            ([(0, 400, 0), (500, 300, 100), (900, 9, 175)], true, true),
            ([(0, 400, 0), (500, 300, 100), (900, 9, 200)], true, false),
            ([(0, u64::MAX, i64::MIN), (0, u64::MAX, i64::MAX), (0, 0, 0)], true, false),
        ] {
            assert_eq!(is_steady(&packets, is_pcm), expected, "{packets:?}");
        }
        assert!(!is_steady(&[(0, 1, 0)], true), "one tells nothing");
    }

    #[test]
    fn samples_are_counted_by_a_clock_that_counts_them() {
        /// Ticks a second, and a packet's; when the first frame begins, how many samples it has, and how many follow from
        /// there to the packet of number 1000.
        type Case = (i32, i64, i64, u32, Option<u64>);
        let cases: [Case; 7] = [
            (44_100, 1024, 0, 1024, Some(1_024_000)),
            (44_100, 1024, 100, 924, Some(1_023_900)),
            (44_100, 1024, 2048, 1024, Some(1_021_952)),
            // 1024.1 samples, of which 1000 are a whole number.
            (90_000, 2090, 0, 1024, None),
            (44_100, 1025, 0, 1024, None),
            (44_100, 1024, 0, 2048, None),
            (44_100, 1024, 9000, 1024, None),
        ];
        for (den, step, at, samples, expected) in cases {
            let opening_ticks = (0..=OPENING_PACKETS as i64).map(|number| number * step).collect();
            let skip = Skip { from_ticks: 900 * step, to_ticks: 1000 * step, opening_ticks };
            let time_base = TimeBase::new(ffmpeg_sys_next::AVRational { num: 1, den });
            let counted = skip.samples_from(at, samples, time_base, 44_100);
            assert_eq!(counted, expected, "{step} of {den}, {samples} samples at {at}");
        }
    }
}
