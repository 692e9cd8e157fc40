//! The right number of samples, in the right place.

use domain::Method;

use super::copies::{extract_file, remade};
use super::parts::{part, pcm, referee};
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
fn a_packet_that_is_lost_is_silence_where_the_clock_counts_samples() {
    let dropped = "-i @{} -c copy -bsf:a noise=drop=eq(n\\,100)+eq(n\\,101)+eq(n\\,150)";
    for (name, source) in [("lost.mp4", "sound.m4a"), ("lost.mov", "alac.mp4"), ("lost.mp4", "mp3.mp4")] {
        let (_folder, path) = remade(name, &format!("{} -vn", dropped.replace("{}", source)));
        let (whole, made) = (wav(source), extract_file(&path, spec(AudioFormat::Wav, Quality::Medium)));
        assert_eq!(made.result.samples, whole.result.samples, "{source}");
        let (got, expected) = (decoded(made.file.path()), decoded(whole.file.path()));
        // Behind the last that is lost.
        let (got, expected) = (&got[100_000..], &expected[100_000..]);
        assert_eq!(shift(got, expected), 0, "{source}");
        // A decoder of aac makes up noise as it goes.
        let is_same = got[100_000..] == expected[100_000..];
        assert!(is_same || source == "sound.m4a", "{source}: other samples");
    }
}

/// Writes `to` where `from` stands last, and over what follows.
pub(super) fn overwrite(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = std::fs::read(path).expect("a file");
    let at = bytes.windows(from.len()).rposition(|window| window == from).expect("what is to be replaced");
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(path, bytes).expect("written");
}

/// How many samples later the same sound is heard in `later`.
fn shift(later: &[i16], sooner: &[i16]) -> usize {
    const FROM: usize = 100_000;
    let sound = &sooner[FROM..FROM + 2048];
    let likeness = |shift: &usize| -> i64 {
        let moved = &later[FROM + shift..];
        sound.iter().zip(moved).map(|(one, other)| i64::from(*one) * i64::from(*other)).sum()
    };
    (0..12_000).max_by_key(likeness).expect("shifts")
}

/// An mp4's tag with iTunes' mark, without the size: 1024 samples before the sound, so many behind it, and so many of it.
pub(super) fn itunes_mark(behind: u64, sound: u64) -> Vec<u8> {
    let atom = |name: &str, body: &str| {
        let size = u32::try_from(8 + body.len()).expect("a size");
        [&size.to_be_bytes(), name.as_bytes(), body.as_bytes()].concat()
    };
    let text = format!(" 00000000 00000400 {behind:08X} {sound:016X}");
    [
        b"----".to_vec(),
        atom("mean", "\0\0\0\0com.apple.iTunes"),
        atom("name", "\0\0\0\0iTunSMPB"),
        atom("data", &format!("\0\0\0\x01\0\0\0\0{text}")),
    ]
    .concat()
}

/// Has ffmpeg leave room for it, as a comment of its size, head and all, and no edit list.
pub(super) fn room_for(mark: &[u8]) -> String {
    format!("-use_editlist 0 -metadata comment={}", "x".repeat(mark.len() - 20))
}

/// Where that comment stands.
pub(super) const ROOM: &[u8] = b"\xa9cmt";

