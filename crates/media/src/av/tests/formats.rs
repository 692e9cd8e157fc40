//! Every container and codec in, every format out.

use domain::Span;
use testkit::samples::PLAYABLE;

use super::copies::exact;
use super::*;

/// The sound is the same and as long, judged by the ffmpeg command.
fn check(name: &str, output: OutputSpec, codec: &str) {
    let made = extract(name, output);
    let (given, got) = (heard(&sample(name)), heard(made.file.path()));
    assert_eq!(got.codec, codec, "{name}");
    assert_eq!((got.rate, got.channels), (made.result.sample_rate, made.result.channels), "{name}");
    let (given, got) = (given.secs, got.secs);
    assert!((given - got).abs() < 0.05, "{name} to {codec}: {got:.3} s of {given:.3} s");
    let said = made.result.duration_secs();
    assert!((given - said).abs() < 0.05, "{name} to {codec}: says {said:.3} s of {given:.3} s");
    assert_eq!(made.host.probes.len(), 1, "{name}: probed once");
}

fn check_share(part: usize, of: usize) {
    for name in PLAYABLE.iter().skip(part).step_by(of) {
        check(name, spec(AudioFormat::Wav, Quality::Medium), "pcm_s16le");
    }
}

#[test]
fn every_container_to_wav_one() {
    check_share(0, 3);
}

#[test]
fn every_container_to_wav_two() {
    check_share(1, 3);
}

#[test]
fn every_container_to_wav_three() {
    check_share(2, 3);
}

#[test]
fn every_format_at_every_quality() {
    for (format, codec) in [
        (AudioFormat::Mp3, "mp3"),
        (AudioFormat::Aac, "aac"),
        (AudioFormat::Flac, "flac"),
        (AudioFormat::Wav, "pcm_s24le"),
        (AudioFormat::Ogg, "vorbis"),
        (AudioFormat::Opus, "opus"),
    ] {
        for quality in Quality::ALL {
            let is_shallow = matches!(quality, Quality::Low | Quality::Medium);
            let codec = if format == AudioFormat::Wav && is_shallow { "pcm_s16le" } else { codec };
            check("aac.mp4", spec(format, quality), codec);
        }
    }
}

#[test]
fn surround_stays_where_the_format_has_it() {
    for (format, codec, channels) in [
        (AudioFormat::Mp3, "mp3", 2),
        (AudioFormat::Aac, "aac", 6),
        (AudioFormat::Flac, "flac", 6),
        (AudioFormat::Wav, "pcm_s16le", 6),
        (AudioFormat::Ogg, "vorbis", 6),
        (AudioFormat::Opus, "opus", 6),
    ] {
        check("surround.mkv", spec(format, Quality::Medium), codec);
        assert_eq!(
            extract("surround.mkv", spec(format, Quality::Medium)).result.channels,
            channels,
            "{format:?}"
        );
    }
}

#[test]
fn every_number_of_channels_finds_an_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    for channels in 1..=8u16 {
        let path = folder.path().join(format!("{channels}.wav"));
        let source = format!("anoisesrc=d=1:a=0.1,aformat=channel_layouts={channels}c");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &source]);
        output_of(ffmpeg.args(["-ac", &channels.to_string()]).arg(&path));
        for format in AudioFormat::ALL {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let output = spec(format, Quality::Medium);
            let result = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
            let result =
                result.unwrap_or_else(|failure| panic!("{channels} channels to {format:?}: {failure}"));
            let expected = if format == AudioFormat::Mp3 { channels.min(2) } else { channels };
            assert_eq!(result.channels, expected, "{channels} channels to {format:?}");
            assert_eq!(probe(into.path()).2, expected, "{channels} channels to {format:?}, by ffprobe");
        }
    }
}

/// What ffprobe says of the order of channels.
fn order(path: &Path) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=channel_layout", "-of", "csv=p=0"]);
    String::from_utf8(output_of(ffprobe.arg(path))).expect("text").trim().to_owned()
}

