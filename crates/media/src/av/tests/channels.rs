//! Channels: kept where the format has an order for them, mixed where not, and never made up.

use domain::{Method, Span};

use super::copies::{exact, extract_file, remade};
use super::formats::check;
use super::*;

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

/// A second of this order of channels, a low tone of its own in each: of the lowest effects channel nothing else is left.
fn tones(path: &Path, layout: &str) {
    let channels = channels_of(layout);
    let tones: Vec<String> =
        (1..=channels).map(|tone| format!("0.1*sin(2*PI*{}*t)", 50 + 10 * tone)).collect();
    let sound = format!("aevalsrc=exprs={}:c={layout}:s=48000:d=1", tones.join("|"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &sound, "-c:a", "pcm_s24le"]);
    output_of(ffmpeg.arg(path));
}

/// How many channels the ffmpeg command counts in an order.
fn channels_of(layout: &str) -> usize {
    let text =
        String::from_utf8(output_of(Command::new("ffmpeg").args(["-v", "error", "-layouts"]))).expect("text");
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(layout)).expect("an order");
    line.trim().split('+').count()
}

#[test]
fn every_number_of_channels_finds_an_encoder() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.wav");
    for layout in ["mono", "stereo", "3.0", "4.0", "quad", "5.0", "5.1", "6.1", "7.1"] {
        tones(&path, layout);
        let channels = channels_of(layout) as u16;
        for format in AudioFormat::ALL {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let output = spec(format, Quality::Medium);
            let result = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
            let result = result.unwrap_or_else(|failure| panic!("{layout} to {format:?}: {failure}"));
            let expected = match (format, layout) {
                (AudioFormat::Mp3, _) => channels.min(2),
                // It has the one order of four, the others the other.
                (AudioFormat::Aac, "quad") => 2,
                (AudioFormat::Ogg | AudioFormat::Opus, "4.0") => 3,
                _ => channels,
            };
            assert_eq!(result.channels, expected, "{layout} to {format:?}");
            assert_eq!(probe(into.path()).2, expected, "{layout} to {format:?}, by ffprobe");
        }
    }
}

/// The highest sample of each channel, as the ffmpeg command decodes them.
fn peaks(path: &Path, channels: usize) -> Vec<f32> {
    let mut peaks = vec![0.0_f32; channels];
    for (at, sample) in exact(path).chunks_exact(4).enumerate() {
        let sample = f32::from_le_bytes(sample.try_into().expect("four bytes"));
        peaks[at % channels] = peaks[at % channels].max(sample.abs());
    }
    peaks
}

#[test]
fn no_channel_is_made_up_where_a_format_has_not_the_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.wav");
    for (layout, of_aac, of_others) in [
        ("2.1", 2, 2),
        ("3.0(back)", 2, 2),
        ("3.1", 3, 3),
        ("4.0", 4, 3),
        ("quad", 2, 4),
        ("quad(side)", 2, 4),
        ("4.1", 4, 3),
        ("5.0(side)", 5, 5),
        ("5.1(side)", 6, 6),
        ("6.0", 5, 5),
        ("6.0(front)", 2, 4),
        ("hexagonal", 5, 5),
        ("6.1(back)", 6, 6),
        ("6.1(front)", 2, 4),
        ("7.0", 5, 5),
        ("7.1(wide)", 6, 6),
        ("7.1(wide-side)", 6, 6),
        ("octagonal", 5, 5),
    ] {
        tones(&path, layout);
        for (format, expected) in
            [(AudioFormat::Aac, of_aac), (AudioFormat::Opus, of_others), (AudioFormat::Ogg, of_others)]
        {
            let made = extract_file(&path, spec(format, Quality::Medium));
            assert_eq!(usize::from(made.result.channels), expected, "{layout} to {format:?}");
            let peaks = peaks(made.file.path(), expected);
            let least = peaks.iter().copied().fold(1.0, f32::min);
            assert!(least > 0.02, "{layout} to {format:?}: a channel of {peaks:?} is silent");
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
    for layout in [
        "2.1",
        "3.0",
        "4.0",
        "3.1",
        "4.1",
        "5.0(side)",
        "5.1",
        "5.1(side)",
        "hexagonal",
        "6.1(front)",
        "7.1(wide)",
    ] {
        tones(&path, layout);
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
fn a_copy_keeps_the_order_of_channels() {
    let folder = tempfile::tempdir().expect("a folder");
    let wav = folder.path().join("source.wav");
    for layout in ["2.1", "4.1", "5.1(side)", "hexagonal", "7.1(wide)"] {
        tones(&wav, layout);
        let (_folder, flac) = remade("source.flac", &format!("-i {} -c:a flac", wav.display()));
        for (path, format) in [(&wav, AudioFormat::Wav), (&flac, AudioFormat::Flac)] {
            let made = extract_file(path, spec(format, Quality::Extreme));
            assert_eq!(made.result.method, Method::Copy, "{layout} in {format:?}");
            assert_eq!(order(path), order(made.file.path()), "{layout} in {format:?}");
            assert!(exact(path) == exact(made.file.path()), "{layout} in {format:?}: other samples");
        }
    }
}
