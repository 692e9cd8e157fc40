//! How values are written: `24h`, `5GB`, and texts in which nothing means none.

use std::str::FromStr;
use std::time::Duration;

use domain::Secret;
use serde::de::{Deserialize, Deserializer, Error};

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const BYTE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A whole number and its unit, multiplied out.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads `250ms`, `15s`, `5m`, `24h`, `30d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    quantity(text, &DURATION_UNITS).map(Duration::from_millis).ok_or_else(|| {
        format!("`{text}` is no duration; write a whole number and ms, s, m, h or d, like `24h`")
    })
}

/// Reads `512B`, `64KiB`, `5GB`; a bare number is bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let written = text.trim();
    let bare = written.bytes().all(|b| b.is_ascii_digit());
    let bytes = if bare { written.parse().ok() } else { quantity(written, &BYTE_UNITS) };
    bytes.ok_or_else(|| {
        format!("`{text}` is no size; write a whole number and B, KB, MB, GB, TB or KiB, MiB, GiB, TiB")
    })
}

pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)
}

pub(super) fn durations<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse_duration(text).map_err(D::Error::custom)).collect()
}

pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_bytes(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A text, or nothing where it is empty.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// As [`text`], for what must not be printed.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    Ok(text(from)?.map(Secret::new))
}

/// As [`text`], for anything that is read from a text.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<Option<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    text(from)?
        .map(|text| text.parse::<T>().map_err(|cause| D::Error::custom(format!("`{text}`: {cause}"))))
        .transpose()
}

/// A text that must be there and be read as something.
pub(super) fn required<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error>
where
    T::Err: std::fmt::Display,
{
    parsed(from)?.ok_or_else(|| D::Error::custom("may not be empty"))
}

/// A list of what is read from texts.
pub(super) fn list<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<Vec<T>, D::Error>
where
    T::Err: std::fmt::Display,
{
    let texts = Vec::<String>::deserialize(from)?;
    texts
        .iter()
        .map(|text| text.parse::<T>().map_err(|cause| D::Error::custom(format!("`{text}`: {cause}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("250ms", 250),
            ("0s", 0),
            ("15s", 15_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            (" 1 d ", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text:?}");
        }
        for text in ["", "s", "15", "-1s", "1.5h", "1h30m", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512B", 512),
            ("5GB", 5_000_000_000),
            ("5GiB", 5 << 30),
            ("64 KiB", 65_536),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text:?}");
        }
        for text in ["", "GB", "5G", "-1", "1.5GB", "99999999TB"] {
            assert!(parse_bytes(text).is_err(), "{text:?} was taken");
        }
    }
}
