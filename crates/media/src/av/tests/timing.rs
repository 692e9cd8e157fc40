//! The right number of samples, in the right place.

use super::*;

fn wav(name: &str) -> Made {
    extract(name, spec(AudioFormat::Wav, Quality::Medium))
}

#[test]
fn priming_and_padding_are_trimmed() {
    for (name, samples) in [
        ("second.m4a", 44_100),
        ("aac.mp4", 264_600),
        ("alac.mp4", 264_600),
        ("mp3.mp4", 264_600),
        ("sound.mp3", 264_600),
        ("sound.ogg", 264_600),
        ("sound.opus", 288_000),
        ("sound.flac", 288_000),
        ("opus.mkv", 288_000),
    ] {
        assert_eq!(wav(name).result.samples, samples, "{name}");
    }
}

#[test]
fn every_format_gives_back_the_samples_that_it_got() {
    for format in [AudioFormat::Mp3, AudioFormat::Flac, AudioFormat::Wav, AudioFormat::Ogg, AudioFormat::Opus]
    {
        let made = extract("sound.flac", spec(format, Quality::High));
        assert_eq!(made.result.samples, 288_000, "{format:?}");
        assert_eq!(decoded(made.file.path()).len(), 288_000, "{format:?}, decoded");
    }
}

#[test]
fn a_late_start_and_a_hole_are_silence() {
    for name in ["late.mp4", "late.mkv", "late.ts", "hole.mkv"] {
        let made = wav(name);
        let secs = made.result.duration_secs();
        // The last packet may reach over the end; FLAC's have 96 ms.
        assert!((secs - 6.0).abs() < 0.1, "{name}: {secs:.3} s, and the picture has 6");
        let got = decoded(made.file.path());
        let (silent_from, silent_to) = if name == "hole.mkv" { (2.1, 2.9) } else { (0.0, 0.9) };
        let at = |secs: f64| (secs * f64::from(made.result.sample_rate)) as usize;
        let loudest = got[at(silent_from)..at(silent_to)].iter().map(|sample| sample.unsigned_abs()).max();
        assert_eq!(loudest, Some(0), "{name}: there is sound where there was none");
        let sound =
            got[at(silent_to + 0.2)..at(silent_to + 0.7)].iter().any(|sample| sample.unsigned_abs() > 500);
        assert!(sound, "{name}: there is no sound after the silence");
    }
}

#[test]
fn progress_rises_to_its_end() {
    let made = wav("aac.mp4");
    let steps = &made.host.steps;
    assert_eq!(steps[0], (Step::Downloading, None));
    let fractions: Vec<f64> = steps.iter().filter_map(|(_, fraction)| *fraction).collect();
    assert!(
        fractions.is_sorted() && fractions.iter().all(|fraction| (0.0..=1.0).contains(fraction)),
        "{steps:?}"
    );
}
