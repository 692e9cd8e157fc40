//! README's tables, held against what is done.

use super::super::quality::{Given, Spending, encoding};
use super::*;

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));

/// The cells of the rows that begin with this format's name, in the section on quality.
fn rows(format: AudioFormat) -> Vec<Vec<&'static str>> {
    let section = README.split("\n## ").find(|section| section.starts_with("Quality\n")).expect("a section");
    let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let is_of = |row: &Vec<&str>| row[0].split(',').next() == Some(format.as_str());
    section.lines().filter(|line| line.starts_with('|')).map(cells).filter(is_of).collect()
}

#[test]
fn the_tables_of_quality_are_those_of_the_code() {
    for format in AudioFormat::ALL {
        let [spending, rates] = &rows(format)[..] else {
            panic!("{format:?} has other rows: {:?}", rows(format))
        };
        let given = Given { rate: 48_000, channels: 2, depth: 24 };
        let amounts = Quality::ALL.map(|quality| match encoding(given, &spec(format, quality)).spending {
            Spending::Constant(amount) | Spending::Average(amount) | Spending::Lossless(amount) => {
                amount.to_string()
            }
            Spending::Steps(step) => step.to_string(),
            Spending::Within { .. } => panic!("{format:?} has a bound without a source"),
        });
        assert_eq!(spending[1..5], amounts, "{format:?}");
        let range = format.bitrate_range().map(|(low, high)| format!("{low}k to {high}k"));
        assert_eq!(spending[5], range.as_deref().unwrap_or("none"), "{format:?}");
        assert_eq!(rates[1], format.sample_rates().to_string(), "{format:?}");
    }
}

#[test]
fn rates_that_a_format_has_are_kept_and_others_become_the_next() {
    for format in AudioFormat::ALL {
        let made =
            |rate: u32| encoding(Given { rate, channels: 2, depth: 16 }, &OutputSpec::plain(format)).rate;
        let kept = (1000..=192_000).filter(|rate| format.sample_rates().contains(*rate));
        for rate in kept.filter(|rate| *rate < 65_535 || rate.is_multiple_of(10)) {
            assert_eq!(made(rate), rate, "{format:?}");
        }
    }
    for (format, given, expected) in [
        (AudioFormat::Opus, 44_100, 48_000),
        (AudioFormat::Mp3, 88_200, 44_100),
        (AudioFormat::Mp3, 96_000, 48_000),
        (AudioFormat::Aac, 176_400, 96_000),
        (AudioFormat::Wav, 384_000, 192_000),
    ] {
        let given = Given { rate: given, channels: 2, depth: 16 };
        assert_eq!(encoding(given, &OutputSpec::plain(format)).rate, expected, "{format:?} of {given:?}");
    }
}
