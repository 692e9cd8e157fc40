//! Tags, chapters and covers: mutagen reads back what ffmpeg wrote into the source.

use domain::{MetadataPart, Method, Span};

use super::copies::{exact, extract_file};
use super::tagged::{CHAPTERS, TAGGED, TEXTS, expected, mutagen, preserved};
use super::*;

/// When the picture begins by the clock of the chapters: later than 0 where ffmpeg made room for the sound's priming.
fn picture_millis(path: &Path) -> u64 {
    begin_millis(path, "v:0")
}

fn sound_millis(path: &Path) -> u64 {
    begin_millis(path, "a:0")
}

fn begin_millis(path: &Path, stream: &str) -> u64 {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-select_streams",
        stream,
        "-show_entries",
        "stream=start_time",
        "-of",
        "csv=p=0",
    ]);
    let secs = String::from_utf8(output_of(ffprobe.arg(path))).expect("text");
    (secs.trim().trim_end_matches(',').parse::<f64>().expect("seconds") * 1000.0).round() as u64
}

#[test]
fn mutagen_reads_all_that_the_source_said_in_every_format() {
    for (path, cover) in
        [(TAGGED.mp4(), "cover.jpg"), (TAGGED.mkv("flac.mkv"), "cover.png"), (TAGGED.mp3(), "cover.jpg")]
    {
        for format in AudioFormat::ALL {
            let made = extract_file(&path, preserved(format));
            assert_eq!(made.result.metadata_left_out, []);
            assert_eq!(
                mutagen(&made, format),
                expected(format, &CHAPTERS, cover),
                "{} to {format:?}",
                path.display()
            );
        }
    }
}

#[test]
fn a_copy_and_a_part_and_another_loudness_keep_it() {
    for (from, format) in [
        ("mp3.mkv", AudioFormat::Mp3),
        ("aac.mkv", AudioFormat::Aac),
        ("flac.mkv", AudioFormat::Flac),
        ("pcm.mkv", AudioFormat::Wav),
        ("vorbis.mkv", AudioFormat::Ogg),
        ("opus.mkv", AudioFormat::Opus),
    ] {
        let path = TAGGED.mkv(from);
        let copied = extract_file(&path, preserved(format));
        let zero = picture_millis(&path).min(sound_millis(&path));
        let chapters = CHAPTERS.map(|(start, end, title)| (start.max(zero) - zero, end - zero, title));
        assert_eq!(copied.result.method, Method::Copy, "{from}");
        assert_eq!(mutagen(&copied, format), expected(format, &chapters, "cover.png"), "{from}, copied");
        let span = Span { start_secs: 1.0, end_secs: Some(4.25) };
        let part = OutputSpec { span, normalize: Some(Loudness::default()), ..preserved(format) };
        let part = extract_file(&path, part);
        assert_eq!(part.result.method, Method::Encode, "{from}");
        let chapters = [(0, 1000 - zero, "Anfang"), (1000 - zero, 3250, "Mitte \u{1f3b5}")];
        assert_eq!(mutagen(&part, format), expected(format, &chapters, "cover.png"), "a part of {from}");
    }
}

#[test]
fn chapters_of_sound_alone_that_begins_late_are_those_of_what_is_heard() {
    let late = TAGGED.path("late.mka");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(TAGGED.mkv("mp3.mkv"));
    output_of(ffmpeg.args(["-map", "0:a", "-c", "copy", "-output_ts_offset", "2"]).arg(&late));
    let copied = extract_file(&late, preserved(AudioFormat::Mp3));
    let rate = domain::SampleRate::parse(32_000, AudioFormat::Mp3).ok();
    let encoded = extract_file(&late, OutputSpec { sample_rate: rate, ..preserved(AudioFormat::Mp3) });
    assert_eq!((copied.result.method, encoded.result.method), (Method::Copy, Method::Encode));
    let said = mutagen(&copied, AudioFormat::Mp3);
    assert!(said.contains("Mitte"), "{said}");
    assert_eq!(said, mutagen(&encoded, AudioFormat::Mp3));
}

