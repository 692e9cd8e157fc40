//! Where samples belong: silence for what is missing, so that the sound lines up with the picture.

use std::ops::Range;

use super::demux::Demux;

/// A first sound later than this is preceded by silence where the container's clock is too coarse to tell samples apart:
/// there, less is a matter of rounding and priming.
const LATE_SECS: f64 = 0.020;
/// A hole longer than this is filled; less is jitter of timestamps (Matroska counts milliseconds).
const GAP_SECS: f64 = 0.050;
/// The longest hole taken for one where the container's clock may jump (broadcasts), unless the picture shows that it did
/// not; libav's own threshold.
const JUMP_SECS: f64 = 10.0;
/// The picture may be so far from the sound that comes at the same place.
const APART_SECS: f64 = 2.0;
/// The longest hole taken for one elsewhere: a recording whose microphone was off.
const HOLE_SECS: f64 = 3600.0;

/// The count of samples so far against the clock of the timestamps.
pub(super) struct Timeline {
    /// What the picture calls zero; `None` where there is none to line up with.
    zero_secs: Option<f64>,
    /// How late a first sound may be that still counts as on time.
    late_secs: f64,
    /// The longest hole that is taken for one; a longer one is a jump of the clock. 0 where no two times belong together.
    max_gap_secs: f64,
    /// When the picture played without a break, where that is known.
    picture: Option<Range<f64>>,
    /// Whether the clock counts samples and never jumps, so that no hole is too short to be one.
    counts_samples: bool,
    /// When the latest sound ends by its own timestamp.
    stamped_end_secs: Option<f64>,
    /// Samples of the longest packet.
    packet_samples: u32,
    /// When the next sample is due by the timestamps' clock.
    due_secs: Option<f64>,
    /// Seconds that were put out, silence included.
    length_secs: f64,
}

impl Timeline {
    /// By what the container's clock is worth.
    pub(super) fn of(demux: &mut Demux<'_>) -> Self {
        let late_secs = if demux.tells_samples_apart() { 0.0 } else { LATE_SECS };
        let max_gap_secs = match demux.input().playlist() {
            // Where the clock starts anew, what lies between its times is no hole.
            Some(playlist) if playlist.has_breaks => 0.0,
            Some(_) => JUMP_SECS,
            None if demux.input().may_jump() => JUMP_SECS,
            None => HOLE_SECS,
        };
        let counts_samples = late_secs == 0.0 && max_gap_secs == HOLE_SECS;
        Self { counts_samples, ..Self::new(demux.zero_secs(), late_secs, max_gap_secs) }
    }

    fn new(zero_secs: Option<f64>, late_secs: f64, max_gap_secs: f64) -> Self {
        Self {
            zero_secs,
            late_secs,
            max_gap_secs,
            picture: None,
            counts_samples: false,
            stamped_end_secs: None,
            packet_samples: 0,
            due_secs: None,
            length_secs: 0.0,
        }
    }

    /// Says when the picture played without a break, as far as it has come: its clock is that of the sound.
    pub(super) fn follow(&mut self, picture: Option<&Range<f64>>) {
        self.picture = picture.cloned();
    }

    /// Places `samples` samples at `rate` Hz that say to play at `at_secs`, and returns how many samples of silence
    /// belong before them. What comes too early is not dropped: samples are never lost to a bad clock.
    pub(super) fn place(&mut self, at_secs: Option<f64>, samples: u32, rate: u32) -> u64 {
        let rate = f64::from(rate);
        let lost = at_secs.and_then(|at| self.lost_before(at, rate));
        let silence = lost.or(at_secs.map(|at| self.missing_before(at))).unwrap_or(0.0);
        let silence_samples = (silence * rate).round().max(0.0);
        let length = f64::from(samples) / rate;
        let due_secs = self.due_secs.map(|due| due + lost.unwrap_or(0.0));
        let start = match (at_secs, due_secs) {
            // Within the threshold the count of samples is the better clock; across it, the timestamps are.
            (Some(at), Some(due)) if (at - due).abs() <= GAP_SECS => due,
            (Some(at), _) => at,
            (None, due) => due.unwrap_or(0.0),
        };
        self.due_secs = Some(start + length);
        self.stamped_end_secs = at_secs.map(|at| at + length);
        self.packet_samples = self.packet_samples.max(samples);
        self.length_secs += silence_samples / rate + length;
        silence_samples as u64
    }

