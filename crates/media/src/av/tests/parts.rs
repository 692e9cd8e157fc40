//! The track, the part, the channels and the rate that were asked for, and nothing else.

use domain::{ChannelCount, FailureCode, SampleRate, Span, TrackChoice};

use super::*;

pub(super) fn part(format: AudioFormat, start_secs: f64, end_secs: Option<f64>) -> OutputSpec {
    OutputSpec { span: Span { start_secs, end_secs }, ..OutputSpec::plain(format) }
}

/// The samples of a WAVE that we made.
pub(super) fn pcm(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).expect("a result");
    let data = bytes.windows(4).position(|name| name == b"data").expect("a data chunk");
    bytes[data + 8..].to_vec()
}

/// The samples of a sample, as ffmpeg decodes them.
pub(super) fn referee(name: &str, arguments: &[&str]) -> Vec<u8> {
    referee_of(&sample(name), arguments)
}

/// The same of a file.
pub(super) fn referee_of(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path).args(arguments);
    output_of(ffmpeg.args(["-c:a", "pcm_s16le", "-f", "s16le", "-"]))
}

/// Parts of 6 s: from the middle, to the end, beyond it, from the very first, of less than a frame.
const PARTS: [(f64, Option<f64>); 6] = [
    (1.234_567, Some(3.456_789)),
    (4.9, None),
    (5.5, Some(60.0)),
    (0.0, Some(0.75)),
    (2.0, Some(2.001)),
    (3.000_01, Some(3.000_04)),
];

#[test]
fn a_part_holds_the_very_samples_of_the_whole() {
    for (name, rate) in [
        ("pcm16.mov", 48_000),
        ("sound.wav", 48_000),
        ("flac.mkv", 44_100),
        ("sound.flac", 48_000),
        ("alac.mp4", 44_100),
        ("aac.mp4", 44_100),
        ("sound.mp3", 44_100),
        ("opus.mkv", 48_000),
        ("aac.ts", 48_000),
    ] {
        let whole = extract(name, OutputSpec::plain(AudioFormat::Wav));
        let samples = whole.result.samples;
        let whole = pcm(whole.file.path());
        for (start, end) in PARTS {
            let made = extract(name, part(AudioFormat::Wav, start, end));
            let first = (start * f64::from(rate)).round() as usize;
            let count = end.map_or(usize::MAX, |end| ((end - start) * f64::from(rate)).round() as usize);
            let expected = count.min(samples as usize - first);
            assert_eq!(made.result.samples as usize, expected, "{name} from {start} to {end:?}");
            let is_same = pcm(made.file.path()) == whole[first * 4..(first + expected) * 4];
            assert!(is_same, "{name} from {start} to {end:?}");
        }
    }
}

#[test]
fn a_part_in_every_format_is_as_long_as_its_ends_are_apart() {
    for format in AudioFormat::ALL.into_iter().filter(|format| *format != AudioFormat::Aac) {
        let made = extract("aac.mp4", part(format, 1.5, Some(2.75)));
        let rate = f64::from(made.result.sample_rate);
        assert_eq!(made.result.samples, (1.25 * rate) as u64, "{format:?}");
        assert_eq!(decoded(made.file.path()).len(), (1.25 * rate) as usize, "{format:?}, decoded");
    }
}

#[test]
fn a_part_of_what_is_silent_or_missing_is_silence() {
    let late = extract("late.mkv", part(AudioFormat::Wav, 0.25, Some(1.25)));
    let samples = decoded(late.file.path());
    assert_eq!(samples.len(), 48_000);
    assert!(samples[..36_000].iter().all(|sample| *sample == 0), "the sound begins at 1 s");
    assert!(samples[36_000..].iter().any(|sample| *sample != 0), "and is there from then on");
    let hole = extract("hole.mkv", part(AudioFormat::Wav, 2.25, Some(2.75)));
    let samples = decoded(hole.file.path());
    assert!(samples.len() == 24_000 && samples.iter().all(|sample| *sample == 0));
}

