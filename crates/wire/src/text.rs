//! How times and numbers are written.

use domain::Timestamp;

/// ISO 8601 in UTC with whole seconds: `2026-01-21T12:34:56Z`.
pub(crate) fn timestamp(at: Timestamp) -> String {
    // The years that jiff refuses (before -9999, after 9999) are clamped: no clock of ours gets there.
    let at = jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
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
    }

    #[test]
    fn seconds_lose_their_binary_tail() {
        assert_eq!(seconds(5_313_600.0 / 44_100.0), 120.489796);
        assert_eq!(seconds(120.5), 120.5);
    }
}
