//! Files that say all that a file can say of itself, written by ffmpeg, and what mutagen ought to read of it.

use std::path::PathBuf;
use std::sync::LazyLock;

use super::*;

/// What all sources say; ffmpeg's own format, in which a backslash keeps the next character.
const SAID: &str = "\
;FFMETADATA1
title=Ein Titel \u{2014} \u{97f3}\u{697d}
artist=An Artist\\; Another
album=CHAPTER001\\=00:00:09.000
date=2024-05-17
comment=One line\\
TITLE\\=and another
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=Anfang
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=4500
title=Mitte \u{1f3b5}
[CHAPTER]
TIMEBASE=1/1000
START=4500
END=6000
title=Ende
";

/// The same, as mutagen says it. ID3 has another code for the language.
pub(super) const TEXTS: [&str; 7] = [
    "title=Ein Titel \u{2014} \u{97f3}\u{697d}",
    "artist=An Artist; Another",
    "album=CHAPTER001=00:00:09.000",
    "date=2024-05-17",
    "language=ger",
    "comment=One line",
    "TITLE=and another",
];
pub(super) const CHAPTERS: [(u64, u64, &str); 3] =
    [(0, 2000, "Anfang"), (2000, 4500, "Mitte \u{1f3b5}"), (4500, 6000, "Ende")];

/// Files with all of it.
pub(super) struct Tagged(tempfile::TempDir);

pub(super) static TAGGED: LazyLock<Tagged> = LazyLock::new(|| {
    let tagged = Tagged(tempfile::tempdir().expect("a folder"));
    std::fs::write(tagged.path("said.txt"), SAID).expect("a file");
    for picture in ["cover.jpg", "cover.png", "other.jpg"] {
        let rate = if picture == "other.jpg" { "testsrc2=s=20x20" } else { "testsrc2=s=120x100" };
        output_of(
            Command::new("ffmpeg")
                .args(["-v", "error", "-f", "lavfi", "-i", rate, "-frames:v", "1"])
                .arg(tagged.path(picture)),
        );
    }
    tagged
});

impl Tagged {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Adds all that is said to a sample, by these words: the sample is input 0, the texts are 1, the cover is 2;
    /// `@` stands for the folder, `~` for a space.
    pub(super) fn make(&self, name: &str, from: &str, cover: &str, words: &str) -> PathBuf {
        let path = self.path(name);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-v", "error", "-nostdin", "-y", "-i"])
            .arg(sample(from))
            .arg("-i")
            .arg(self.path("said.txt"));
        ffmpeg.arg("-i").arg(self.path(cover)).args([
            "-map_metadata",
            "1",
            "-map_chapters",
            "1",
            "-c",
            "copy",
        ]);
        let words = words.split_whitespace().map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => word.replace('~', " ").into(),
        });
        // Tests beside this one may be reading the same: it takes the name once it is whole.
        let whole = tempfile::Builder::new().suffix(name).tempfile_in(self.0.path()).expect("a file");
        output_of(ffmpeg.args(words).arg(whole.path()));
        whole.persist(&path).expect("its name");
        path
    }

    pub(super) fn mp4(&self) -> PathBuf {
        let words = "-map 0 -map 2 -disposition:v:1 attached_pic -metadata:s:a language=ger";
        self.make("tagged.mp4", "aac.mp4", "cover.jpg", words)
    }

    pub(super) fn mkv(&self, from: &str) -> PathBuf {
        let words = "-map 0 -metadata:s:a language=ger -attach @other.jpg -metadata:s:t:0 mimetype=image/jpeg \
            -metadata:s:t:0 filename=small.jpg -attach @cover.png -metadata:s:t:1 mimetype=image/png \
            -metadata:s:t:1 filename=cover.png";
        self.make(&format!("tagged-{from}.mkv"), from, "cover.jpg", words)
    }

    pub(super) fn mp3(&self) -> PathBuf {
        let words =
            "-map 0 -map 2 -metadata language=ger -metadata:s:v comment=Cover~(front) -id3v2_version 3";
        self.make("tagged.mp3", "sound.mp3", "cover.jpg", words)
    }
}

pub(super) fn preserved(format: AudioFormat) -> OutputSpec {
    OutputSpec { preserve_metadata: true, ..OutputSpec::plain(format) }
}

pub(super) fn mutagen(made: &Made, format: AudioFormat) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(here.join("../../target/python/bin/python"));
    let said = output_of(
        python.arg(here.join("src/av/tests/read_tags.py")).arg(format.as_str()).arg(made.file.path()),
    );
    String::from_utf8(said).expect("text")
}

fn sha256_start(path: &Path) -> String {
    let said = String::from_utf8(output_of(Command::new("sha256sum").arg(path))).expect("text");
    said[..16].to_owned()
}

/// What mutagen ought to say.
pub(super) fn expected(format: AudioFormat, chapters: &[(u64, u64, &str)], cover: &str) -> String {
    let is_id3 = matches!(format, AudioFormat::Mp3 | AudioFormat::Aac | AudioFormat::Wav);
    let chapter = |(start, end, title): &(u64, u64, &str)| match is_id3 {
        true => format!("chapter {start}-{end} {title}"),
        false => format!("chapter {start} {title}"),
    };
    let (mime, shape) =
        if cover.ends_with("png") { ("image/png", " 120x100x24") } else { ("image/jpeg", " 120x100x24") };
    let sum = sha256_start(&TAGGED.path(cover));
    let picture = format!("picture 3 {mime} {sum}{}\n", if is_id3 { "" } else { shape });
    let texts =
        TEXTS.map(|text| if is_id3 { text.replace("ger", "deu") } else { text.to_owned() }).into_iter();
    texts.chain(chapters.iter().map(chapter)).map(|line| line + "\n").chain([picture]).collect()
}
