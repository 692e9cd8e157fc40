//! FLAC by several encoders at once, judged by FLAC's own tools.

use super::*;

/// A recording that ffmpeg makes of this sound.
fn recording(folder: &Path, sound: &str, codec: &str) -> std::path::PathBuf {
    let path = folder.join("recording.wav");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", sound, "-c:a", codec]);
    output_of(ffmpeg.arg(&path));
    path
}

fn encoded(source: &Path, quality: Quality, encoder_threads: u32, into: &Path) -> Vec<u8> {
    let limits = AvLimits { encoder_threads, ..AvLimits::default() };
    std::fs::write(into, []).expect("a result's file");
    let made = run(&mut FileHost::open(source), spec(AudioFormat::Flac, quality), limits, into);
    made.unwrap_or_else(|failure| panic!("{encoder_threads} threads: {failure}"));
    std::fs::read(into).expect("a result")
}

fn metaflac(option: &str, path: &Path) -> String {
    let said = output_of(Command::new("metaflac").arg(option).arg(path));
    String::from_utf8(said).expect("text").trim().to_owned()
}

#[test]
fn any_number_of_threads_makes_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let into = folder.path().join("result.flac");
    for (sound, codec, samples) in [
        // 1, 2 and 3 bytes of frame number: up to 127, 2,047 and beyond.
        ("anoisesrc=d=190:r=48000:c=pink:a=0.2:seed=7", "pcm_s16le", 190 * 48_000),
        ("anoisesrc=d=9:r=44100:a=0.2:seed=8,aformat=channel_layouts=stereo", "pcm_s24le", 9 * 44_100),
        // A rate without a code of its own, and six channels.
        ("sine=d=5:r=13579,aformat=channel_layouts=5.1", "pcm_s16le", 5 * 13_579),
        // Less than a frame.
        ("sine=d=0.01:r=48000", "pcm_s16le", 480),
        // Exactly one run.
        ("sine=d=2:r=32768", "pcm_s16le", 16 * 4096),
    ] {
        let source = recording(folder.path(), sound, codec);
        let alone = encoded(&source, Quality::High, 1, &into);
        for threads in [2, 3, 5] {
            assert!(encoded(&source, Quality::High, threads, &into) == alone, "{sound} on {threads} threads");
        }
        output_of(Command::new("flac").args(["-t", "-s"]).arg(&into));
        assert_eq!(metaflac("--show-total-samples", &into), samples.to_string(), "{sound}");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(&source);
        let md5 = output_of(ffmpeg.args(["-c:a", codec, "-f", "md5", "-"]));
        let md5 = String::from_utf8(md5).expect("text");
        assert_eq!(md5.trim(), format!("MD5={}", metaflac("--show-md5sum", &into)), "{sound}");
    }
}

#[test]
fn a_failure_ends_all_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = recording(folder.path(), "anoisesrc=d=20:r=48000", "pcm_s16le");
    let limits = AvLimits { encoder_threads: 2, max_output_bytes: 300_000, ..AvLimits::default() };
    let into = folder.path().join("result.flac");
    std::fs::write(&into, []).expect("a result's file");
    let failure = run(&mut FileHost::open(&source), spec(AudioFormat::Flac, Quality::Low), limits, &into);
    let failure = failure.expect_err("the result is larger");
    assert!(failure.to_string().contains("larger than allowed"), "{failure}");
}