#[test]
fn nothing_is_read_after_a_part_and_progress_is_of_it() {
    let whole = extract("pcm.mkv", part(AudioFormat::Wav, 0.0, None));
    let made = extract("pcm.mkv", part(AudioFormat::Wav, 0.5, Some(1.0)));
    assert!(made.host.bytes_read() * 2 < whole.host.bytes_read(), "{} bytes", made.host.bytes_read());
    let fractions: Vec<f64> = made.host.steps.iter().filter_map(|(_, fraction)| *fraction).collect();
    assert!(fractions.is_sorted() && fractions.iter().all(|fraction| *fraction <= 1.0), "{fractions:?}");
}

#[test]
fn a_part_after_the_end_fails_with_the_length() {
    for name in ["aac.mp4", "opus.mkv", "sound.mp3", "sound.wav"] {
        let failure = try_extract(name, part(AudioFormat::Mp3, 6.5, Some(7.0)), AvLimits::default());
        let failure = failure.err().unwrap_or_else(|| panic!("{name}: there is nothing at 6.5 s")).public;
        assert_eq!(failure.code, FailureCode::ExtractionFailed, "{name}");
        let details = failure.details.unwrap_or_default();
        assert!(details.starts_with("starts at 6.500 s, and the audio is 6.0"), "{name}: {details}");
    }
}

#[test]
fn a_track_is_chosen_by_number_and_by_language() {
    let chosen = |track: TrackChoice| {
        let asked = OutputSpec { track: Some(track), ..OutputSpec::plain(AudioFormat::Wav) };
        extract("tracks.mkv", asked).file
    };
    let language = |tag: &str| TrackChoice::language(tag).expect("a language");
    for (track, number) in [
        (TrackChoice::Index(0), 0),
        (TrackChoice::Index(2), 2),
        (language("en"), 0),
        (language("de"), 1),
        (language("deu"), 1),
        (language("fr-CA"), 2),
    ] {
        let expected = referee("tracks.mkv", &["-map", &format!("0:a:{number}")]);
        let got = pcm(chosen(track.clone()).path());
        assert!(got == expected, "{track:?} is not track {number}");
    }
    let asked = OutputSpec { track: Some(TrackChoice::Index(3)), ..OutputSpec::plain(AudioFormat::Wav) };
    let failure = try_extract("tracks.mkv", asked, AvLimits::default()).err().expect("three tracks").public;
    assert_eq!(
        failure.details.as_deref(),
        Some(
            "the audio tracks are 0: flac, eng, 2 channels; 1: flac, ger, 2 channels; 2: flac, fre, 1 channel"
        )
    );
}

#[test]
fn a_rate_gives_the_nearest_number_of_samples() {
    for (name, format, hz, span, expected) in [
        ("sound.wav", AudioFormat::Wav, 16_000, Span::WHOLE, 96_000),
        ("sound.wav", AudioFormat::Wav, 44_100, Span::WHOLE, 264_600),
        ("sound.wav", AudioFormat::Wav, 11_025, Span { start_secs: 0.0, end_secs: Some(0.005) }, 55),
        ("cd.wav", AudioFormat::Wav, 48_000, Span { start_secs: 1.0, end_secs: Some(1.005) }, 240),
        ("cd.wav", AudioFormat::Flac, 192_000, Span { start_secs: 1.0, end_secs: Some(2.001) }, 192_192),
        ("cd.wav", AudioFormat::Opus, 16_000, Span::WHOLE, 96_000),
        ("cd.wav", AudioFormat::Mp3, 22_050, Span::WHOLE, 132_300),
    ] {
        let sample_rate = Some(SampleRate::parse(hz, format).expect("a rate"));
        let made = extract(name, OutputSpec { sample_rate, span, ..OutputSpec::plain(format) });
        assert_eq!((made.result.sample_rate, made.result.samples), (hz.try_into().expect("Hz"), expected));
        if format != AudioFormat::Opus {
            assert_eq!(decoded(made.file.path()).len() as u64, expected, "{name} at {hz} Hz, decoded");
        }
    }
}