#[test]
fn any_order_of_channels_is_lossless_in_flac_and_wav() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.wav");
    let tones: Vec<String> = (1..=8).map(|tone| format!("0.1*sin(2*PI*{tone}00*t)")).collect();
    for (layout, channels) in [
        ("2.1", 3),
        ("3.0", 3),
        ("4.0", 4),
        ("3.1", 4),
        ("4.1", 5),
        ("5.0(side)", 5),
        ("5.1", 6),
        ("5.1(side)", 6),
        ("hexagonal", 6),
        ("6.1(front)", 7),
        ("7.1(wide)", 8),
    ] {
        let sound = format!("aevalsrc=exprs={}:c={layout}:s=48000:d=1", tones[..channels].join("|"));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &sound, "-c:a", "pcm_s24le"]);
        output_of(ffmpeg.arg(&path));
        for (format, encoder_threads) in
            [(AudioFormat::Flac, 1), (AudioFormat::Flac, 2), (AudioFormat::Wav, 1)]
        {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            // What is as deep as the source is copied to wav, so that a part is asked for.
            let whole = spec(format, Quality::Extreme);
            let part = Span { start_secs: 0.0, end_secs: Some(2.0) };
            let limits = AvLimits { encoder_threads, ..AvLimits::default() };
            let made =
                run(&mut FileHost::open(&path), OutputSpec { span: part, ..whole }, limits, into.path());
            made.unwrap_or_else(|failure| panic!("{layout} to {format:?}: {failure}"));
            let same = exact(&path) == exact(into.path());
            assert!(same, "{layout} to {format:?} on {encoder_threads} threads: other samples");
            assert_eq!(order(&path), order(into.path()), "{layout} to {format:?}");
        }
    }
}

#[test]
fn a_bitrate_that_was_asked_for_is_kept() {
    for (output, said) in [
        (at_bitrate(AudioFormat::Mp3, "160k"), Some(160)),
        (at_bitrate(AudioFormat::Aac, "160k"), Some(160)),
        (at_bitrate(AudioFormat::Opus, "160k"), Some(160)),
        (at_bitrate(AudioFormat::Ogg, "160k"), None),
    ] {
        let made = extract("pcm16.mov", output.clone());
        assert_eq!(made.result.constant_kbps, said, "{output:?}");
        let kbps = made.result.size as f64 * 8.0 / made.result.duration_secs() / 1000.0;
        assert!((120.0..=180.0).contains(&kbps), "{output:?} took {kbps:.0} kbit/s");
    }
    // What libvorbis does not take at 44.1 kHz becomes the nearest that it does.
    for bitrate in ["48k", "480k"] {
        extract("cd.wav", at_bitrate(AudioFormat::Ogg, bitrate));
    }
}

#[test]
fn lossless_results_hold_the_very_samples() {
    for (name, format, quality) in [
        ("pcm16.mov", AudioFormat::Wav, Quality::Medium),
        ("flac.mkv", AudioFormat::Flac, Quality::Medium),
        ("pcm24.mov", AudioFormat::Flac, Quality::High),
        ("sound24.flac", AudioFormat::Wav, Quality::Extreme),
    ] {
        let made = extract(name, spec(format, quality));
        let md5 = |path: &Path| {
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path);
            output_of(ffmpeg.args(["-map", "0:a:0", "-c:a", "pcm_s32le", "-f", "md5", "-"]))
        };
        assert_eq!(md5(&sample(name)), md5(made.file.path()), "{name} to {format:?}");
    }
}

#[test]
fn containers_have_their_names_and_durations() {
    for (name, format) in [
        ("aac.mp4", "mp4"),
        ("aac.mov", "mov"),
        ("aac.mkv", "mkv"),
        ("opus.webm", "webm"),
        ("mp3.avi", "avi"),
        ("aac.flv", "flv"),
        ("aac.ts", "ts"),
        ("wma.wmv", "asf"),
        ("sound.mp3", "mp3"),
        ("sound.opus", "ogg"),
    ] {
        let made = extract(name, spec(AudioFormat::Wav, Quality::Low));
        let probe = &made.host.probes[0];
        assert_eq!(probe.format, format, "{name}");
        let secs = probe.duration_secs.unwrap_or_else(|| panic!("{name} has no duration"));
        assert!((secs - 6.0).abs() < 0.3, "{name}: {secs} s");
    }
}

#[test]
fn only_the_sound_is_read_where_there_is_an_index() {
    let mut made = extract("faststart.mp4", spec(AudioFormat::Wav, Quality::Low));
    assert!(!made.host.planned.is_empty(), "nothing was planned");
    let planned: u64 = made.host.planned.iter().map(|range| range.end - range.start).sum();
    let whole = made.host.size().expect("a size");
    assert!(planned * 2 < whole, "{planned} of {whole} bytes are sound");
    let read = made.host.bytes_read();
    assert!(read < planned + (256 << 10), "{read} bytes were read for {planned} of sound");
}
