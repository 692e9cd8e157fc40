//! Loudness, with libav's own meter as the referee.

use std::collections::BTreeMap;

use domain::{ChannelCount, LoudnessReport, MeasuredLoudness, Method, Span};

use super::copies::{extract_file, remade};
use super::*;

/// Nothing here may be off by more, LU and dB.
const NEAR: f64 = 0.3;

/// By the ffmpeg command's ebur128 filter, which says the peak as a factor with three digits.
fn judged(path: &Path) -> MeasuredLoudness {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path).args(["-map", "0:a:0"]);
    let filter = "ebur128=peak=true:metadata=1,ametadata=mode=print:file=-";
    let text = String::from_utf8(output_of(ffmpeg.args(["-af", filter, "-f", "null", "-"]))).expect("text");
    let last = |label: &str| -> f64 {
        let value = text.lines().rev().find_map(|line| line.strip_prefix(label)).expect("a value");
        value.parse().expect("a number")
    };
    MeasuredLoudness {
        integrated_lufs: last("lavfi.r128.I="),
        true_peak_dbtp: 20.0 * last("lavfi.r128.true_peak=").log10(),
    }
}

/// How far from the true value the referee's three digits may be, dB.
fn half_digit(dbtp: f64) -> f64 {
    20.0 * (1.0 + 0.0005 / 10f64.powf(dbtp / 20.0)).log10()
}

/// What was reported, but for what could not be measured.
struct Report {
    before: MeasuredLoudness,
    after: MeasuredLoudness,
    gain: f64,
    limited: f64,
    shortfall: f64,
    decoded_peak: Option<f64>,
}

fn report(made: &Made) -> Report {
    let Some(LoudnessReport::Normalized {
        before,
        after,
        gain_db: gain,
        limited_db: limited,
        shortfall_lu: shortfall,
        decoded_peak_dbtp: decoded_peak,
    }) = made.result.loudness
    else {
        panic!("it was not normalised: {:?}", made.result.loudness)
    };
    Report { before, after, gain, limited, shortfall, decoded_peak }
}

/// A target at which the gain takes the highest peak so many decibels above the ceiling.
fn beyond(report: &Report, decibels: f64, true_peak_dbtp: f64) -> Loudness {
    let gain = true_peak_dbtp - report.before.true_peak_dbtp + decibels;
    Loudness { integrated_lufs: report.before.integrated_lufs + gain, true_peak_dbtp }
}

/// Lossless: what the referee hears must be what was wanted, or as near as it may come, and what was reported.
/// Says whether the limiter had anything to do, and whether it was stopped.
fn check(name: &str, made: &Made, target: Loudness) -> (bool, bool) {
    let (heard, report) = (judged(made.file.path()), report(made));
    let Report { after, limited, shortfall, .. } = report;
    let name =
        format!("{name} for {target:?}: {heard:?}, reported {after:?}, limited {limited}, short {shortfall}");
    assert!(heard.true_peak_dbtp <= target.true_peak_dbtp + half_digit(target.true_peak_dbtp), "{name}");
    assert!((heard.true_peak_dbtp - after.true_peak_dbtp).abs() < 0.1, "{name}");
    assert!((heard.integrated_lufs - after.integrated_lufs).abs() < 0.1, "{name}");
    assert!(limited < 3.05, "{name}");
    let missing = target.integrated_lufs - heard.integrated_lufs;
    let is_stopped = shortfall > 0.0;
    if is_stopped {
        assert!((limited - 3.0).abs() < 0.1 && (missing - shortfall).abs() < 0.1, "{name}");
    } else {
        assert!(missing.abs() <= NEAR, "{name}");
    }
    (limited > 0.0, is_stopped)
}

#[test]
fn the_target_is_met_below_the_ceiling_or_the_gain_stops_and_says_so() {
    let mut kinds = BTreeMap::new();
    for name in [
        "speech.wav",
        "music.wav",
        "dense.wav",
        "peaky.wav",
        "square.wav",
        "clipped.wav",
        "whisper.wav",
        "hushed.wav",
        "hires.flac",
        "surround.mkv",
    ] {
        let default = Loudness::default();
        let wav16 = OutputSpec { normalize: Some(default), ..spec(AudioFormat::Wav, Quality::Medium) };
        let made = extract(name, wav16.clone());
        let first = report(&made);
        *kinds.entry(check(name, &made, default)).or_insert(0) += 1;
        let before = judged(&sample(name));
        assert!((before.integrated_lufs - first.before.integrated_lufs).abs() < 0.1, "{name}: {before:?}");
        let off = (before.true_peak_dbtp - first.before.true_peak_dbtp).abs();
        assert!(off < 0.05 + half_digit(before.true_peak_dbtp), "{name}: {before:?}");
        for (format, quality, decibels, ceiling) in [
            (AudioFormat::Wav, Quality::Medium, -0.5, -1.0),
            (AudioFormat::Wav, Quality::Medium, 1.5, -0.2),
            (AudioFormat::Flac, Quality::Extreme, 2.5, -2.0),
            (AudioFormat::Flac, Quality::Low, 6.0, -1.0),
        ] {
            let target = beyond(&first, decibels, ceiling);
            let made = extract(name, OutputSpec { normalize: Some(target), ..spec(format, quality) });
            *kinds.entry(check(name, &made, target)).or_insert(0) += 1;
        }
    }
    assert_eq!(kinds.len(), 3, "not limited, limited, stopped: {kinds:?}");
}

