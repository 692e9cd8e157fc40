//! Every container and codec in, every format out: through the whole service, judged by ffprobe and ffmpeg.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::samples::PLAYABLE;

use crate::app::TestApp;
use crate::files::FileHost;

const FORMATS: [(&str, &str); 6] = [
    ("mp3", "mp3"),
    ("aac", "aac"),
    ("flac", "flac"),
    ("wav", "pcm_s16le"),
    ("ogg", "vorbis"),
    ("opus", "opus"),
];

/// How far the audio's length may be off. AAC in ADTS cannot say what of its first and last frame is padding.
const TOLERANCE_SECS: f64 = 0.050;

/// One sample of each container, for all formats.
const CONTAINERS: [&str; 10] = [
    "faststart.mp4",
    "aac.mp4",
    "pcm16.mov",
    "opus.mkv",
    "vorbis.webm",
    "mp3.avi",
    "aac.flv",
    "aac.ts",
    "wma.wmv",
    "sound.mp3",
];

/// Seconds of audio, by decoding all of it through a filter and counting samples.
fn decoded_secs(path: &Path, filter: &str) -> f64 {
    const RATE: u32 = 48_000;
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(path)
        .args(["-map", "0:a:0", "-af", filter, "-f", "s16le", "-ac", "1", "-ar", &RATE.to_string(), "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    (output.stdout.len() / 2) as f64 / f64::from(RATE)
}

/// The shortest and longest that a source's audio can be said to be: all that ffmpeg decodes, and the same placed on
/// the container's clock from zero. They differ where the first packets give no sound, as with WMA.
fn source_secs(path: &Path) -> (f64, f64) {
    let (decoded, placed) = (decoded_secs(path, "anull"), decoded_secs(path, "aresample=first_pts=0"));
    (decoded.min(placed), decoded.max(placed))
}

fn codec(path: &Path) -> String {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "a:0",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "csv=p=0",
        ])
        .arg(path)
        .output()
        .expect("ffprobe runs");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').to_owned()
}

/// Submits all pairs, waits for all, and compares each result with its source.
async fn extract_all(pairs: &[(&str, usize)]) {
    let host = FileHost::of(PLAYABLE).await;
    let app = TestApp::start().await;
    let results = tempfile::TempDir::new().expect("a folder");
    let mut jobs = Vec::new();
    for (sample, format) in pairs {
        let body = json!({"source": {"type": "url", "url": host.url(sample)}, "output": {"format": FORMATS[*format].0}});
        jobs.push(app.submit(&body).await);
    }
    let mut lengths = HashMap::new();
    let mut wrong = Vec::new();
    for ((sample, format), job) in pairs.iter().zip(jobs) {
        let (extension, expected_codec) = FORMATS[*format];
        let status = app.wait_for_end(&job).await;
        if status["status"] != "completed" {
            wrong.push(format!("{sample} to {extension}: {}", status["error"]));
            continue;
        }
        let path = results.path().join(format!("{job}.{extension}"));
        std::fs::write(&path, app.download(&job).await).expect("written");
        let (shortest, longest) =
            *lengths.entry(*sample).or_insert_with(|| source_secs(&testkit::samples::sample(sample)));
        let result_secs = decoded_secs(&path, "anull");
        let said_secs = status["outputFile"]["duration"].as_f64().expect("a number");
        let expected = shortest - TOLERANCE_SECS..=longest + TOLERANCE_SECS;
        let is_off = |secs: f64| !expected.contains(&secs);
        if codec(&path) != expected_codec || is_off(result_secs) || is_off(said_secs) {
            wrong.push(format!(
                "{sample} to {extension}: {} with {result_secs:.3} s, said {said_secs:.3} s, of {shortest:.3} to {longest:.3} s",
                codec(&path)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), pairs.len(), wrong.join("\n"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_becomes_every_format() {
    let all = CONTAINERS.iter().flat_map(|sample| (0..FORMATS.len()).map(move |format| (*sample, format)));
    extract_all(&all.collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_usual_codec_in_every_container_is_read() {
    // To each of the formats in turn.
    let all = PLAYABLE.iter().enumerate().map(|(index, sample)| (*sample, index % FORMATS.len()));
    extract_all(&all.collect::<Vec<_>>()).await;
}