    /// Whole packets that are not there, in seconds: what a clock that counts samples leaves between one sound and the
    /// next, where the sound is behind it by as much. Anything else, and all that comes bit by bit, is the clock's own fault:
    /// some give two packets one time.
    fn lost_before(&self, at: f64, rate: f64) -> Option<f64> {
        /// Each of the two times may be rounded by half a tick.
        const ROUNDED: f64 = 1.0;
        let hole = (at - self.stamped_end_secs.filter(|_| self.counts_samples)?) * rate;
        let packet = f64::from(self.packet_samples);
        let lost = (hole / packet).round() * packet;
        let is_whole = lost > 0.0 && (hole - lost).abs() <= ROUNDED;
        let is_behind = self.due_secs.is_some_and(|due| (at - due) * rate >= lost - ROUNDED);
        Some(lost / rate).filter(|secs| is_whole && is_behind && *secs <= self.max_gap_secs)
    }

    fn missing_before(&self, at: f64) -> f64 {
        let (from, threshold, most) = match (self.due_secs, self.zero_secs) {
            (Some(due), _) if self.plays_on(due, at) => (due, GAP_SECS, HOLE_SECS),
            (Some(due), _) => (due, GAP_SECS, self.max_gap_secs),
            // Of one beginning, unless the picture tells of a jump since.
            (None, Some(zero)) if self.picture.is_none() || self.plays_on(zero, at) => {
                (zero, self.late_secs, HOLE_SECS)
            }
            (None, Some(zero)) => (zero, self.late_secs, self.max_gap_secs),
            (None, None) => return 0.0,
        };
        let hole = at - from;
        if self.max_gap_secs > 0.0 && hole > threshold && hole <= most { hole } else { 0.0 }
    }

    /// Whether the picture went on from `from` to `at`.
    fn plays_on(&self, from: f64, at: f64) -> bool {
        let is_there = |run: &Range<f64>| run.start <= from + APART_SECS && run.end >= at - APART_SECS;
        self.picture.as_ref().is_some_and(is_there)
    }

    /// Goes on at `at_secs` by the timestamps' clock, with `length_secs` of sound before it taken as put out.
    pub(super) fn skip(&mut self, at_secs: f64, length_secs: f64) {
        self.due_secs = Some(at_secs);
        self.stamped_end_secs = Some(at_secs);
        self.length_secs = length_secs;
    }

