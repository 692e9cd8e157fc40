//! Clocks of broadcasts, which may jump: what the picture went through is silence, and nothing else.

use super::arriving::hear;
use super::copies::{extract_file, remade};
use super::*;

/// A picture of so many seconds that shows little, which is made quickly.
fn moving(secs: u32) -> String {
    format!("-f lavfi -i testsrc2=s=64x64:r=10:d={secs}")
}

/// Sound that is not there from 10 to 25 s.
const HOLE: &str = "-i @long.flv -map 0:v -map 1:a -af aselect=not(between(t\\,10\\,25)) -t 36";

#[test]
fn a_long_silence_is_one_in_a_broadcast_too() {
    // A hole and a late start, through which the picture goes on.
    for (name, words, silence) in [
        ("hole.ts", &format!("{} {HOLE} -c:v mpeg2video -c:a libmp3lame -f mpegts", moving(36)), 10.2..24.8),
        ("hole.mpg", &format!("{} {HOLE} -c:v mpeg2video -c:a mp2 -f mpeg", moving(36)), 10.2..24.8),
        (
            "late.ts",
            &format!(
                "{} -itsoffset 12 -i @long.flv -map 0:v -map 1:a -t 36 -c:v mpeg2video -c:a libmp3lame",
                moving(36)
            ),
            0.0..11.8,
        ),
    ] {
        let (_folder, path) = remade(name, words);
        // What is not there cannot be copied either.
        for format in [AudioFormat::Wav, AudioFormat::Mp3] {
            let made = made(&path, format);
            let secs = made.result.duration_secs();
            assert!((secs - 36.0).abs() < 0.1, "{name}: {secs:.3} s, and the picture has 36");
            let got = decoded(made.file.path());
            let at = |secs: f64| (secs * f64::from(made.result.sample_rate)) as usize;
            let loudest =
                got[at(silence.start)..at(silence.end)].iter().map(|sample| sample.unsigned_abs()).max();
            assert!(loudest < Some(10), "{name}: there is sound where there was none, {loudest:?}");
            let heard = got[at(silence.end + 0.4)..at(silence.end + 0.9)].iter();
            assert!(heard.map(|sample| sample.unsigned_abs()).max() > Some(500), "{name}: no sound after it");
        }
    }
}

/// These files end to end.
fn joined(paths: &[&Path]) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".ts").tempfile().expect("a file");
    let all: Vec<u8> = paths.iter().flat_map(|path| std::fs::read(path).expect("a recording")).collect();
    std::fs::write(file.path(), all).expect("written");
    file
}

/// A recording of 6 s whose clock begins so late.
fn recording(codec: &str, offset: u32) -> (tempfile::TempDir, std::path::PathBuf) {
    let sound = format!("-i @sound.wav -c:v mpeg2video -c:a {codec}");
    remade("recording.ts", &format!("{} {sound} -output_ts_offset {offset} -f mpegts", moving(6)))
}

/// What is made of it, the same if its bytes come in order alone: then the picture's clock is told by its packets.
fn made(path: &Path, format: AudioFormat) -> Made {
    let output = OutputSpec::plain(format);
    let made = extract_file(path, output.clone());
    for is_sized in [true, false] {
        let result = hear(path, &output, is_sized).result;
        assert_eq!(result.as_ref(), Ok(&made.result), "{} as it arrives", path.display());
    }
    made
}

/// How long its sound is.
fn length_secs(path: &Path, format: AudioFormat) -> f64 {
    made(path, format).result.duration_secs()
}

#[test]
fn a_clock_that_jumps_is_no_silence() {
    let ((_one, first), (_other, second)) = (recording("mp2", 0), recording("mp2", 46));
    let secs = length_secs(joined(&[&first, &second]).path(), AudioFormat::Wav);
    assert!((secs - 12.0).abs() < 0.2, "{secs:.3} s");
}

#[test]
fn a_clock_that_jumps_before_the_first_sound_is_no_silence() {
    let (_one, slate) = remade("slate.ts", &format!("{} -c:v mpeg2video -f mpegts", moving(3)));
    let (_other, programme) = recording("libmp3lame", 1800);
    let both = joined(&[&slate, &programme]);
    for format in [AudioFormat::Wav, AudioFormat::Mp3] {
        // From its end it is known that there is sound at all.
        let secs = extract_file(both.path(), OutputSpec::plain(format)).result.duration_secs();
        assert!((secs - 6.0).abs() < 0.2, "{format:?}: {secs:.3} s");
    }
}

#[test]
fn another_programme_has_another_clock() {
    let one = format!("{} -i @sound.wav", moving(6));
    let later = format!("-itsoffset 600 {} -itsoffset 600 -i @sound.wav", moving(6));
    // The first sound is taken, be its clock ahead or behind.
    for inputs in [format!("{later} {one}"), format!("{one} {later}")] {
        let programmes =
            "-map 0 -map 1 -map 2 -map 3 -program program_num=1:st=0:st=1 -program program_num=2:st=2:st=3";
        let words = format!("{inputs} {programmes} -c:v mpeg2video -c:a mp2 -f mpegts");
        let (_folder, path) = remade("two.ts", &words);
        let secs = length_secs(&path, AudioFormat::Wav);
        assert!((secs - 6.0).abs() < 0.1, "{inputs}: {secs:.3} s");
    }
}

/// What a lossy source spends is measured first, up to where the clock jumps.
#[test]
fn a_jump_that_was_read_ahead_does_not_hide_what_the_picture_went_through() {
    let (_one, first) =
        remade("hole.ts", &format!("{} {HOLE} -c:v mpeg2video -c:a libmp3lame -f mpegts", moving(36)));
    let (_other, second) = recording("libmp3lame", 200);
    let both = joined(&[&first, &second]);
    for format in [AudioFormat::Wav, AudioFormat::Mp3] {
        let secs = length_secs(both.path(), format);
        assert!((secs - 42.0).abs() < 0.3, "{format:?}: {secs:.3} s");
    }
}
