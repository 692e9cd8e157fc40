//! The clock of a transport stream's picture, read off its packets as they pass by. libav would put all of the picture
//! together to tell it: a fifth of the work of making a wav of a 1080p stream.

use std::ops::Range;

use super::marks::transport_packets;

/// What a packet begins with (ISO 13818-1, 2.4.3.3).
const SYNC_BYTE: u8 = 0x47;
/// Ticks of the clock in a second (ISO 13818-1, 2.4.3.7).
const TICKS_A_SEC: f64 = 90_000.0;
/// It counts to this, and begins anew.
const WRAPS_AT: i64 = 1 << 33;
/// A picture that stands still for longer may as well be a clock that jumped.
const MOST_BETWEEN_PICTURES_SECS: f64 = 2.0;

/// What a clock went through without a jump.
#[derive(Debug, Default, Clone)]
pub(super) struct Run(Option<Range<f64>>);

impl Run {
    /// The next picture plays then. They come in the order in which they are decoded.
    pub(super) fn pass(&mut self, at_secs: f64) {
        match &mut self.0 {
            Some(run) if (at_secs - run.end).abs() <= MOST_BETWEEN_PICTURES_SECS => {
                run.end = run.end.max(at_secs);
            }
            run => *run = Some(at_secs..at_secs),
        }
    }

    /// From when to when, up to the latest.
    pub(super) fn latest(&self) -> Option<&Range<f64>> {
        self.0.as_ref()
    }
}

/// Watches the packets of one stream.
pub(super) struct PictureClock {
    pid: u16,
    /// The time of the latest picture, or near the first one's, in ticks that go on where the clock begins anew.
    latest: i64,
    /// Bytes from one packet to the next, once that is known.
    stride: Option<usize>,
    /// What has come of a packet.
    torn: Vec<u8>,
    /// Where the next bytes come from, if none are left out.
    next_at: u64,
    run: Run,
}

impl PictureClock {
    /// Of the stream with this number, whose first picture plays about then.
    pub(super) fn new(pid: u16, start_ticks: i64) -> Self {
        Self { pid, latest: start_ticks, stride: None, torn: Vec::new(), next_at: 0, run: Run::default() }
    }

    /// What it went through so far.
    pub(super) fn run(&self) -> &Run {
        &self.run
    }

    /// Looks at the bytes that stand there.
    pub(super) fn watch(&mut self, at: u64, bytes: &[u8]) {
        if at != self.next_at {
            self.lose();
        }
        self.next_at = at + bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(stride) = self.stride else {
                let Some((first, stride)) = transport_packets(rest) else { return };
                self.stride = Some(stride);
                rest = &rest[first..];
                continue;
            };
            let missing = stride - self.torn.len();
            let Some((come, behind)) = rest.split_at_checked(missing) else {
                self.torn.extend_from_slice(rest);
                return;
            };
            rest = behind;
            let is_packet = if self.torn.is_empty() {
                self.look(come)
            } else {
                let mut whole = std::mem::take(&mut self.torn);
                whole.extend_from_slice(come);
                let is_packet = self.look(&whole);
                whole.clear();
                self.torn = whole;
                is_packet
            };
            if !is_packet {
                self.lose();
            }
        }
    }

    /// Packets are to be looked for anew.
    fn lose(&mut self) {
        self.stride = None;
        self.torn.clear();
    }

    /// Looks at a packet. Returns whether it is one: if not, its bytes are no time.
    fn look(&mut self, packet: &[u8]) -> bool {
        if packet.first() != Some(&SYNC_BYTE) {
            return false;
        }
        if let Some(time) = time(packet, self.pid) {
            let since = (time - self.latest).rem_euclid(WRAPS_AT);
            let since = if since < WRAPS_AT / 2 { since } else { since - WRAPS_AT };
            self.latest = self.latest.saturating_add(since);
            self.run.pass(self.latest as f64 / TICKS_A_SEC);
        }
        true
    }
}

