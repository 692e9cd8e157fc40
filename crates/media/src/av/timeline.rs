//! Where samples belong: silence for what is missing, so that the sound lines up with the picture.

use super::demux::Demux;

/// A first sound later than this is preceded by silence where the container's clock is too coarse to tell samples apart:
/// there, less is a matter of rounding and priming.
const LATE_SECS: f64 = 0.020;
/// A hole longer than this is filled; less is jitter of timestamps (Matroska counts milliseconds).
const GAP_SECS: f64 = 0.050;
/// The longest hole taken for one where the container's clock may jump (broadcasts); libav's own threshold.
const JUMP_SECS: f64 = 10.0;
/// The longest hole taken for one elsewhere: a recording whose microphone was off.
const HOLE_SECS: f64 = 3600.0;

/// The count of samples so far against the clock of the timestamps.
pub(super) struct Timeline {
    /// What the picture calls zero; `None` where there is none to line up with.
    zero_secs: Option<f64>,
    /// How late a first sound may be that still counts as on time.
    late_secs: f64,
    /// The longest hole that is taken for one; a longer one is a jump of the clock.
    max_gap_secs: f64,
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
        Self::new(demux.zero_secs(), late_secs, max_gap_secs)
    }

    fn new(zero_secs: Option<f64>, late_secs: f64, max_gap_secs: f64) -> Self {
        Self { zero_secs, late_secs, max_gap_secs, due_secs: None, length_secs: 0.0 }
    }

    /// Places `samples` samples at `rate` Hz that say to play at `at_secs`, and returns how many samples of silence
    /// belong before them. What comes too early is not dropped: samples are never lost to a bad clock.
    pub(super) fn place(&mut self, at_secs: Option<f64>, samples: u32, rate: u32) -> u64 {
        let rate = f64::from(rate);
        let silence = at_secs.map_or(0.0, |at| self.missing_before(at));
        let silence_samples = (silence * rate).round().max(0.0);
        let length = f64::from(samples) / rate;
        let start = match (at_secs, self.due_secs) {
            // Within the threshold the count of samples is the better clock; across it, the timestamps are.
            (Some(at), Some(due)) if (at - due).abs() <= GAP_SECS => due,
            (Some(at), _) => at,
            (None, due) => due.unwrap_or(0.0),
        };
        self.due_secs = Some(start + length);
        self.length_secs += silence_samples / rate + length;
        silence_samples as u64
    }

    fn missing_before(&self, at: f64) -> f64 {
        let (hole, threshold) = match (self.due_secs, self.zero_secs) {
            (Some(due), _) => (at - due, GAP_SECS),
            (None, Some(zero)) => (at - zero, self.late_secs),
            (None, None) => return 0.0,
        };
        if hole > threshold && hole <= self.max_gap_secs { hole } else { 0.0 }
    }

    /// Goes on at `at_secs` by the timestamps' clock, with `length_secs` of sound before it taken as put out.
    pub(super) fn skip(&mut self, at_secs: f64, length_secs: f64) {
        self.due_secs = Some(at_secs);
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
            let mut timeline = Timeline::new(zero, LATE_SECS, 10.0);
            for (at, expected) in frames {
                assert_eq!(timeline.place(*at, 100, 1000), *expected, "{name} at {at:?}");
            }
        }
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
    fn the_length_counts_silence() {
        let mut timeline = Timeline::new(Some(0.0), LATE_SECS, 10.0);
        timeline.place(Some(1.0), 500, 1000);
        timeline.place(Some(1.5), 500, 1000);
        assert!((timeline.length_secs() - 2.0).abs() < 1e-9);
    }
}
