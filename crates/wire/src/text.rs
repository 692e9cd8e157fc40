//! How times and numbers are written.

use std::time::Duration;

use domain::Timestamp;

/// ISO 8601 in UTC with whole seconds: `2026-01-21T12:34:56Z`.
pub(crate) fn timestamp(at: Timestamp) -> String {
    // The years that jiff refuses (before -9999, after 9999) are clamped: no clock of ours gets there.
    let at = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The same to the millisecond, where attempts are told apart: `2026-01-21T12:34:56.789Z`.
pub(crate) fn precise_timestamp(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// As HTTP's headers have it (RFC 9110, 5.6.7): `Wed, 21 Jan 2026 12:34:56 GMT`.
pub fn http_date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads an ISO 8601 time with its offset.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

/// Milliseconds to the microsecond.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Seconds to the microsecond, which tells any two samples apart up to 500 kHz, without a tail of binary digits.
pub(crate) fn seconds(secs: f64) -> f64 {
    (secs * 1e6).round() / 1e6
}

/// `192k`.
pub(crate) fn bitrate(kbps: u32) -> String {
    format!("{kbps}k")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds_and_a_z() {
        assert_eq!(timestamp(Timestamp::from_millis(1_768_998_896_999)), "2026-01-21T12:34:56Z");
        assert_eq!(timestamp(Timestamp::from_millis(0)), "1970-01-01T00:00:00Z");
        assert_eq!(http_date(Timestamp::from_millis(1_768_998_896_999)), "Wed, 21 Jan 2026 12:34:56 GMT");
    }

    #[test]
    fn a_time_is_read_with_its_offset_and_not_without() {
        let at = Timestamp::from_millis(1_768_998_896_789);
        assert_eq!(precise_timestamp(at), "2026-01-21T12:34:56.789Z");
        for (text, expected) in [
            ("2026-01-21T12:34:56.789Z", Some(at)),
            ("2026-01-21T13:34:56.789+01:00", Some(at)),
            ("2026-01-21T12:34:56", None),
            ("2026-01-21", None),
            ("1768998896", None),
            ("", None),
        ] {
            assert_eq!(parse_timestamp(text), expected, "{text}");
        }
    }

    #[test]
    fn milliseconds_keep_their_microseconds() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.234);
    }

    #[test]
    fn seconds_lose_their_binary_tail() {
        assert_eq!(seconds(5_313_600.0 / 44_100.0), 120.489796);
        assert_eq!(seconds(120.5), 120.5);
    }
}
