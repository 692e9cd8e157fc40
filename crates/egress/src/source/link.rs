//! What is learnt of a host while a source is read from it, and how it is asked accordingly.

use std::time::Duration;

use super::SourceConfig;
use super::batch::Policy;

/// A part of a `multipart/byteranges` body costs about so much beside its bytes: reading on is as cheap.
const PART_BYTES: u64 = 128;
/// The least that is worth a request of its own, where there is a choice.
const LEAST_BATCH_BYTES: u64 = 64 << 10;
/// Of a request's time, the round trip is to be one part in so many at most, where there is a choice.
const ROUND_TRIP_SHARE: u64 = 4;
/// Fewer bytes than this in one body say nothing of the rate: they may all have waited in a buffer.
const LEAST_MEASURED_BYTES: u64 = 32 << 10;
/// The widest gap that is read through, whatever was measured.
const WIDEST_GAP_BYTES: u64 = 1 << 20;
/// Taken for the product of rate and round trip until both are measured.
const GUESSED_GAP_BYTES: u64 = 64 << 10;
/// So many broken answers in a row to requests for several parts are a refusal: hosts and what lies before them may cut
/// such a body short, always at the same length, that send each single range whole.
const BROKEN_TRIES: u32 = 2;

/// Whether the host answers requests for several ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Multi {
    Untried,
    /// One request is under way that will show it.
    Trying,
    Works,
    Refused,
}

/// What is known of the host and the way to it.
#[derive(Debug)]
pub(crate) struct Link {
    round_trip: Option<Duration>,
    /// How long a byte takes, smoothed. Not the rate: a body that has waited in a buffer seems to come at any rate, and one
    /// such would outweigh all the others.
    secs_per_byte: Option<f64>,
    multi: Multi,
    /// Since the last whole answer in parts, or since the first began.
    broken_tries: u32,
    connections: usize,
}

impl Link {
    pub(crate) fn new(config: &SourceConfig) -> Self {
        let multi = if config.max_parts > 1 { Multi::Untried } else { Multi::Refused };
        Self {
            round_trip: None,
            secs_per_byte: None,
            multi,
            broken_tries: 0,
            connections: config.max_connections.max(1),
        }
    }

    /// The head of an answer took so long. The shortest counts: longer ones had to connect, or waited for the host.
    pub(crate) fn answered(&mut self, after: Duration) {
        self.round_trip = Some(self.round_trip.map_or(after, |known| known.min(after)));
    }

    /// So many bytes of one body came in so much time.
    pub(crate) fn streamed(&mut self, bytes: u64, within: Duration) {
        if bytes < LEAST_MEASURED_BYTES || within.is_zero() {
            return;
        }
        let secs = within.as_secs_f64() / bytes as f64;
        self.secs_per_byte = Some(self.secs_per_byte.map_or(secs, |known| known * 0.7 + secs * 0.3));
    }

    /// Bytes that arrive in the time of a round trip: a wider gap is jumped over.
    fn gap_bytes(&self) -> u64 {
        match (self.round_trip, self.secs_per_byte) {
            (Some(round_trip), Some(secs)) => {
                ((round_trip.as_secs_f64() / secs) as u64).min(WIDEST_GAP_BYTES)
            }
            _ => GUESSED_GAP_BYTES,
        }
    }

    /// Requests at once.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    /// So much of a window has to be free before a request is made that nobody waits for: else a reader that is slower
    /// than the host would have it asked for bytes by the spoonful.
    pub(crate) fn least_room(&self, window: u64) -> u64 {
        window / (2 * self.connections as u64)
    }

    /// What the next request may ask for, where `ahead` bytes are still to be asked for.
    pub(crate) fn policy(&self, config: &SourceConfig, ahead: u64) -> Policy {
        let gap = self.gap_bytes();
        let window = config.window_bytes as u64;
        let connections = self.connections as u64;
        // Enough that the round trip hardly counts, and little enough that all connections have something to do.
        let most = self.least_room(window).max(1);
        let least = (gap * (ROUND_TRIP_SHARE - 1)).max(LEAST_BATCH_BYTES).min(most);
        let max_bytes = ahead.div_ceil(connections).clamp(least, most);
        let max_wire_bytes = window / connections;
        match self.multi {
            Multi::Refused => Policy { max_parts: 1, join_gap: gap, max_bytes, max_wire_bytes },
            _ => Policy { max_parts: config.max_parts, join_gap: PART_BYTES, max_bytes, max_wire_bytes },
        }
    }

    /// Whether a request for several parts has to wait for another one, which shows whether the host takes them.
    pub(crate) fn is_trying(&self) -> bool {
        self.multi == Multi::Trying
    }

    /// A request for several parts is made. Whether it is the first.
    pub(crate) fn tries_multi(&mut self) -> bool {
        let is_first = self.multi == Multi::Untried;
        if is_first {
            self.multi = Multi::Trying;
        }
        is_first
    }

    /// The first request for several parts ended without a verdict.
    pub(crate) fn learnt_nothing(&mut self) {
        if self.multi == Multi::Trying {
            self.multi = Multi::Untried;
        }
    }

    /// The host answers in parts: others may be asked for at once. Whether they come to an end is yet to be seen.
    pub(crate) fn multi_works(&mut self) {
        if matches!(self.multi, Multi::Untried | Multi::Trying) {
            self.multi = Multi::Works;
            // What broke before did so for another reason.
            self.broken_tries = 0;
        }
    }

    /// The host does not answer in parts, or not as it should: it is never asked for them again.
    pub(crate) fn multi_refused(&mut self) {
        self.multi = Multi::Refused;
    }

