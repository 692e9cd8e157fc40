//! What cannot be extracted, and what it is said to be.

use domain::{FailureCode, Retry};

use super::copies::remade;
use super::damage::packets;
use super::*;

#[test]
fn bad_files_fail_by_name() {
    use FailureCode::{ExtractionFailed, InvalidVideo};
    for (name, code, details) in [
        ("page.mp4", InvalidVideo, "no known video or audio format"),
        ("empty.mp4", InvalidVideo, "it is empty"),
        ("noise.mp4", InvalidVideo, ""),
        ("concat.mp4", InvalidVideo, "`concat`, which is not taken"),
        ("playlist.mp4", InvalidVideo, "`hls"),
        ("no-audio.mp4", ExtractionFailed, "has no audio track; it has 1 video stream (h264)"),
        ("unknown-codec.mp4", ExtractionFailed, "no decoder for zzzz"),
        ("encrypted.mp4", ExtractionFailed, "the audio (aac) is encrypted"),
        ("truncated-faststart.mp4", InvalidVideo, "ends after 3."),
        ("truncated-fragmented.mp4", InvalidVideo, "ends after"),
        ("truncated-aac.mp4", InvalidVideo, "within its `mdat` box and before its index"),
        ("truncated-pcm16.mov", InvalidVideo, "within its `mdat` box and before its index"),
        ("truncated-aac.mkv", InvalidVideo, "s of 6.0 s"),
        ("truncated-opus.webm", InvalidVideo, "s of 6.0 s"),
        ("truncated-mp3.avi", InvalidVideo, "s of 6.0 s"),
        ("truncated-aac.flv", InvalidVideo, "s of 6.0 s"),
        ("truncated-wma.wmv", InvalidVideo, "ends after"),
        ("truncated-sound.wav", InvalidVideo, "ends after 3.6 s of 6.0 s"),
        ("truncated-sound.flac", InvalidVideo, "s of 6.0 s"),
        ("truncated-sound.mp3", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.avi", InvalidVideo, "s of 6.0 s"),
        ("truncated-mp3.flv", InvalidVideo, "s of 6.0 s"),
        ("truncated-sound.wma", InvalidVideo, "s of 6.0 s"),
        ("truncated-vorbis.webm", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.w64", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.aiff", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.au", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.caf", InvalidVideo, "s of 6.0 s"),
        ("truncated-pcm.mxf", InvalidVideo, "s of 6.0 s"),
        ("truncated-sound.wv", InvalidVideo, "s of 6.0 s"),
    ] {
        let Err(failure) = try_extract(name, spec(AudioFormat::Wav, Quality::Low), AvLimits::default())
        else {
            panic!("{name} was extracted");
        };
        let said = failure.public.details.clone().unwrap_or_default();
        assert_eq!((failure.public.code, failure.retry), (code, Retry::Never), "{name}: {failure}");
        assert!(said.contains(details), "{name} says: {failure}");
    }
}

/// A minute of sound, and where its last packets begin.
fn minute(name: &str, codec: &str) -> (tempfile::TempDir, std::path::PathBuf, Vec<usize>) {
    let (folder, path) =
        remade(name, &format!("-stream_loop 9 -i @cd.wav -ac 1 -ar 16000 -map_metadata -1 -c:a {codec}"));
    let begins = packets(&path).into_iter().map(|(at, _)| at).collect();
    (folder, path, begins)
}

/// Containers whose headers count what there is.
const COUNTED: [(&str, &str); 11] = [
    ("minute.mp3", "libmp3lame -b:a 64k"),
    ("minute.flac", "flac"),
    ("minute.wv", "wavpack"),
    ("minute.aiff", "pcm_s16be"),
    ("minute.au", "pcm_s16be"),
    ("minute.wav", "pcm_s16le"),
    ("large.wav", "pcm_s16le -rf64 always"),
    ("minute.w64", "pcm_s16le"),
    ("minute.caf", "pcm_s16be"),
    ("minute.mkv", "libopus -b:a 64k"),
    ("minute.m4a", "aac -b:a 64k -movflags +faststart"),
];

#[test]
fn three_packets_of_a_minute_may_not_be_missing_at_its_end() {
    for (name, codec) in COUNTED {
        let (_folder, path, begins) = minute(name, codec);
        let whole = std::fs::read(&path).expect("a file");
        let own = match name {
            "minute.mp3" => AudioFormat::Mp3,
            "minute.flac" => AudioFormat::Flac,
            "minute.mkv" => AudioFormat::Opus,
            "minute.m4a" => AudioFormat::Aac,
            _ => AudioFormat::Wav,
        };
        // Before the third packet from the end, and within it.
        for more in [0, 40] {
            let end = begins[begins.len() - 3] + more;
            std::fs::write(&path, &whole[..end]).expect("written");
            for format in [AudioFormat::Flac, own] {
                let into = tempfile::NamedTempFile::new().expect("a result's file");
                let output = OutputSpec::plain(format);
                let made = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
                let failure = made.expect_err(name);
                assert_eq!(failure.public.code, FailureCode::InvalidVideo, "{name}: {failure}");
                let said = failure.public.details.unwrap_or_default();
                let (at, of) = said.split_once(" s of ").unwrap_or_else(|| panic!("{name} says: {said}"));
                let secs = |text: &str| -> f64 {
                    text.trim_start_matches("ends after ").trim_end_matches(" s").parse().expect("seconds")
                };
                let missing = secs(of) - secs(at);
                // Packets of wavpack are long.
                let most = if name == "minute.wv" { 15.0 } else { 0.5 };
                assert!((60.0..60.2).contains(&secs(of)), "{name} says: {said}");
                assert!((0.01..most).contains(&missing), "{name} says: {said}");
            }
        }
    }
}

#[test]
fn a_fragment_that_is_listed_may_not_be_missing() {
    let whole = std::fs::read(sample("listed.mp4")).expect("a sample");
    let last = whole.windows(4).rposition(|name| name == b"moof").expect("fragments") - 4;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.mp4");
    for end in [last, last + 20] {
        std::fs::write(&path, &whole[..end]).expect("written");
        for format in [AudioFormat::Wav, AudioFormat::Aac] {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let output = OutputSpec::plain(format);
            let made = run(&mut FileHost::open(&path), output, AvLimits::default(), into.path());
            let said = made.expect_err("its end is missing").public.details.unwrap_or_default();
            assert!(said.starts_with("ends after 5.") && said.contains(" of 6.0"), "{said}");
        }
    }
}

#[test]
fn what_is_damaged_inside_is_no_end() {
    for (name, codec) in COUNTED {
        let (_folder, path, begins) = minute(name, codec);
        let mut bytes = std::fs::read(&path).expect("a file");
        // Heads and all, but for WavPack's, without which libav finds no other.
        let head = if name == "minute.wv" { 32 } else { 0 };
        let last = begins.len() - 1;
        for at in [3, last / 3, last / 2, last].map(|at| begins[at] + head) {
            let end = bytes.len().min(at + 60);
            bytes[at..end].fill(0xff);
        }
        std::fs::write(&path, &bytes).expect("written");
        let into = tempfile::NamedTempFile::new().expect("a result's file");
        let output = OutputSpec::plain(AudioFormat::Wav);
        let limits = AvLimits { max_damaged_percent: 40, ..AvLimits::default() };
        let made = run(&mut FileHost::open(&path), output, limits, into.path());
        let made = made.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let least = if name == "minute.wv" { 40.0 } else { 59.6 };
        assert!(made.duration_secs() > least, "{name}: {} s", made.duration_secs());
    }
}

#[test]
fn limits_are_counted() {
    let wav = || spec(AudioFormat::Wav, Quality::Low);
    let samples = AvLimits { max_decoded_samples: 100_000, ..AvLimits::default() };
    let bytes = AvLimits { max_output_bytes: 100_000, ..AvLimits::default() };
    let streams = AvLimits { max_streams: 1, ..AvLimits::default() };
    for (limits, code, details) in [
        (samples, FailureCode::ExtractionFailed, "more than 100000 samples"),
        (bytes, FailureCode::ExtractionFailed, "larger than allowed"),
        (streams, FailureCode::ExtractionFailed, "more than 1 streams"),
    ] {
        let Err(failure) = try_extract("aac.mp4", wav(), limits.clone()) else {
            panic!("{limits:?} was passed")
        };
        assert_eq!((failure.public.code, failure.retry), (code, Retry::Never), "{limits:?}: {failure}");
        assert!(failure.public.details.unwrap_or_default().contains(details), "{limits:?}");
    }
}

#[test]
fn a_host_that_goes_away_ends_it_at_once() {
    for name in ["faststart.mp4", "aac.mp4", "aac.mkv", "mp3.avi", "aac.ts", "sound.mp3"] {
        let whole = extract(name, spec(AudioFormat::Wav, Quality::Low)).host.read.len();
        for reads_left in 0..whole {
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let mut host = FileHost { reads_left, ..FileHost::open(&sample(name)) };
            let output = spec(AudioFormat::Wav, Quality::Low);
            let failure =
                run(&mut host, output, AvLimits::default(), into.path()).expect_err("the host went");
            assert_eq!(failure.retry, Retry::Worthwhile, "{name} after {reads_left} reads: {failure}");
            assert!(host.read.len() <= reads_left, "{name}: read on after {reads_left} reads");
        }
    }
}

#[test]
fn what_does_not_say_its_length_ends_where_it_ends() {
    for name in [
        "aac.ts",
        "mp2.ts",
        "mp2.mpg",
        "sound.aac",
        "sound.latm",
        "sound.ogg",
        "sound.opus",
        "flac.ogg",
        "sound.ac3",
        "sound.eac3",
        "sound.dts",
    ] {
        let made = extract(&format!("truncated-{name}"), spec(AudioFormat::Wav, Quality::Low)).result;
        // 60 % of the bytes, which is not quite 60 % of the time.
        assert!((2.5..4.5).contains(&made.duration_secs()), "{name}: {} s", made.duration_secs());
    }
}