/// When the picture plays that begins in this packet of the stream, in ticks (ISO 13818-1, 2.4.3.2 and 2.4.3.6).
fn time(packet: &[u8], pid: u16) -> Option<i64> {
    const IS_DAMAGED: u8 = 0x80;
    const BEGINS: u8 = 0x40;
    const IS_SCRAMBLED: u8 = 0xc0;
    const HAS_FIELDS: u8 = 0x20;
    const HAS_PAYLOAD: u8 = 0x10;
    const HAS_TIME: u8 = 0x80;
    let [_, high, low, control, fields_bytes] = *packet.first_chunk::<5>()?;
    let is_of_it = u16::from_be_bytes([high & 0x1f, low]) == pid;
    if !is_of_it
        || high & (IS_DAMAGED | BEGINS) != BEGINS
        || control & (IS_SCRAMBLED | HAS_PAYLOAD) != HAS_PAYLOAD
    {
        return None;
    }
    let fields = if control & HAS_FIELDS == 0 { 0 } else { 1 + usize::from(fields_bytes) };
    let payload = packet.get(4 + fields..)?;
    if !payload.starts_with(&[0, 0, 1]) || payload.get(7)? & HAS_TIME == 0 {
        return None;
    }
    let [high, upper, upper_low, lower, lower_low] = *payload.get(9..)?.first_chunk::<5>()?;
    let bits = |byte: u8, from: u32| i64::from(byte) << from;
    Some(
        bits(high >> 1 & 7, 30)
            | bits(upper, 22)
            | bits(upper_low >> 1, 15)
            | bits(lower, 7)
            | bits(lower_low >> 1, 0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: u16 = 0x123;

    /// A packet in which a picture begins, or goes on without a time.
    fn packet(pid: u16, ticks: Option<i64>) -> Vec<u8> {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![0x47, high | if ticks.is_some() { 0x40 } else { 0 }, low, 0x30, 3, 0, 0, 0];
        if let Some(ticks) = ticks {
            let byte = |from: u32| (ticks >> from) as u8;
            packet.extend([0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5]);
            packet.extend([0x21 | byte(29) & 0x0e, byte(22), byte(14) | 1, byte(7), byte(0) << 1 | 1]);
        }
        packet.resize(188, 0xff);
        packet
    }

    /// Pictures at these times, in seconds, among packets of others.
    fn stream(times: impl IntoIterator<Item = f64>) -> Vec<u8> {
        let of_time = |secs: f64| {
            let ticks = (secs * TICKS_A_SEC).round() as i64 % WRAPS_AT;
            [packet(PID, Some(ticks)), packet(PID, None), packet(PID + 1, Some(77))].concat()
        };
        times.into_iter().flat_map(of_time).collect()
    }

    fn run_of(bytes: &[u8], piece: usize, start_secs: f64) -> Option<Range<f64>> {
        let mut clock = PictureClock::new(PID, (start_secs * TICKS_A_SEC) as i64);
        let mut at = 1000;
        for piece in bytes.chunks(piece) {
            clock.watch(at, piece);
            at += piece.len() as u64;
        }
        clock.run().latest().cloned()
    }

    fn seconds(from: u32, to: u32) -> impl Iterator<Item = f64> {
        (from..=to).map(f64::from)
    }

    #[test]
    fn a_run_goes_from_jump_to_jump_in_whatever_pieces_it_comes() {
        let plain = stream(seconds(1, 60));
        let jumped = [stream(seconds(0, 30)), stream(seconds(500, 540))].concat();
        let still = [stream(seconds(0, 30)), stream(seconds(34, 40))].concat();
        let torn = [&plain[..plain.len() / 2], &[0x47; 50], &plain[plain.len() / 2..]].concat();
        for piece in [2000, 3000, 64 << 10] {
            assert_eq!(run_of(&plain, piece, 0.0), Some(1.0..60.0), "{piece}");
            assert_eq!(run_of(&jumped, piece, 0.0), Some(500.0..540.0), "{piece}");
            assert_eq!(run_of(&still, piece, 0.0), Some(34.0..40.0), "{piece}");
            assert_eq!(run_of(&torn, piece, 0.0).map(|run| run.end), Some(60.0), "{piece}");
        }
        assert_eq!(run_of(&[0x47; 5000], 1000, 0.0), None);
        assert_eq!(run_of(&[0; 5000], 1000, 0.0), None);
    }

    #[test]
    fn what_only_stands_where_a_packet_would_has_no_time() {
        let mut no_packet = packet(PID, Some((900.0 * TICKS_A_SEC) as i64));
        no_packet[0] = 0;
        let torn = [stream(seconds(0, 30)), no_packet, stream(seconds(31, 60))].concat();
        assert_eq!(run_of(&torn, 64 << 10, 0.0), Some(0.0..60.0));
    }

    #[test]
    fn packets_of_blu_rays_and_with_error_correction_are_found() {
        let plain = stream(seconds(1, 60));
        let with = |before: usize, behind: usize| {
            let wrap = |packet: &[u8]| [&vec![9; before], packet, &vec![9; behind]].concat();
            plain.chunks(188).flat_map(wrap).collect::<Vec<u8>>()
        };
        for stream in [with(4, 0), with(0, 16)] {
            assert_eq!(run_of(&stream, 10_000, 0.0), Some(1.0..60.0));
        }
    }

    #[test]
    fn a_clock_that_begins_anew_goes_on() {
        let wraps_secs = WRAPS_AT as f64 / TICKS_A_SEC;
        let around: Vec<f64> = (-20..=20).map(|secs| wraps_secs + f64::from(secs)).collect();
        let near = |run: Option<Range<f64>>, from: f64| {
            let run = run.expect("a run");
            assert!((run.start - from).abs() < 0.001 && (run.end - from - 40.0).abs() < 0.001, "{run:?}");
        };
        near(run_of(&stream(around.iter().copied()), 9000, wraps_secs - 20.0), wraps_secs - 20.0);
        // libav may count from before zero.
        near(run_of(&stream(around.iter().copied()), 9000, -20.0), -20.0);
    }

    #[test]
    fn after_a_seek_packets_are_looked_for_anew() {
        let mut clock = PictureClock::new(PID, 0);
        clock.watch(0, &stream(seconds(0, 9))[..5000]);
        clock.watch(77, &stream(seconds(9, 30))[77..]);
        assert_eq!(clock.run().latest().map(|run| run.end), Some(30.0));
    }
}