    /// An answer in parts came to its end.
    pub(crate) fn multi_was_whole(&mut self) {
        self.broken_tries = 0;
    }

    /// A request for several parts broke, as any request may. Whether it was once too often, so that they are refused.
    /// Of a host that has sent parts, only a body that breaks says something about them: one that is away or busy is so
    /// for any request.
    pub(crate) fn multi_broke(&mut self, is_within_body: bool) -> bool {
        self.learnt_nothing();
        self.broken_tries += u32::from(is_within_body || self.multi != Multi::Works);
        if self.broken_tries >= BROKEN_TRIES {
            self.multi_refused();
        }
        self.multi == Multi::Refused
    }

    /// The host is busy: it is asked for less at once.
    pub(crate) fn is_busy(&mut self) {
        self.connections = (self.connections / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn config() -> SourceConfig {
        SourceConfig { max_connections: 4, window_bytes: 8 << 20, max_parts: 100, ..SourceConfig::default() }
    }

    /// 4 MB/s at 20 ms, or what else is said.
    fn measured(millis: u64, bytes_per_sec: f64) -> Link {
        let mut link = Link::new(&config());
        link.answered(Duration::from_millis(3 * millis));
        link.answered(Duration::from_millis(millis));
        link.streamed(100, Duration::from_nanos(1));
        link.streamed(MB, Duration::from_secs_f64(MB as f64 / bytes_per_sec));
        link
    }

    #[test]
    fn gaps_are_read_through_while_that_is_quicker_than_asking_again() {
        for (millis, rate, gap) in
            [(20, 4e6, 80_000), (100, 1e6, 100_000), (1, 1e6, 1_000), (100, 1e9, WIDEST_GAP_BYTES)]
        {
            let mut link = measured(millis, rate);
            link.multi_refused();
            let policy = link.policy(&config(), 100 * MB);
            assert!(policy.join_gap.abs_diff(gap) <= 1, "{millis} ms, {rate}: {policy:?}");
            assert_eq!(policy.max_parts, 1);
        }
        assert_eq!(Link::new(&config()).gap_bytes(), GUESSED_GAP_BYTES);
    }

    /// As where the machine has not looked at a connection for a while.
    #[test]
    fn what_has_waited_in_a_buffer_counts_no_more_than_anything_else() {
        let streamed = |millis: &[u64]| {
            let mut link = Link::new(&config());
            link.answered(Duration::from_millis(20));
            millis.iter().for_each(|millis| link.streamed(MB, Duration::from_millis(*millis)));
            link.gap_bytes()
        };
        let usual = streamed(&[250; 5]);
        for millis in [&[1, 250][..], &[250, 250, 1], &[1, 1, 250]] {
            assert!(streamed(millis) < 4 * usual, "{millis:?}: {} of {usual}", streamed(millis));
        }
        assert!(streamed(&[1, 250, 250, 250]) < 2 * usual);
    }

    #[test]
    fn parts_are_asked_for_until_they_are_refused() {
        let mut link = measured(20, 4e6);
        let parts = |link: &Link| link.policy(&config(), MB).max_parts;
        assert_eq!(parts(&link), 100);
        assert!(link.tries_multi() && link.is_trying());
        link.learnt_nothing();
        assert!(link.tries_multi(), "still unknown");
        link.multi_works();
        assert!(!link.tries_multi() && !link.is_trying());
        assert_eq!(link.policy(&config(), MB).join_gap, PART_BYTES);
        link.multi_refused();
        link.multi_works();
        assert_eq!(parts(&link), 1, "remembered");
    }

    #[test]
    fn a_host_that_breaks_on_parts_is_not_asked_for_ever() {
        for has_begun in [false, true] {
            let mut link = measured(20, 4e6);
            for is_refused in [false, true] {
                link.tries_multi();
                if has_begun {
                    link.multi_works();
                }
                assert_eq!(link.multi_broke(has_begun), is_refused, "{has_begun}");
            }
            assert_eq!(link.policy(&config(), MB).max_parts, 1);
        }
    }

    #[test]
    fn what_breaks_now_and_then_or_is_away_may_still_give_parts() {
        let mut link = measured(20, 4e6);
        link.tries_multi();
        assert!(!link.multi_broke(false));
        link.tries_multi();
        link.multi_works();
        for _ in 0..10 {
            assert!(!link.multi_broke(true));
            assert!(!link.multi_broke(false));
            link.multi_was_whole();
        }
        assert_eq!(link.policy(&config(), MB).max_parts, 100);
        let mut link = measured(20, 4e6);
        assert!(!link.multi_broke(false));
        assert!(link.multi_broke(false), "busy whenever parts are asked for, and never anything else");
    }

    #[test]
    fn requests_are_large_enough_to_pay_and_small_enough_to_share() {
        let link = measured(20, 4e6);
        for (ahead, bytes) in [(8 * MB, MB), (MB, MB / 4), (1, 240_000)] {
            let policy = link.policy(&config(), ahead);
            assert!(policy.max_bytes.abs_diff(bytes) <= 8, "{ahead}: {policy:?}");
        }
        // However quick the host: the window has room for twice as many requests as there are connections.
        assert_eq!(measured(100, 1e9).policy(&config(), 100 * MB).max_bytes, MB);
    }

    #[test]
    fn a_busy_host_gets_fewer_requests_at_once() {
        let mut link = measured(20, 4e6);
        for connections in [4, 2, 1, 1] {
            assert_eq!(link.connections(), connections);
            link.is_busy();
        }
    }
}
