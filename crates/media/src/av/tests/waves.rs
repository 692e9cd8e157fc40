//! WAVE files written by hand: no encoder makes these.

use domain::{FailureCode, Retry};

use super::*;

/// One of silence.
fn wave(path: &Path, riff_bytes: Option<u32>, rate: u32, channels: u16, samples: u32) {
    let data_bytes = samples * u32::from(channels) * 2;
    let said = riff_bytes.unwrap_or(data_bytes + 36);
    let data_said = if said == u32::MAX { said } else { said - 36 };
    let mut bytes = [b"RIFF".as_slice(), &said.to_le_bytes(), b"WAVEfmt \x10\0\0\0\x01\0"].concat();
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(channels) * 2).to_le_bytes());
    bytes.extend((channels * 2).to_le_bytes());
    bytes.extend([16, 0]);
    bytes.extend([b"data".as_slice(), &data_said.to_le_bytes()].concat());
    bytes.resize(bytes.len() + data_bytes as usize, 0);
    std::fs::write(path, bytes).expect("a file");
}

#[test]
fn a_wave_is_whole_that_has_all_its_sound() {
    const SAMPLES: u32 = 20_000;
    const DATA_BYTES: u32 = SAMPLES * 4;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("long.wav");
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    // Writers count the name and the size itself, a byte of padding that is not there, or a list that is lost.
    for said in [DATA_BYTES + 36, DATA_BYTES + 44, DATA_BYTES + 37, DATA_BYTES + 500] {
        wave(&path, None, 48_000, 2, SAMPLES);
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[4..8].copy_from_slice(&said.to_le_bytes());
        for (kept, is_whole) in [(bytes.len(), true), (bytes.len() - 4, false)] {
            std::fs::write(&path, &bytes[..kept]).expect("written");
            for format in [AudioFormat::Wav, AudioFormat::Flac] {
                let output = OutputSpec::plain(format);
                let made = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
                match made {
                    Ok(made) => assert!(is_whole && made.samples == u64::from(SAMPLES), "{said}: {made:?}"),
                    Err(failure) => {
                        let details = failure.public.details.clone().unwrap_or_default();
                        assert!(!is_whole && details.starts_with("ends after 0.41"), "{said}: {failure}");
                    }
                }
            }
        }
    }
}

#[test]
fn sound_that_cannot_be_used_fails_by_name_and_for_good() {
    use FailureCode::{ExtractionFailed, InvalidVideo};
    let folder = tempfile::tempdir().expect("a folder");
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    let path = folder.path().join("odd.wav");
    for (rate, channels, code, details) in [
        (1, 2, InvalidVideo, "its sampling rate is 1 Hz"),
        (999, 2, InvalidVideo, "999 Hz"),
        (48_000, 10, ExtractionFailed, "it has 10 channels in no known order"),
        (48_000, 128, ExtractionFailed, "128 channels"),
    ] {
        wave(&path, None, rate, channels, 5000);
        for format in AudioFormat::ALL {
            let output = spec(format, Quality::Low);
            let failure = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path())
                .expect_err("it was extracted");
            assert_eq!((failure.public.code, failure.retry), (code, Retry::Never), "{format:?}: {failure}");
            assert!(failure.public.details.clone().unwrap_or_default().contains(details), "{failure}");
        }
    }
}

#[test]
fn a_result_without_a_sample_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    let path = folder.path().join("one.wav");
    wave(&path, None, 192_000, 1, 1);
    let output = spec(AudioFormat::Opus, Quality::Low);
    let failure = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path())
        .expect_err("a quarter of a sample");
    assert_eq!((failure.public.code, failure.retry), (FailureCode::ExtractionFailed, Retry::Never));
    assert!(failure.to_string().contains("too short"), "{failure}");
}

#[test]
fn odd_rates_and_piped_headers_are_no_reason_to_fail() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    let path = folder.path().join("odd.wav");
    for (riff_bytes, rate) in
        [(None, 1000), (None, 88_201), (None, 65_535), (Some(0x7fff_f024), 44_100), (Some(u32::MAX), 44_100)]
    {
        wave(&path, riff_bytes, rate, 2, rate);
        for format in AudioFormat::ALL {
            let output = spec(format, Quality::Low);
            let made = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
            let made = made.unwrap_or_else(|failure| panic!("{rate} Hz to {format:?}: {failure}"));
            assert!((made.duration_secs() - 1.0).abs() < 0.05, "{rate} Hz to {format:?}: {made:?}");
        }
    }
}
