//! Every container and codec in, every format out.

use testkit::samples::PLAYABLE;

use super::*;

/// The sound is the same and as long, judged by the ffmpeg command.
pub(super) fn check(name: &str, output: OutputSpec, codec: &str) {
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