#[test]
fn chapters_are_counted_from_the_sound_where_that_comes_before_the_picture() {
    let early = TAGGED.path("early.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(TAGGED.mkv("flac.mkv"));
    ffmpeg.args(["-itsoffset", "0.52", "-i"]).arg(sample("picture.mp4"));
    output_of(ffmpeg.args(["-map", "1:v", "-map", "0:a", "-c", "copy"]).arg(&early));
    assert_eq!((picture_millis(&early), sound_millis(&early)), (520, 0));
    let rate = domain::SampleRate::parse(32_000, AudioFormat::Flac).ok();
    for (output, method) in [
        (preserved(AudioFormat::Flac), Method::Copy),
        (OutputSpec { sample_rate: rate, ..preserved(AudioFormat::Flac) }, Method::Encode),
    ] {
        let made = extract_file(&early, output);
        assert_eq!(made.result.method, method);
        let said = mutagen(&made, AudioFormat::Flac);
        for (start, _, title) in CHAPTERS {
            assert!(said.contains(&format!("chapter {start} {title}")), "{method:?}: {said}");
        }
    }
}

#[test]
fn the_sound_is_the_same_with_it_and_without() {
    for (from, format) in [
        ("mp3.mkv", AudioFormat::Mp3),
        ("aac.mkv", AudioFormat::Aac),
        ("pcm.mkv", AudioFormat::Wav),
        ("flac.mkv", AudioFormat::Flac),
    ] {
        let path = TAGGED.mkv(from);
        for output in [
            preserved(format),
            OutputSpec { sample_rate: domain::SampleRate::parse(32_000, format).ok(), ..preserved(format) },
        ] {
            let with = extract_file(&path, output.clone());
            let without = extract_file(&path, OutputSpec { preserve_metadata: false, ..output });
            let samples = |made: &Made| (made.result.samples, made.result.duration_secs());
            assert_eq!(samples(&with), samples(&without), "{from}");
            assert!(exact(with.file.path()) == exact(without.file.path()), "{from}: other samples");
        }
    }
}

/// All tags that ffprobe finds in the file and its streams.
fn probed_tags(path: &Path) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-show_entries",
        "format_tags:stream_tags:chapter_tags",
        "-show_chapters",
        "-of",
        "flat",
    ]);
    String::from_utf8(output_of(ffprobe.arg(path))).expect("text")
}

#[test]
fn without_it_there_is_no_tag_but_the_encoders_own() {
    use AudioFormat::{Aac, Flac, Mp3, Ogg, Opus, Wav};
    let copied = [
        ("mp3.mkv", Mp3),
        ("aac.mkv", Aac),
        ("flac.mkv", Flac),
        ("pcm.mkv", Wav),
        ("vorbis.mkv", Ogg),
        ("opus.mkv", Opus),
    ];
    let copied =
        copied.map(|(from, format)| (TAGGED.mkv(from), format)).into_iter().chain([(TAGGED.mp3(), Mp3)]);
    let encoded = AudioFormat::ALL.map(|format| (TAGGED.mp4(), format));
    for (path, format) in copied.chain(encoded) {
        let made = extract_file(&path, OutputSpec::plain(format));
        let tags = probed_tags(made.file.path());
        assert!(
            tags.lines().all(|tag| tag.contains(".tags.encoder=")),
            "{} to {format:?}: {tags}",
            path.display()
        );
        let bytes = std::fs::read(made.file.path()).expect("the result");
        let bytes = String::from_utf8_lossy(&bytes);
        for said in ["Ein Titel", "An Artist", "Anfang", "IHDR", "JFIF"] {
            assert!(!bytes.contains(said), "{} to {format:?}", path.display());
        }
    }
}

