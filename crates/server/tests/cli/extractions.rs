//! `extract`: files, pipes and terminals in and out, and how it ends when it is cut short.

use super::*;

#[test]
fn an_extraction_prints_its_result_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    let output = run(folder.path(), &["extract", "tone.wav", "-o", "tone.flac", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let size = std::fs::metadata(folder.path().join("tone.flac")).expect("the result").len();
    assert_eq!(result["filename"], "tone.flac");
    assert_eq!(result["format"], "flac");
    assert_eq!(result["size"], size);
    assert_eq!(result["duration"], 1.0);
    assert_eq!(result["method"], "encode");
    assert_eq!((&result["fetched"], &result["requests"]), (&Value::from(0), &Value::from(0)), "it is no URL");
    assert!(text(&output.stderr).contains("tone.wav: wav"), "{}", text(&output.stderr));
    let names = std::fs::read_dir(folder.path()).expect("entries").count();
    assert_eq!(names, 2, "only the source and the result are there");
    let mode = |name| folder.path().join(name).metadata().expect("metadata").permissions().mode();
    assert_eq!(mode("tone.flac"), mode("tone.wav"), "it is a file of the user's like any other");
}

#[test]
fn an_extraction_says_what_normalising_did() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    let arguments = ["extract", "tone.wav", "-o", "tone.flac", "--normalize", "--json"];
    let output = run(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let loudness = &result["loudness"];
    assert_eq!(loudness["normalized"], true, "{result}");
    let number = |value: &Value| value.as_f64().expect("a number");
    let (before, gain) = (number(&loudness["before"]["loudness"]), number(&loudness["gain"]));
    assert!(
        (before + gain + 16.0).abs() < 0.02 && (number(&loudness["after"]["loudness"]) + 16.0).abs() < 0.02
    );
}

#[test]
fn another_target_is_asked_for_by_its_numbers_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    for (options, target) in [
        (&["--loudness", "-23"][..], -23.0),
        (&["--normalize", "--loudness", "-30.5", "--true-peak", "-2"], -30.5),
        (&["--true-peak", "-0.5"], -16.0),
    ] {
        let output =
            run(folder.path(), &[&["extract", "tone.wav", "-o", "tone.flac", "--json"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        let after = result["loudness"]["after"]["loudness"].as_f64().expect("a number");
        assert!((after - target).abs() < 0.02, "{options:?}: {result}");
    }
}

#[test]
fn damage_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = std::fs::read(testkit::samples::sample("sound.flac")).expect("a sample");
    std::fs::write(folder.path().join("whole.flac"), &bytes).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 24].fill(0xff);
    std::fs::write(folder.path().join("damaged.flac"), bytes).expect("a file");
    for (name, packets) in [("whole.flac", Value::Null), ("damaged.flac", Value::from(1))] {
        let output = run(folder.path(), &["extract", name, "-o", "a.wav", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(result["damagedPackets"], packets, "{name}");
        let output = run(folder.path(), &["extract", name, "-o", "a.wav"]);
        let said = text(&output.stdout);
        assert_eq!(said.contains("1 damaged packet left out"), !packets.is_null(), "{name}: {said}");
    }
}

#[test]
fn what_was_asked_for_and_not_done_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    std::fs::copy(testkit::samples::sample("silence.wav"), folder.path().join("silence.wav"))
        .expect("a file");
    std::fs::write(folder.path().join("wordy.wav"), titled(&"x".repeat(70_000))).expect("a file");
    for (name, options, said) in [
        ("tone.wav", &["--normalize"][..], None),
        ("silence.wav", &["--normalize"], Some(", not normalised: silence, or ")),
        // The gain stops 3 dB above what the ceiling leaves room for.
        ("tone.wav", &["--loudness", "-5", "--true-peak", "-9"], Some(" LU short")),
        ("wordy.wav", &["--preserve-metadata"], Some(", without tags")),
        ("tone.wav", &["--preserve-metadata"], None),
    ] {
        let output = run(folder.path(), &[&["extract", name, "-o", "a.flac"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let line = text(&output.stdout);
        let rest = line
            .trim_end()
            .split_once(" s, ")
            .and_then(|(_, rest)| rest.split_once('k'))
            .map(|(_, rest)| rest);
        let remarks = rest.unwrap_or_else(|| panic!("{line}"));
        assert!(said.map_or(remarks.is_empty(), |said| remarks.contains(said)), "{name} {options:?}: {line}");
    }
}

#[test]
fn an_extraction_takes_the_part_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    let arguments =
        ["--track", "0", "--start", "0.25", "--end", "0.75", "--channels", "2", "--sample-rate", "4000"];
    let output = run(folder.path(), &[&["extract", "tone.wav", "-o", "part.wav"], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let size = std::fs::metadata(folder.path().join("part.wav")).expect("the result").len();
    assert!((4000..4200).contains(&size), "half a second of 16-bit mono at 4 kHz in {size} bytes");
    let output = run(folder.path(), &["extract", "tone.wav", "-o", "none.wav", "--track", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("0: pcm_s16le, 1 channel"), "{}", text(&output.stderr));
}

#[test]
fn metadata_is_carried_over_where_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), titled("Title")).expect("a file");
    for (options, is_there) in [(&["--preserve-metadata"][..], true), (&[], false)] {
        let output = run(folder.path(), &[&["extract", "tone.wav", "-o", "tone.flac"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let made = std::fs::read(folder.path().join("tone.flac")).expect("the result");
        assert_eq!(String::from_utf8_lossy(&made).contains("TITLE=Title"), is_there);
    }
}

/// Runs it with this as stdin, a pipe.
fn piped(folder: &Path, arguments: &[&str], bytes: &[u8]) -> Output {
    let mut command = command(folder, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let bytes = bytes.to_vec();
    // It may end before it has read all.
    let writing = std::thread::spawn(move || stdin.write_all(&bytes).is_ok());
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("the writer ends");
    output
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("entries");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_pipe_goes_in_and_a_pipe_comes_out_in_every_format() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    for format in ["mp3", "aac", "flac", "wav", "ogg", "opus"] {
        let named = format!("tone.{format}.{format}");
        let output = run(folder.path(), &["extract", "tone.wav", "-o", &named]);
        assert_eq!(output.status.code(), Some(0), "{format}: {}", text(&output.stderr));
        let mut command = command(folder.path(), &["extract", "-", "-o", "-", "-f", format, "--json"]);
        command
            .env("TMPDIR", temporary.path())
            .stdin(std::fs::File::open(folder.path().join("tone.wav")).expect("a file"));
        let from_file = command.output().expect("the binary runs");
        let from_pipe = piped(folder.path(), &["extract", "-", "-o", "-", "-f", format, "--json"], &tone());
        // Lengths and delays stand in headers that are written last, so that only a whole file is the same.
        let made = std::fs::read(folder.path().join(&named)).expect("the result");
        assert!(from_file.stdout == made && from_pipe.stdout == made, "{format}: other bytes");
        let said = text(&from_pipe.stderr);
        let said: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&said["size"], &said["filename"]), (&made.len().into(), &Value::Null));
    }
    assert_eq!(names_in(temporary.path()), [""; 0], "temporary files are gone");
}

#[test]
fn what_is_read_from_a_file_as_stdin_is_not_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tone.wav");
    std::fs::write(&file, tone()).expect("a file");
    let mut command = command(folder.path(), &["extract", "-", "-o", "tone.wav"]);
    let output =
        command.stdin(std::fs::File::open(&file).expect("a file")).output().expect("the binary runs");
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("replace the source"), "{said}");
    assert!(std::fs::read(&file).expect("the source") == tone());
}

#[test]
fn a_pipe_is_kept_where_the_container_must_be_read_backwards() {
    let folder = tempfile::tempdir().expect("a folder");
    // Its index is at its end.
    let video = std::fs::read(testkit::samples::sample("aac.mp4")).expect("a sample");
    let output = piped(folder.path(), &["extract", "-", "-o", "-", "-f", "aac"], &video);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    std::fs::write(folder.path().join("video.mp4"), &video).expect("a file");
    assert_eq!(run(folder.path(), &["extract", "video.mp4", "-o", "video.aac"]).status.code(), Some(0));
    assert!(output.stdout == std::fs::read(folder.path().join("video.aac")).expect("the result"));

    let limited = ["extract", "-", "-o", "-", "-f", "aac", "--max-source-bytes", "10000"];
    let output = piped(folder.path(), &limited, &video);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("the source has more than"), "{}", text(&output.stderr));
}

#[test]
fn what_a_pipe_cannot_be_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    for (arguments, bytes, code, said) in [
        (&["extract", "-", "-o", "-"][..], tone(), 2, "--format"),
        (&["extract", "-", "-o", "-", "-f", "mp3"], Vec::new(), 1, "it is empty"),
        (&["extract", "-", "-o", "-", "-f", "mp3"], tone()[..9000].to_vec(), 1, "ends after 0.6 s of 1.0 s"),
        (&["extract", "-", "-o", "out.mp3"], b"no media".to_vec(), 1, "not a video or audio file"),
    ] {
        let output = piped(folder.path(), arguments, &bytes);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
    assert_eq!(names_in(folder.path()), [""; 0], "nothing stays behind");
}

#[test]
fn a_stdout_that_takes_no_more_is_one_line_and_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tone.wav"), tone()).expect("a file");
    let start = |stdout: Stdio| {
        let mut command = command(folder.path(), &["extract", "tone.wav", "-o", "-", "-f", "wav"]);
        command.stdout(stdout).stderr(Stdio::piped()).spawn().expect("the binary runs")
    };
    let mut closed = start(Stdio::piped());
    drop(closed.stdout.take());
    let full = start(std::fs::File::options().write(true).open("/dev/full").expect("/dev/full").into());
    for (child, said) in [(closed, "stdout was closed"), (full, "No space left")] {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("audio-extract: ")).collect();
        assert!(
            matches!(errors[..], [line] if line.contains(said)) && !stderr.contains("panicked"),
            "{stderr}"
        );
    }
}

/// Half an hour of tone, which takes seconds to encode.
fn long_tone() -> Vec<u8> {
    const TIMES: usize = 1800;
    let second = tone();
    let (head, sound) = second.split_at(44);
    let mut long = [head, &sound.repeat(TIMES)].concat();
    let bytes = u32::try_from(sound.len() * TIMES).expect("32 bits");
    long[4..8].copy_from_slice(&(36 + bytes).to_le_bytes());
    long[40..44].copy_from_slice(&bytes.to_le_bytes());
    long
}

#[test]
fn a_pipe_that_pauses_shows_how_far_it_has_come() {
    use std::sync::mpsc::channel;

    let folder = tempfile::tempdir().expect("a folder");
    // So short that what comes before the pause is done before progress is told a second time.
    let short = std::fs::read(testkit::samples::sample("flac.mkv")).expect("a sample");
    let (first, rest) = short.split_at(short.len() * 6 / 10);
    let mut command = command(folder.path(), &["extract", "-", "-o", "short.wav"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.0.stdin.take().expect("stdin is piped");
    stdin.write_all(first).expect("it reads");
    let (seen, is_seen) = channel();
    let rest = rest.to_owned();
    // If nothing is ever shown the source ends there, and so does the wait for it.
    let host = std::thread::spawn(move || {
        if is_seen.recv_timeout(std::time::Duration::from_secs(60)).is_ok() {
            stdin.write_all(&rest).expect("it reads on");
        }
    });
    running.stderr_until("extracting 50 %");
    seen.send(()).expect("it waits");
    host.join().expect("all was written");
    assert!(running.0.wait().expect("it ends").success());
}

#[test]
fn a_pipe_is_extracted_while_it_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = long_tone();
    let (first, rest) = long.split_at(long.len() * 6 / 10);
    let mut command = command(folder.path(), &["extract", "-", "-o", "long.flac"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.0.stdin.take().expect("stdin is piped");
    stdin.write_all(first).expect("it reads");
    // The result grows while what is missing of the source is still held back.
    let largest = || {
        let entries = std::fs::read_dir(folder.path()).expect("entries");
        entries.map(|entry| entry.expect("an entry").metadata().map_or(0, |file| file.len())).max()
    };
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while largest().is_none_or(|bytes| bytes < 1_000_000) {
        assert!(running.0.try_wait().expect("a process").is_none(), "it has ended before its source");
        assert!(std::time::Instant::now() < patience, "nothing comes of what is there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stdin.write_all(rest).expect("it reads on");
    drop(stdin);
    assert!(running.0.wait().expect("it ends").success());
    let decoded =
        Command::new("flac").args(["-s", "-d", "-c", "long.flac"]).current_dir(folder.path()).output();
    let decoded = decoded.expect("flac runs");
    assert!(decoded.status.success() && decoded.stdout[44..] == long[44..], "other samples");
}

#[test]
fn an_extraction_that_is_interrupted_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("long.wav"), long_tone()).expect("a file");
    for signal in ["INT", "TERM"] {
        let arguments = ["extract", "long.wav", "-o", "long.opus"];
        let mut running = Running::start(command(folder.path(), &arguments));
        running.stderr_until("extracting");
        assert_eq!(names_in(folder.path()).len(), 2, "the source and the draft");
        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill runs").success());
        assert_eq!(running.0.wait().expect("it ends").code(), Some(1));
        assert_eq!(names_in(folder.path()), ["long.wav"]);
    }
}

#[test]
fn a_terminal_gets_a_bar_with_speed_and_time_left_and_stops_at_ctrl_c() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("long.wav"), long_tone()).expect("a file");
    let binary = env!("CARGO_BIN_EXE_audio-extract");
    let typed = format!("stty cols 100; exec {binary} extract long.wav -o long.opus > said");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &typed, "/dev/null"]).current_dir(folder.path());
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Running(script.spawn().expect("script runs"));
    let mut stdout = terminal.0.stdout.take().expect("stdout is piped");
    let mut shown = String::new();
    while !shown.contains(" left") {
        let mut piece = [0; 1024];
        let count = stdout.read(&mut piece).expect("the terminal");
        assert_ne!(count, 0, "no time left in {shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    assert!(shown.contains("long.wav: wav, 1800.0 s") && shown.contains("extracting"), "{shown}");
    assert!(shown.contains("x, 0:"), "{shown}");
    terminal.0.stdin.as_mut().expect("stdin is piped").write_all(b"\x03").expect("Ctrl-C");
    stdout.read_to_string(&mut shown).expect("the terminal");
    assert_eq!(terminal.0.wait().expect("it ends").code(), Some(1));
    assert!(shown.contains("audio-extract: interrupted"), "{shown}");
    assert_eq!(names_in(folder.path()), ["long.wav", "said"], "what was half made is gone");
    assert_eq!(std::fs::read(folder.path().join("said")).expect("what stdout got"), b"");
}

/// The tone with a title behind it.
fn titled(title: &str) -> Vec<u8> {
    let title = [title.as_bytes(), if title.len().is_multiple_of(2) { &[0; 2][..] } else { &[0] }].concat();
    let size = |bytes: usize| u32::try_from(bytes).expect("small").to_le_bytes();
    let mut wav = tone();
    wav.extend(
        [b"LIST".as_slice(), &size(title.len() + 12), b"INFOINAM", &size(title.len()), &title].concat(),
    );
    let whole = size(wav.len() - 8);
    wav[4..8].copy_from_slice(&whole);
    wav
}

/// A second of 440 Hz in a mono wav.
fn tone() -> Vec<u8> {
    const RATE: u32 = 8000;
    let mut wav = Vec::new();
    let bytes = RATE * 2;
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + bytes).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&bytes.to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    for n in 0..RATE {
        let phase = f64::from(n) * 440.0 / f64::from(RATE) * std::f64::consts::TAU;
        wav.extend_from_slice(&((phase.sin() * 8000.0) as i16).to_le_bytes());
    }
    wav
}
