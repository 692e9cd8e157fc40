//! Playlists as ffmpeg's muxers write them: the result is sample for sample what ffmpeg itself hears in them.

use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use testkit::playlists::{LISTS, playlists};
use tower_http::services::ServeDir;

use crate::app::TestApp;
use crate::files::FileHost;

const NO_MORE: &[(&str, String)] = &[];

/// Serves the folder of all playlists, and these beside them.
async fn host(more: &[(impl AsRef<str>, String)]) -> FileHost {
    let folder = tokio::task::spawn_blocking(playlists).await.expect("the playlists");
    let mut routes = Router::new();
    for (path, text) in more {
        let text = text.clone();
        routes = routes.route(path.as_ref(), get(move || async move { text }));
    }
    FileHost::serving(routes.fallback_service(ServeDir::new(folder))).await
}

/// The first audio track as 16-bit samples, by ffmpeg.
fn decoded(input: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", input, "-map", "0:a:0", "-f", "s16le", "-ac", "2", "-"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{input}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The audio of a playlist as files in a row: ffmpeg leaves out the first of a manifest's list.
fn concatenated(list: &str) -> String {
    let folder = playlists().join(list).parent().expect("a folder").to_owned();
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<String> = entries.map(|path| path.display().to_string()).collect();
    files.retain(|file| file.contains("-stream1"));
    // The header's name comes last in the alphabet.
    files.sort();
    files.rotate_right(1);
    format!("concat:{}", files.join("|"))
}

async fn submit(app: &TestApp, url: &str, output: Value) -> String {
    app.submit(&json!({"source": {"type": "url", "url": url}, "output": output})).await
}

/// The wav that a completed job made, decoded.
async fn heard(app: &TestApp, job: &str, into: &Path) -> (Value, Vec<u8>) {
    let status = app.wait_for_end(job).await;
    assert_eq!(status["status"], "completed", "{status}");
    let path = into.join(format!("{job}.wav"));
    std::fs::write(&path, app.download(job).await).expect("written");
    (status, decoded(&path.display().to_string()))
}

/// As AAC begins: 1024 samples of two channels in 16 bits.
const PRIMING_BYTES: usize = 1024 * 4;

/// Samples a channel of two channels in 16 bits.
fn samples(pcm: &[u8]) -> usize {
    pcm.len() / 4
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_gives_the_sound_that_ffmpeg_hears() {
    let (app, host, results) =
        (TestApp::start().await, host(NO_MORE).await, tempfile::TempDir::new().expect("a folder"));
    for list in LISTS {
        let url = host.url(list);
        let job = submit(&app, &url, json!({"format": "wav"})).await;
        let (status, ours) = heard(&app, &job, results.path()).await;
        let theirs = move || {
            decoded(&if matches!(*list, "dash-list/list.mpd" | "dash-single/list.mpd") {
                concatenated(list)
            } else {
                url
            })
        };
        let theirs = tokio::task::spawn_blocking(theirs).await.expect("a thread");
        // ffmpeg does not heed the edit list of a file in fragments, which leaves out what the encoder needed to begin.
        let is_primed = list.starts_with("dash-") && !list.starts_with("dash-webm");
        let theirs = if is_primed { &theirs[PRIMING_BYTES..] } else { &theirs[..] };
        match *list {
            // ffmpeg asks for one segment more than the manifest's length allows.
            "dash-duration/list.mpd" => assert!(theirs.starts_with(&ours), "{list}: other samples"),
            _ => {
                assert!(ours == theirs, "{list}: {} samples instead of {}", samples(&ours), samples(theirs))
            }
        }
        assert!(samples(&ours).abs_diff(6 * 48_000) <= 2048, "{list}: {} samples", samples(&ours));
        let kind = if list.ends_with(".mpd") { "dash" } else { "hls" };
        assert_eq!(status["inputFile"]["format"], kind, "{list}");
        let promised = status["inputFile"]["duration"].as_f64().expect("a duration");
        assert!((promised - 6.0).abs() < 0.1, "{list}: {promised}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_part_and_the_track_that_are_wanted_are_found_by_the_playlist() {
    let (app, host, results) =
        (TestApp::start().await, host(NO_MORE).await, tempfile::TempDir::new().expect("a folder"));
    for (list, output, expected) in [
        ("groups/list.m3u8", json!({"format": "wav", "track": "de"}), 6.0),
        ("groups/list.m3u8", json!({"format": "wav", "track": 1, "start": 1.5, "end": 3.0}), 1.5),
        ("dash-timeline/list.mpd", json!({"format": "wav", "start": 4.0, "end": 4.25}), 0.25),
    ] {
        let job = submit(&app, &host.url(list), output.clone()).await;
        let (_, pcm) = heard(&app, &job, results.path()).await;
        let secs = samples(&pcm) as f64 / 48_000.0;
        assert!((secs - expected).abs() < 0.05, "{list} {output}: {secs}");
    }
    let job = submit(&app, &host.url("groups/list.m3u8"), json!({"format": "wav", "track": 2})).await;
    let status = app.wait_for_end(&job).await;
    assert_eq!(status["error"]["code"], "EXTRACTION_FAILED", "{status}");
    assert_eq!(status["error"]["details"], "the audio tracks are 0: en (audio_1); 1: de (audio_2)");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_can_be_read_twice_and_its_packets_be_copied() {
    let (app, host) = (TestApp::start().await, host(NO_MORE).await);
    for (list, output, method) in [
        ("ts/list.m3u8", json!({"format": "aac"}), "copy"),
        ("dash-timeline/list.mpd", json!({"format": "aac"}), "copy"),
        ("fmp4/list.m3u8", json!({"format": "mp3", "normalize": true}), "encode"),
    ] {
        let job = submit(&app, &host.url(list), output).await;
        let status = app.wait_for_end(&job).await;
        assert_eq!(status["outputFile"]["method"], method, "{list}: {status}");
        let secs = status["outputFile"]["duration"].as_f64().expect("a duration");
        assert!((secs - 6.0).abs() < 0.05, "{list}: {secs}");
    }
    app.stop().await;
}

/// The lines of a list made by ffmpeg, with `folder` before each address.
fn lines(folder: &str) -> Vec<String> {
    let text = std::fs::read_to_string(playlists().join(folder).join("list.m3u8")).expect("a playlist");
    let placed = |line: &str| match line.strip_prefix("#EXT-X-MAP:URI=\"") {
        Some(rest) => format!("#EXT-X-MAP:URI=\"/{folder}/{rest}"),
        None if line.starts_with('#') => line.to_owned(),
        None => format!("/{folder}/{line}"),
    };
    text.lines().map(placed).collect()
}

/// Twice the same, with a break between.
fn twice(folder: &str) -> String {
    let lines = lines(folder);
    let (_end, first) = lines.split_last().expect("an end");
    let again = first.iter().skip(1).chain([&lines[lines.len() - 1]]);
    let all: Vec<&str> = first
        .iter()
        .map(String::as_str)
        .chain(["#EXT-X-DISCONTINUITY"])
        .chain(again.map(String::as_str))
        .collect();
    all.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_where_the_clock_starts_anew() {
    let (app, results) = (TestApp::start().await, tempfile::TempDir::new().expect("a folder"));
    let made = || ["ts", "fmp4", "packed"].map(|folder| (folder, twice(folder)));
    let made = tokio::task::spawn_blocking(made).await.expect("the playlists");
    let paths = ["/twice-ts.m3u8", "/twice-fmp4.m3u8", "/twice-packed.m3u8"];
    let more: Vec<_> = paths.into_iter().zip(made).map(|(path, (_, text))| (path, text)).collect();
    let host = host(&more).await;
    for (path, folder) in paths.iter().zip(["ts", "fmp4", "packed"]) {
        let once = submit(&app, &host.url(&format!("{folder}/list.m3u8")), json!({"format": "wav"})).await;
        let (_, once) = heard(&app, &once, results.path()).await;
        let job = submit(&app, &host.url(path.trim_start_matches('/')), json!({"format": "wav"})).await;
        let (_, both) = heard(&app, &job, results.path()).await;
        let off = samples(&both).abs_diff(2 * samples(&once));
        assert!(off <= 1024, "{folder}: {} of twice {}", samples(&both), samples(&once));
        assert!(
            both[..once.len() - 8192] == once[..once.len() - 8192],
            "{folder}: the first half is another"
        );
    }
    app.stop().await;
}

/// Where a list has a gap.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gap {
    First,
    Middle,
    Last,
    BeforeABreak,
}

/// A list with a gap.
struct Holed {
    name: String,
    text: String,
    /// As the list says, with the gap.
    whole_secs: f64,
    /// Of sound and of silence that stands for the gap.
    heard_secs: f64,
}

impl Holed {
    fn new(folder: &str, gap: Gap) -> Self {
        let lines = lines(folder);
        let begins: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("#EXTINF:")).collect();
        let secs = |at: &usize| -> f64 {
            lines[*at]["#EXTINF:".len()..].trim_end_matches(',').parse().expect("a duration")
        };
        let which = match gap {
            Gap::First => 0,
            Gap::Middle | Gap::BeforeABreak => begins.len() / 2,
            Gap::Last => begins.len() - 1,
        };
        let start = begins[which];
        let end = begins.get(which + 1).copied().unwrap_or(lines.len() - 1);
        // Nobody may look for it: it is not there.
        let gone = |line: &String| if line.starts_with('#') { line.clone() } else { "/none".to_owned() };
        let mut list = [&lines[..start], &["#EXT-X-GAP".to_owned()]].concat();
        list.extend(lines[start..end].iter().map(gone));
        if gap == Gap::BeforeABreak {
            list.push("#EXT-X-DISCONTINUITY".to_owned());
        }
        list.extend_from_slice(&lines[end..]);
        let whole_secs = begins.iter().map(secs).sum();
        // Packed audio has no clock by which something could be missed.
        let is_silent = gap == Gap::Middle && folder != "packed";
        let heard_secs = if is_silent { whole_secs } else { whole_secs - secs(&start) };
        Self { name: format!("{folder}-{gap:?}.m3u8"), text: list.join("\n"), whole_secs, heard_secs }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_no_end_that_comes_too_early() {
    let of =
        |folder| [Gap::First, Gap::Middle, Gap::Last, Gap::BeforeABreak].map(|gap| Holed::new(folder, gap));
    let made = move || ["ts", "single", "packed"].into_iter().flat_map(of).collect::<Vec<_>>();
    let made = tokio::task::spawn_blocking(made).await.expect("the playlists");
    let more: Vec<_> = made.iter().map(|list| (format!("/{}", list.name), list.text.clone())).collect();
    let (app, host, results) =
        (TestApp::start().await, host(&more).await, tempfile::TempDir::new().expect("a folder"));
    for Holed { name, whole_secs, heard_secs, .. } in made {
        let job = submit(&app, &host.url(&name), json!({"format": "wav"})).await;
        let (status, pcm) = heard(&app, &job, results.path()).await;
        let promised = status["inputFile"]["duration"].as_f64().expect("a duration");
        assert!((promised - whole_secs).abs() < 0.001, "{name}: {promised} s promised, not {whole_secs} s");
        let secs = samples(&pcm) as f64 / 48_000.0;
        assert!((secs - heard_secs).abs() < 0.1, "{name}: {secs} s heard, not {heard_secs} s");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_playlist_promises_and_does_not_hold_is_a_failure() {
    let listed = tokio::task::spawn_blocking(|| lines("single")).await.expect("the playlists");
    let more = [
        ("/longer.m3u8", listed.join("\n").replacen("#EXTINF:1.", "#EXTINF:9.", 1)),
        ("/missing.m3u8", "#EXTM3U\n#EXTINF:1.0,\n/ts/list0.ts\n#EXTINF:1.0,\n/ts/none.ts\n#EXT-X-ENDLIST\n".to_owned()),
        ("/live.m3u8", "#EXTM3U\n#EXTINF:1.0,\n/ts/list0.ts\n".to_owned()),
        (
            "/file.mpd",
            "<MPD type=\"static\" mediaPresentationDuration=\"PT6S\"><Period><AdaptationSet mimeType=\"audio/mp4\">\
             <Representation id=\"1\" bandwidth=\"1\"><BaseURL>/dash-single/list-stream1.mp4</BaseURL>\
             <SegmentBase indexRange=\"0-1\"/></Representation></AdaptationSet></Period></MPD>"
                .to_owned(),
        ),
    ];
    let (app, host) = (TestApp::start().await, host(&more).await);
    for (list, code, details) in [
        ("longer.m3u8", "INVALID_VIDEO", "ends after 6.0 s of 14.0 s"),
        ("missing.m3u8", "DOWNLOAD_FAILED", "segment 2 of 2: the host answered 404"),
        ("live.m3u8", "INVALID_VIDEO", "live stream"),
    ] {
        let job = submit(&app, &host.url(list), json!({"format": "mp3"})).await;
        let status = app.wait_for_end(&job).await;
        assert_eq!(status["error"]["code"], code, "{list}: {status}");
        assert!(
            status["error"]["details"].as_str().is_some_and(|told| told.contains(details)),
            "{list}: {status}"
        );
    }
    let results = tempfile::TempDir::new().expect("a folder");
    let job = submit(&app, &host.url("file.mpd"), json!({"format": "wav"})).await;
    let (status, pcm) = heard(&app, &job, results.path()).await;
    assert!(samples(&pcm).abs_diff(6 * 48_000) < 2048, "{status}");
    app.stop().await;
}