/// A short tone over a floor that is below the meter's gate, and after the gain above it: then it is most of what counts.
#[test]
fn a_floor_that_comes_past_the_gate_is_no_reason_to_deny_a_miss() {
    let level = "if(between(t\\,100\\,100.5)\\,0.01997\\,0.000432)";
    let words = format!("-f lavfi -i aevalsrc={level}*sin(2*PI*997*t):s=16000:d=300 -c:a pcm_s24le");
    let (_folder, path) = remade("floor.wav", &words);
    let target = Loudness::default();
    let made = extract_file(&path, normalized(AudioFormat::Wav, target));
    assert!((-40.0..-38.0).contains(&report(&made).before.integrated_lufs), "{:?}", made.result.loudness);
    assert_eq!(check("floor.wav", &made, target), (true, true), "{:?}", made.result.loudness);
}

#[test]
fn only_peaks_are_taken_down_and_every_sample_stays_where_it_is() {
    let plain = extract("peaky.wav", spec(AudioFormat::Wav, Quality::Extreme));
    let first = report(&extract("peaky.wav", normalized(AudioFormat::Wav, Loudness::default())));
    let made = extract("peaky.wav", normalized(AudioFormat::Wav, beyond(&first, 2.5, -1.0)));
    let factor = |decibels: f64| 10f64.powf(decibels / 20.0);
    let (gain, limited) = (factor(report(&made).gain), factor(-report(&made).limited));
    let (before, after) = (decoded(plain.file.path()), decoded(made.file.path()));
    assert_eq!((before.len(), made.result.samples), (after.len(), plain.result.samples));
    let mut lowest = 1.0_f64;
    let mut untouched = 0;
    for (at, (before, after)) in
        before.iter().zip(&after).enumerate().filter(|(_, (before, _))| before.abs() > 300)
    {
        let ratio = f64::from(*after) / f64::from(*before) / gain;
        assert!((limited - 0.01..1.01).contains(&ratio), "sample {at}: {before}, {after}");
        lowest = lowest.min(ratio);
        untouched += usize::from(ratio > 0.99);
    }
    assert!((lowest - limited).abs() < 0.02, "{lowest} for {limited}");
    assert!(untouched * 2 > after.len(), "{untouched} of {}", after.len());
}

#[test]
fn a_codecs_overshoot_is_reported() {
    let first = report(&extract("clipped.wav", normalized(AudioFormat::Wav, Loudness::default())));
    let target = beyond(&first, 2.0, -1.0);
    for format in [AudioFormat::Mp3, AudioFormat::Aac, AudioFormat::Ogg, AudioFormat::Opus] {
        let made =
            extract("clipped.wav", OutputSpec { normalize: Some(target), ..spec(format, Quality::Low) });
        let (heard, report) = (judged(made.file.path()), report(&made));
        let decoded = report.decoded_peak.expect("what it decodes to");
        assert!(report.after.true_peak_dbtp <= -1.0, "{format:?}: {:?}", report.after);
        assert!((decoded - heard.true_peak_dbtp).abs() < 0.1, "{format:?}: {decoded}, {heard:?}");
        assert!(decoded > report.after.true_peak_dbtp, "{format:?}: a low bitrate overshoots, {decoded}");
        assert!((report.after.integrated_lufs - heard.integrated_lufs).abs() < 0.5, "{format:?}: {heard:?}");
    }
}

#[test]
fn the_part_the_mix_and_the_rate_that_were_asked_for_are_measured() {
    let target = Loudness { integrated_lufs: -19.0, true_peak_dbtp: -1.5 };
    let wav = OutputSpec { normalize: Some(target), ..spec(AudioFormat::Wav, Quality::Medium) };
    let span = Span::parse(Some(1.25), Some(3.0)).expect("a part");
    let rate = Some(domain::SampleRate::parse(8000, AudioFormat::Wav).expect("a rate"));
    for (name, output, samples) in [
        ("surround.mkv", OutputSpec { channels: Some(ChannelCount::Stereo), ..wav.clone() }, None),
        (
            "surround.mkv",
            OutputSpec { channels: Some(ChannelCount::Mono), span, ..wav.clone() },
            Some(84_000),
        ),
        ("aac.mp4", OutputSpec { span, ..wav.clone() }, Some(77_175)),
        ("clipped.wav", OutputSpec { sample_rate: rate, ..wav.clone() }, Some(32_000)),
    ] {
        let made = extract(name, output);
        check(name, &made, target);
        assert!(
            samples.is_none_or(|samples| samples == made.result.samples),
            "{name}: {}",
            made.result.samples
        );
        assert_eq!(made.host.probes.len(), 1, "{name}: probed once");
        let steps: Vec<Step> = made.host.steps.iter().map(|(step, _)| *step).collect();
        assert!(steps.contains(&Step::Analyzing) && steps.contains(&Step::Extracting), "{steps:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_left_as_it_is() {
    let short = Span::parse(Some(1.0), Some(1.399)).expect("a part");
    for (name, span) in [("silence.wav", Span::WHOLE), ("sound.wav", short)] {
        let plain = OutputSpec { span, ..spec(AudioFormat::Wav, Quality::Medium) };
        let made = extract(name, OutputSpec { normalize: Some(Loudness::default()), ..plain.clone() });
        assert_eq!(made.result.loudness, Some(LoudnessReport::Unmeasurable), "{name}");
        let read = |made: &Made| std::fs::read(made.file.path()).expect("a result to read");
        assert_eq!(read(&made), read(&extract(name, plain)), "{name}");
    }
}

#[test]
fn what_cannot_be_measured_is_copied_where_it_could_be_without() {
    let (_folder, silence) = remade("silence.mp3", "-i @silence.wav -c:a libmp3lame -b:a 64k");
    let asked = OutputSpec { normalize: Some(Loudness::default()), ..OutputSpec::plain(AudioFormat::Mp3) };
    let made = extract_file(&silence, asked).result;
    assert_eq!((made.method, made.loudness), (Method::Copy, Some(LoudnessReport::Unmeasurable)));
}