    /// Seconds that were put out, silence included.
    pub(super) fn length_secs(&self) -> f64 {
        self.length_secs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_where_something_is_missing() {
        /// When a frame says to play, and the silence that belongs before it.
        type Frames = &'static [(Option<f64>, u64)];
        let cases: [(&str, Option<f64>, Frames); 8] = [
            ("steady", Some(0.0), &[(Some(0.0), 0), (Some(0.1), 0), (Some(0.2), 0)]),
            ("jitter", Some(0.0), &[(Some(0.01), 0), (Some(0.14), 0), (Some(0.19), 0)]),
            ("late start", Some(1.4), &[(Some(2.4), 1000), (Some(2.5), 0)]),
            ("nothing to line up with", None, &[(Some(2.4), 0), (Some(2.5), 0)]),
            ("sound before the picture", Some(0.5), &[(Some(0.0), 0), (Some(0.1), 0)]),
            ("a hole", Some(0.0), &[(Some(0.0), 0), (Some(0.6), 500), (Some(0.7), 0)]),
            ("a clock that jumps", Some(0.0), &[(Some(0.0), 0), (Some(99.0), 0), (Some(99.1), 0)]),
            (
                "a clock that falls back",
                Some(0.0),
                &[(Some(5.0), 5000), (Some(0.0), 0), (None, 0), (Some(0.2), 0)],
            ),
        ];
        for (name, zero, frames) in cases {
            let mut timeline = Timeline::new(zero, LATE_SECS, JUMP_SECS);
            for (at, expected) in frames {
                assert_eq!(timeline.place(*at, 100, 1000), *expected, "{name} at {at:?}");
            }
        }
    }

    #[test]
    fn a_clock_that_may_jump_is_believed_where_the_picture_went_along() {
        for (name, picture, expected) in [
            ("the picture played on", Some(0.0..24.9), 24_900),
            ("it is a little behind", Some(1.0..23.5), 24_900),
            ("it jumped too", Some(25.0..25.1), 0),
            ("it stands still", Some(0.0..10.0), 0),
            ("nobody looks", None, 0),
        ] {
            let mut timeline = Timeline::new(Some(0.0), LATE_SECS, JUMP_SECS);
            assert_eq!(timeline.place(Some(0.0), 100, 1000), 0);
            timeline.follow(picture.as_ref());
            assert_eq!(timeline.place(Some(25.0), 100, 1000), expected, "{name}");
        }
        for (name, picture, at, expected) in [
            ("a late start along with the picture", Some(1.4..13.2), 13.4, 12_000),
            ("nobody looks", None, 13.4, 12_000),
            ("the picture jumped before the first sound", Some(1800.0..1800.2), 1800.0, 0),
            ("it stands still", Some(1.4..4.4), 1800.0, 0),
            ("it jumped, but not far", Some(9.0..9.2), 9.4, 8000),
        ] {
            let mut timeline = Timeline::new(Some(1.4), LATE_SECS, JUMP_SECS);
            timeline.follow(picture.as_ref());
            assert_eq!(timeline.place(Some(at), 100, 1000), expected, "{name}");
        }
        // Of a playlist with discontinuities no two times are of one clock.
        let mut broken = Timeline::new(Some(0.0), LATE_SECS, 0.0);
        broken.follow(Some(&(0.0..99.0)));
        assert_eq!((broken.place(Some(5.0), 100, 1000), broken.place(Some(9.0), 100, 1000)), (0, 0));
    }

    /// A clock that is wrong by 0.01 %, over 20 minutes.
    #[test]
    fn a_clock_that_drifts_is_followed_by_silences_alone() {
        for (name, rate_of_clock, expected) in
            [("ahead", 1.0001, &[(5001, 50), (10_002, 50)][..]), ("true", 1.0, &[]), ("behind", 0.9999, &[])]
        {
            let mut timeline = Timeline::new(Some(0.0), LATE_SECS, HOLE_SECS);
            let silences: Vec<(u32, u64)> = (0..12_000)
                .map(|frame| (frame, timeline.place(Some(f64::from(frame) * 0.1 * rate_of_clock), 100, 1000)))
                .filter(|(_, silence)| *silence > 0)
                .collect();
            assert_eq!(silences, expected, "{name}");
            let put_out = 1200.0 + 0.05 * expected.len() as f64;
            assert!((timeline.length_secs() - put_out).abs() < 1e-6, "{name}: no sample is lost");
        }
    }

    #[test]
    fn whole_packets_are_missed_by_a_clock_that_counts_samples() {
        for (name, counts_samples, times, expected) in [
            ("one is lost", true, [0.0, 0.01, 0.03, 0.04], [0, 0, 10, 0]),
            ("and five at once", true, [0.0, 0.01, 0.07, 0.09], [0, 0, 50, 10]),
            ("half a one is jitter", true, [0.0, 0.01, 0.025, 0.03], [0, 0, 0, 0]),
            ("two have one time", true, [0.0, 0.0, 0.02, 0.02], [0, 0, 0, 0]),
            ("one is late and the next is not", true, [0.0, 0.02, 0.02, 0.04], [0, 10, 0, 0]),
            ("a clock that is too quick", true, [0.0, 0.0115, 0.023, 0.0345], [0, 0, 0, 0]),
            ("a coarse clock", false, [0.0, 0.01, 0.03, 0.04], [0, 0, 0, 0]),
        ] {
            let mut timeline = Timeline { counts_samples, ..Timeline::new(None, 0.0, HOLE_SECS) };
            assert_eq!(times.map(|at| timeline.place(Some(at), 10, 1000)), expected, "{name}");
            let samples = 40 + expected.iter().sum::<u64>();
            assert!((timeline.length_secs() - samples as f64 / 1000.0).abs() < 1e-9, "{name}");
        }
    }

    #[test]
    fn the_length_counts_silence() {
        let mut timeline = Timeline::new(Some(0.0), LATE_SECS, 10.0);
        timeline.place(Some(1.0), 500, 1000);
        timeline.place(Some(1.5), 500, 1000);
        assert!((timeline.length_secs() - 2.0).abs() < 1e-9);
    }
}