#[test]
fn what_the_container_says_of_the_edges_is_heeded_where_libav_does_not() {
    const SOUND: u64 = 264_600;
    /// Of silence, to fill the last frame.
    const FILL: u64 = 616;
    let mark = itunes_mark(FILL, SOUND);
    let room = room_for(&mark);
    let itunes = Some((ROOM, mark.as_slice()));
    let twice = format!("{room} -map 0 -map 0");
    let chapters = format!("{room} -map 1 -map_chapters 0 -map_metadata -1");
    let folder = tempfile::tempdir().expect("a folder");
    let said = folder.path().join("chapters.txt");
    std::fs::write(&said, ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=3000\ntitle=One\n")
        .expect("written");
    let chapters_from = format!("-i {}", said.display());
    let delay: &[u8] = b"\x56\xaa\x84\x01\x62\x4f\x13";
    for (name, before, after, patch, samples, late) in [
        ("plain.m4a", "", "-use_editlist 0", None, SOUND + 1024, 1024),
        ("itunes.m4a", "", &room, itunes, SOUND, 0),
        // libav heeds the mark in the last stream alone.
        ("twice.m4a", "", &twice, itunes, SOUND, 0),
        ("chapters.m4a", &chapters_from, &chapters, itunes, SOUND, 0),
        ("fragments.mp4", "", "-movflags +frag_keyframe+empty_moov+delay_moov", None, SOUND + FILL, 0),
        // The name of its language becomes a CodecDelay of 1024 samples, in nanoseconds.
        ("delay.mkv", "", "", Some((&b"\x22\xb5\x9c\x83und"[..], delay)), SOUND + FILL, 0),
        // 226 ms of nothing by its edit list, then all that there is, whose last frame is a short one.
        ("late.m4a", "-itsoffset 0.25", "", None, 9967 + 1024 + SOUND, 9967 + 1024),
    ] {
        let (_folder, path) = remade(name, &format!("{before} -i @cd.wav -c:a aac -b:a 256k {after}"));
        if let Some((from, to)) = patch {
            overwrite(&path, from, to);
        }
        let made = extract_file(&path, spec(AudioFormat::Wav, Quality::Medium));
        assert_eq!(made.result.samples, samples, "{name}");
        let shifted = shift(&decoded(made.file.path()), &decoded(&sample("cd.wav")));
        assert_eq!(shifted, late, "{name}");
    }
}

#[test]
fn padding_of_more_than_a_packet_is_cut_and_is_no_silence_either() {
    /// Less than the sound has, so that its last 1700 samples are padding too, and the last packet nothing else.
    const SOUND: u64 = 96_000 - 1700;
    let mark = itunes_mark(1956, SOUND);
    let (_folder, path) = remade("padded.m4a", &format!("-i @cd.wav -ar 16000 -c:a aac {}", room_for(&mark)));
    overwrite(&path, ROOM, &mark);
    let made = extract_file(&path, spec(AudioFormat::Wav, Quality::Medium));
    assert_eq!(made.result.samples, SOUND);
}

/// Sound whose container's clock tells its samples apart, made of `sound.flac`: a name, its encoder, the format of the
/// same codec, and how many ms late it may begin to be copied all the same. AAC's priming is heard then, and fills most.
const EXACT: [(&str, &str, AudioFormat, u64); 4] = [
    ("late.mov", "pcm_s16le", AudioFormat::Wav, 0),
    ("late.mp4", "flac -strict -2", AudioFormat::Flac, 0),
    ("late.m4a", "aac -b:a 256k -movie_timescale 48000", AudioFormat::Aac, 25),
    ("late.mp4", "libopus -movie_timescale 48000", AudioFormat::Opus, 20),
];
/// Of the samples that it is made of.
const SAMPLES_A_MS: u64 = 48;

fn late_by(ms: u64, name: &str, codec: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    remade(name, &format!("-itsoffset 0.{ms:03} -i @sound.flac -c:a {codec}"))
}

#[test]
fn a_start_that_is_late_by_an_exact_clock_is_silence_to_the_sample() {
    for (name, codec, own, _) in EXACT {
        for ms in [0, 5, 15, 25] {
            let late = ms * SAMPLES_A_MS;
            let (_folder, path) = late_by(ms, name, codec);
            let whole = extract_file(&path, spec(AudioFormat::Wav, Quality::Medium));
            assert_eq!(whole.result.samples, 288_000 + late, "{codec}, {ms} ms late");
            if !matches!(own, AudioFormat::Wav | AudioFormat::Flac) {
                let shifted = shift(&decoded(whole.file.path()), &decoded(&sample("sound.flac")));
                assert_eq!(shifted as u64, late, "{codec}, {ms} ms late");
                continue;
            }
            let whole = pcm(whole.file.path());
            let expected = referee("sound.flac", &["-af", &format!("adelay=delays={late}S:all=1")]);
            assert!(whole == expected, "{codec}, {ms} ms late: other samples");
            let cut = extract_file(&path, part(AudioFormat::Wav, 0.010, Some(1.0)));
            let is_same = pcm(cut.file.path()) == whole[480 * 4..48_000 * 4];
            assert!(is_same, "{codec}, {ms} ms late: another part");
        }
    }
}

#[test]
fn a_late_start_is_copied_only_where_the_format_keeps_it_to_a_sample_or_a_lossy_frame() {
    for (name, codec, own, most_ms) in EXACT {
        for ms in [0, 5, 15, 25] {
            let (_folder, path) = late_by(ms, name, codec);
            let made = extract_file(&path, OutputSpec::plain(own));
            let method = if ms <= most_ms { Method::Copy } else { Method::Encode };
            assert_eq!(made.result.method, method, "{codec}, {ms} ms late");
            let shifted = shift(&decoded(made.file.path()), &decoded(&sample("sound.flac")));
            let most = if most_ms > 0 { 1024 } else { 0 };
            let missed = (shifted as u64).abs_diff(ms * SAMPLES_A_MS);
            assert!(missed <= most, "{codec}, {ms} ms late: the copy is {shifted} samples late");
        }
    }
}

#[test]
fn what_a_decoder_leaves_out_and_what_a_coarse_clock_rounds_is_no_silence() {
    for (name, words) in [
        // No edit list says that Opus' first 312 samples are not to be heard.
        ("fragments.mp4", "-i @sound.flac -c:a libopus -movflags +frag_keyframe+empty_moov"),
        // Its clock counts milliseconds.
        ("late.mkv", "-i @picture.mp4 -itsoffset 0.015 -i @sound.flac -map 0 -map 1 -c copy"),
    ] {
        let (_folder, path) = remade(name, words);
        let made = extract_file(&path, spec(AudioFormat::Wav, Quality::Medium));
        let first = decoded(made.file.path()).iter().position(|sample| *sample != 0);
        assert!(first.is_some_and(|first| first < 240), "{name} begins with silence up to {first:?}");
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