#[test]
fn other_readers_find_it_where_it_belongs() {
    let path = TAGGED.mkv("flac.mkv");
    for format in AudioFormat::ALL {
        let made = extract_file(&path, preserved(format));
        let tags = probed_tags(made.file.path());
        for said in ["title=\"Ein Titel", "artist=\"An Artist; Another\"", "date=\"2024-05-17\""] {
            assert!(tags.to_lowercase().contains(&said.to_lowercase()), "{format:?} has no {said}: {tags}");
        }
        if format != AudioFormat::Wav {
            assert!(tags.contains("chapters.chapter.1.tags.title=\"Mitte"), "{format:?}: {tags}");
        }
    }
    let flac = extract_file(&path, preserved(AudioFormat::Flac));
    let metaflac = |words: &[&str]| {
        String::from_utf8(output_of(Command::new("metaflac").args(words).arg(flac.file.path())))
    };
    assert!(metaflac(&["--show-tag=TITLE"]).expect("text").starts_with("TITLE=Ein Titel"));
    let blocks = metaflac(&["--list", "--block-type=PICTURE"]).expect("text");
    assert!(blocks.contains("type: 3 (Cover (front))") && blocks.contains("width: 120"), "{blocks}");
    output_of(
        Command::new("flac").args(["--test", "--silent", "--warnings-as-errors"]).arg(flac.file.path()),
    );

    let opus = extract_file(&path, preserved(AudioFormat::Opus));
    let said = Command::new("opusinfo").arg(opus.file.path()).output().expect("the oracle starts");
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("CHAPTER002=00:00:02.000") && !said.contains("WARNING"), "{said}");
    let ogg = extract_file(&path, preserved(AudioFormat::Ogg));
    let said = String::from_utf8(output_of(Command::new("vorbiscomment").arg("-R").arg(ogg.file.path())));
    assert!(said.expect("text").contains("ARTIST=An Artist; Another\n"));
}

#[test]
fn it_is_the_same_however_many_threads_encode() {
    let by = |encoder_threads| {
        let limits = AvLimits { encoder_threads, ..AvLimits::default() };
        let file = tempfile::NamedTempFile::new().expect("a result's file");
        let mut host = FileHost::open(&TAGGED.mp4());
        let result = run(&mut host, preserved(AudioFormat::Flac), limits, file.path()).expect("a result");
        Made { result, file, host }
    };
    let (alone, together) = (by(1), by(3));
    let said = mutagen(&together, AudioFormat::Flac);
    assert!(said.contains(TEXTS[0]) && said.contains("picture"), "{said}");
    output_of(
        Command::new("flac").args(["--test", "--silent", "--warnings-as-errors"]).arg(together.file.path()),
    );
    let bytes = |made: &Made| std::fs::read(made.file.path()).expect("a result");
    assert!(bytes(&alone) == bytes(&together), "three threads make another file");
}

#[test]
fn what_is_beyond_a_limit_is_left_out_and_said() {
    use MetadataPart::{Chapters, Cover, Tags};
    let limits = AvLimits::default;
    for (limits, left_out, lines) in [
        (AvLimits { max_chapters: 2, ..limits() }, vec![Chapters], 7 + 2 + 1),
        (AvLimits { max_cover_bytes: 100, ..limits() }, vec![Cover], 7 + 3),
        // Nothing is left for the comment, which has more than the rest together; and chapters come after that.
        (AvLimits { max_tag_bytes: 90, ..limits() }, vec![Tags, Chapters], 5 + 2 + 1),
        (
            AvLimits { max_tag_bytes: 0, max_chapters: 0, max_cover_bytes: 0, ..limits() },
            vec![Tags, Chapters, Cover],
            0,
        ),
    ] {
        let file = tempfile::NamedTempFile::new().expect("a result's file");
        let mut host = FileHost::open(&TAGGED.mp4());
        let result = run(&mut host, preserved(AudioFormat::Opus), limits, file.path()).expect("a result");
        assert_eq!(result.metadata_left_out, left_out);
        let said = mutagen(&Made { result, file, host }, AudioFormat::Opus);
        assert_eq!(said.trim().lines().count(), lines, "{said}");
    }
}

#[test]
fn a_picture_of_another_kind_is_left_out_whatever_it_is_called() {
    for (bytes, name) in [(&b"GIF89a\x01\0\x01\0\0\0\0;"[..], "gif"), (b"<svg onload='alert(1)'/>", "svg")] {
        std::fs::write(TAGGED.path(name), bytes).expect("a picture");
        let words = format!(
            "-map 0 -attach @{name} -metadata:s:t mimetype=image/png -metadata:s:t filename=cover.png"
        );
        let path = TAGGED.make(&format!("{name}.mkv"), "aac.mkv", "cover.jpg", &words);
        for format in AudioFormat::ALL {
            let made = extract_file(&path, preserved(format));
            assert!(!mutagen(&made, format).contains("picture"), "{name} to {format:?}");
            assert_eq!(made.result.metadata_left_out, [MetadataPart::Cover], "{name}");
        }
    }
}