/// 5.1 in order: left, right, centre, LFE, left and right surround. ITU-R BS.775-3, table 2, then scaled so that full
/// scale in every channel is full scale.
#[test]
fn surround_is_mixed_by_bs_775_and_never_clips() {
    const HALF_POWER: f64 = std::f64::consts::FRAC_1_SQRT_2;
    let to_left = [1.0, 0.0, HALF_POWER, 0.0, HALF_POWER, 0.0];
    let to_right = [0.0, 1.0, HALF_POWER, 0.0, 0.0, HALF_POWER];
    let to_mono = [HALF_POWER, HALF_POWER, 1.0, 0.0, 0.5, 0.5];
    let folder = tempfile::tempdir().expect("a folder");
    let levels = |channel: usize, value: i32| -> [i32; 6] {
        let mut levels = [0; 6];
        levels[channel] = value;
        levels
    };
    let mut cases: Vec<[i32; 6]> = (0..6).map(|channel| levels(channel, 20_000)).collect();
    cases.extend([[32_767; 6], [-32_768; 6]]);
    for (number, levels) in cases.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.wav"));
        steady(&path, levels);
        for (channels, rows) in
            [(ChannelCount::Stereo, vec![to_left, to_right]), (ChannelCount::Mono, vec![to_mono])]
        {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let asked = OutputSpec { channels: Some(channels), ..OutputSpec::plain(AudioFormat::Wav) };
            let result = run(&mut FileHost::open(&path), asked, AvLimits::default(), into.path());
            assert_eq!(result.expect("mixed").channels, channels.get());
            let scale = rows.iter().map(|row| row.iter().sum::<f64>()).fold(0.0, f64::max);
            let got = pcm(into.path());
            let sample = |at: usize| f64::from(i16::from_le_bytes([got[at * 2], got[at * 2 + 1]]));
            for (at, row) in rows.iter().enumerate() {
                let sum: f64 = row.iter().zip(levels).map(|(share, level)| share * f64::from(level)).sum();
                let (sample, expected) = (sample(1000 * rows.len() + at), sum / scale);
                assert!(
                    (sample - expected).abs() <= 1.5,
                    "{levels:?} to {channels:?}: {sample} for {expected}"
                );
            }
        }
    }
}

/// A 5.1 WAVE in which each channel keeps one value.
fn steady(path: &Path, levels: [i32; 6]) {
    let mut bytes = Vec::new();
    for _ in 0..4800 {
        bytes.extend(levels.iter().flat_map(|level| (*level as i16).to_le_bytes()));
    }
    let raw = path.with_extension("raw");
    std::fs::write(&raw, bytes).expect("written");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-v",
        "error",
        "-nostdin",
        "-f",
        "s16le",
        "-ar",
        "48000",
        "-channel_layout",
        "5.1",
        "-ac",
        "6",
    ]);
    output_of(ffmpeg.arg("-i").arg(raw).arg(path));
}

#[test]
fn a_mono_source_stays_mono_and_stereo_becomes_the_mean() {
    let asked = |channels| OutputSpec { channels: Some(channels), ..OutputSpec::plain(AudioFormat::Wav) };
    assert_eq!(extract("mono.m4a", asked(ChannelCount::Stereo)).result.channels, 1);
    let mixed = pcm(extract("sound.wav", asked(ChannelCount::Mono)).file.path());
    let mean = referee("sound.wav", &["-af", "pan=mono|c0=0.5*c0+0.5*c1"]);
    let samples = |bytes: &[u8]| -> Vec<i16> {
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    };
    let (mixed, mean) = (samples(&mixed), samples(&mean));
    assert_eq!(mixed.len(), mean.len());
    assert!(mixed.iter().zip(&mean).all(|(one, other)| one.abs_diff(*other) <= 1));
}
