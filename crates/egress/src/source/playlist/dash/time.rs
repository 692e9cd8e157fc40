//! Durations as XML Schema writes them: `PT1H2M3.5S`.

use super::super::error::PlaylistError;

/// Seconds. Months and years are not of one length, and no media needs them.
pub(super) fn parse(text: &str) -> Result<f64, PlaylistError> {
    read(text.trim()).ok_or_else(|| PlaylistError::Malformed("a duration in it cannot be read".to_owned()))
}

fn read(text: &str) -> Option<f64> {
    let (days, clock) = text.strip_prefix('P')?.split_once('T').unwrap_or((text.strip_prefix('P')?, ""));
    let days = if days.is_empty() { 0.0 } else { number(days.strip_suffix('D')?)? };
    let (mut secs, mut rest) = (days * 86_400.0, clock);
    for (unit, factor) in [('H', 3600.0), ('M', 60.0), ('S', 1.0)] {
        if let Some((value, after)) = rest.split_once(unit) {
            secs += number(value)? * factor;
            rest = after;
        }
    }
    (rest.is_empty() && text.len() > 1).then_some(secs)
}

/// Digits and a point: nothing that `parse` would take beyond.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok())?.filter(|number: &f64| *number < 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written() {
        for (text, secs) in [
            ("PT12.0S", 12.0),
            ("PT1H2M3.5S", 3723.5),
            ("P1DT1S", 86_401.0),
            ("PT10M", 600.0),
            ("P2D", 172_800.0),
        ] {
            assert_eq!(parse(text), Ok(secs), "{text}");
        }
        for text in ["", "P", "12", "PT-3S", "P1M", "P1Y", "PTinfS", "PT1S2H", "PT1X", "PT99999999999999S"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
