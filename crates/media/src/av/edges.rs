//! Where a track's sound begins and ends, as far as its container says so and libav does not heed it.

use super::ffi::AvError;
use super::input::Input;
use super::packet::Packet;
use super::track::Track;

/// How far iTunes' sum may be from what there is: encoders differ in what they count of the last frames.
const MOST_DIFFERENCE: u64 = 2048;
/// Of these, decoders leave out themselves what comes before the sound.
const SELF_TRIMMED: [&str; 2] = ["opus", "vorbis"];

/// The first and the last samples of a track.
#[derive(Default)]
pub(super) struct Edges {
    gapless: Option<Gapless>,
    /// Whether nothing moves its first packet from the zero of an mp4's clock.
    starts_at_zero: bool,
    /// When the first packet plays, in the track's time base.
    first_time: Option<i64>,
    /// When the last packet plays that the header lists, in the track's time base.
    last_listed: Option<i64>,
    container: &'static str,
    last: Last,
}

/// The latest packet, in the track's time base.
#[derive(Default)]
struct Last {
    time: Option<i64>,
    ticks: i64,
    /// The most that any had.
    longest_ticks: i64,
}

impl Edges {
    /// By what the header says.
    pub(super) fn of(input: &Input<'_>, track: &Track) -> Self {
        let container = input.container();
        if container != "mp4" {
            return Self { container, ..Self::default() };
        }
        let index = input.index(track.index);
        let starts_at_zero = index.first().is_some_and(|(_, _, time)| *time == 0);
        let mark = || input.tag(c"iTunSMPB").as_deref().and_then(Gapless::parse);
        Self {
            // An edit list says it better; then the first packet is before zero.
            gapless: starts_at_zero.then(mark).flatten(),
            starts_at_zero,
            last_listed: index.last().map(|(_, _, time)| *time),
            container,
            ..Self::default()
        }
    }

    /// Looks at a packet, and has what is not heard skipped before the first.
    pub(super) fn pass(&mut self, packet: &mut Packet, track: &Track) -> Result<(), AvError> {
        let (time, longest_ticks) = (packet.time(), self.last.longest_ticks);
        let ticks = packet.duration().unwrap_or(longest_ticks);
        self.last = Last { time, ticks, longest_ticks: longest_ticks.max(ticks) };
        let Some(time) = time.filter(|_| self.first_time.is_none()) else { return Ok(()) };
        self.first_time = Some(time);
        match self.unskipped(time, packet, track) {
            0 => Ok(()),
            samples => packet.skip(samples),
        }
    }

    /// Samples to skip before the sound begins. iTunes' mark is heeded by libav only in the stream that is the last one
    /// when the mark comes: not where chapters or another track follow. A fragmented mp4 has its edit list heeded in its
    /// times alone; Matroska says how long a codec takes (RFC 9559, 5.1.4.1.25), of which libav takes the times back, and
    /// nothing else.
    fn unskipped(&self, time: i64, packet: &Packet, track: &Track) -> u32 {
        if packet.is_unheard() || packet.trims().is_some() {
            return 0;
        }
        if let Some(gapless) = self.gapless.as_ref().filter(|_| time == 0) {
            return gapless.priming;
        }
        match self.container {
            _ if time >= 0 || SELF_TRIMMED.contains(&track.codec.as_str()) => 0,
            "mp4" => (-track.time_base.secs(time) * f64::from(track.rate)).round() as u32,
            "mkv" => track.priming,
            _ => 0,
        }
    }

    /// When the sound begins, in seconds, where what comes before is left out without the clock being moved: what
    /// iTunes' mark says, and what a decoder leaves out itself where no edit list says so.
    pub(super) fn zero_secs(&self, track: &Track) -> Option<f64> {
        let is_self_trimmed = SELF_TRIMMED.contains(&track.codec.as_str());
        let priming = match &self.gapless {
            Some(gapless) => gapless.priming,
            None if self.starts_at_zero && is_self_trimmed => track.priming,
            None => return None,
        };
        Some(f64::from(priming) / f64::from(track.rate.max(1)))
    }

    /// How many samples at `rate` Hz there are, where iTunes' mark says it of what is there.
    pub(super) fn samples(&self, track: &Track, rate: u32) -> Option<u64> {
        let gapless = self.gapless.as_ref().filter(|_| rate == track.rate)?;
        let there = (track.duration_secs? * f64::from(rate)).round() as u64;
        (gapless.whole().abs_diff(there) <= MOST_DIFFERENCE).then_some(gapless.sound)
    }

    /// How much of the last packet belongs to the sound, in seconds, where that is less than usual: mp4 and mov say it
    /// by a shorter last sample, which libav's decoder does not heed.
    pub(super) fn last_secs(&self, track: &Track) -> Option<f64> {
        let secs = |ticks| track.time_base.secs(ticks);
        let longest_secs = secs(self.last.longest_ticks);
        let is_possible = |rest: &f64| (0.0..=longest_secs).contains(rest);
        let rest_secs = self.rest_secs(track).filter(is_possible).unwrap_or_else(|| secs(self.last.ticks));
        (self.container == "mp4" && rest_secs < longest_secs).then_some(rest_secs)
    }

    /// The same where it must be computed: an edit list that begins with nothing moves the packets, but not the end by
    /// which libav reckons the last one's length.
    fn rest_secs(&self, track: &Track) -> Option<f64> {
        let first = self.first_time.filter(|first| *first > 0)?;
        let last = self.last.time.filter(|_| self.last.time == self.last_listed)?;
        track.duration_secs.map(|secs| track.time_base.secs(first) + secs - track.time_base.secs(last))
    }
}

/// What iTunes writes of an AAC file without an edit list: samples before the sound, behind it, and of it.
#[derive(Debug, PartialEq)]
struct Gapless {
    priming: u32,
    padding: u32,
    sound: u64,
}

impl Gapless {
    /// ` 00000000 00000840 000001CA 00000000003F31F6 …`, hexadecimal.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace().skip(1);
        let mut number = || u64::from_str_radix(words.next()?, 16).ok();
        let (priming, padding, sound) = (number()?, number()?, number()?);
        // libav skips no more than that.
        let is_sane = (1..16_384).contains(&priming) && sound > 0;
        let padding = u32::try_from(padding).ok()?;
        is_sane.then_some(Self { priming: u32::try_from(priming).ok()?, padding, sound })
    }

    fn whole(&self) -> u64 {
        self.sound.saturating_add(u64::from(self.priming) + u64::from(self.padding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn itunes_mark_is_read_or_left_alone() {
        let mark = " 00000000 00000840 000001CA 00000000003F31F6 00000000 00000000";
        assert_eq!(Gapless::parse(mark), Some(Gapless { priming: 2112, padding: 458, sound: 4_141_558 }));
        for bad in ["", "00000000 00000840", " 0 0 0 1", " 0 840 1CA 0", " 0 FFFFFFFF 0 1", " 0 840 xyz 1"] {
            assert_eq!(Gapless::parse(bad), None, "{bad:?}");
        }
    }
}
