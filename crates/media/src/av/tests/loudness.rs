//! Loudness, with libav's own meter as the referee.

use super::*;

/// Integrated loudness (LUFS) and true peak (dBTP), by the ffmpeg command's ebur128 filter.
fn measured(path: &Path) -> (f64, f64) {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-i"]).arg(path);
    let output =
        ffmpeg.args(["-af", "ebur128=peak=true", "-f", "null", "-"]).output().expect("the referee starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = text.rsplit("Summary:").next().expect("a summary");
    let value = |label: &str| {
        let words = summary.split(label).nth(1).expect("a value").split_whitespace().next();
        words.and_then(|word| word.parse().ok()).unwrap_or(f64::NEG_INFINITY)
    };
    (value("I:"), value("Peak:"))
}

#[test]
fn the_target_is_met_or_the_ceiling_is() {
    for (name, target) in [
        ("quiet.wav", Loudness { integrated_lufs: -30.0, true_peak_dbtp: -1.0 }),
        ("sound.flac", Loudness { integrated_lufs: -26.0, true_peak_dbtp: -1.0 }),
        ("surround.mkv", Loudness { integrated_lufs: -30.0, true_peak_dbtp: -1.0 }),
        ("quiet.wav", Loudness { integrated_lufs: -5.0, true_peak_dbtp: -2.0 }),
        ("aac.mp4", Loudness { integrated_lufs: -5.0, true_peak_dbtp: -6.0 }),
    ] {
        let made = extract(name, normalized(AudioFormat::Wav, target));
        let (loudness, peak) = measured(made.file.path());
        let is_met = (loudness - target.integrated_lufs).abs() <= 0.3 && peak <= target.true_peak_dbtp + 0.1;
        let is_capped = (peak - target.true_peak_dbtp).abs() <= 0.15 && loudness < target.integrated_lufs;
        assert!(is_met || is_capped, "{name} for {target:?}: {loudness} LUFS, {peak} dBTP");
        assert_eq!(
            is_capped,
            target.integrated_lufs == -5.0,
            "{name} for {target:?}: {loudness} LUFS, {peak} dBTP"
        );
        assert_eq!(made.host.probes.len(), 1, "{name}: probed once");
        let steps: Vec<Step> = made.host.steps.iter().map(|(step, _)| *step).collect();
        assert!(steps.contains(&Step::Analyzing) && steps.contains(&Step::Extracting), "{steps:?}");
    }
}

#[test]
fn silence_stays_silence() {
    let made = extract("silence.wav", normalized(AudioFormat::Wav, Loudness::default()));
    assert_eq!(made.result.samples, 96_000);
    assert!(decoded(made.file.path()).iter().all(|sample| *sample == 0));
}
