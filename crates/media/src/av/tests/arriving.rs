//! Sources whose bytes come in order alone: they are heard while they arrive, and what is heard is the same.

use std::path::PathBuf;

use domain::{Access, FailureCode};

use super::maps::liars;
use super::parts::part;
use super::*;

/// So much of a file is there at first; the rest comes once it is asked for.
const SHARE_THERE: f64 = 0.6;

/// A file that arrives.
struct Arriving {
    file: FileHost,
    is_sized: bool,
    /// How many of its bytes are there.
    there: u64,
    into: PathBuf,
    /// How long the result was when the rest was asked for.
    made_before: Option<u64>,
}

impl Arriving {
    fn open(path: &Path, is_sized: bool, into: &Path) -> Self {
        let bytes = std::fs::metadata(path).expect("a sample").len();
        let there = (bytes as f64 * SHARE_THERE) as u64;
        Self { file: FileHost::open(path), is_sized, there, into: into.to_owned(), made_before: None }
    }

    fn wait(&mut self) {
        if self.made_before.is_none() {
            self.made_before = Some(std::fs::metadata(&self.into).expect("a result").len());
            self.there = u64::MAX;
        }
    }
}

impl Host for Arriving {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        if offset >= self.there {
            self.wait();
        }
        let most = usize::try_from(self.there - offset).unwrap_or(usize::MAX).min(buf.len());
        self.file.read_at(offset, &mut buf[..most])
    }
    fn size(&mut self) -> Result<u64, HostGone> {
        if !self.is_sized {
            self.wait();
        }
        self.file.size()
    }
    fn access(&self) -> Access {
        Access::InOrder { is_sized: self.is_sized }
    }
    fn plan(&mut self, ranges: &[Range<u64>]) {
        self.file.plan(ranges);
    }
    fn probed(&mut self, probe: Probe) {
        self.file.probed(probe);
    }
    fn progressed(&mut self, step: Step, fraction: Option<f64>) {
        self.file.progressed(step, fraction);
    }
}

/// What came of a file that arrives, its bytes, and how long it was when the rest was asked for.
pub(super) struct Outcome {
    pub(super) result: Result<Extracted, Failure>,
    bytes: Vec<u8>,
    made_before: u64,
}

pub(super) fn hear(path: &Path, output: &OutputSpec, is_sized: bool) -> Outcome {
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    let mut host = Arriving::open(path, is_sized, into.path());
    let result = run(&mut host, output.clone(), AvLimits::default(), into.path());
    let bytes = std::fs::read(into.path()).expect("the result");
    // Nobody asked for the rest if the result was there before.
    let made_before = host.made_before.unwrap_or(bytes.len() as u64);
    Outcome { result, bytes, made_before }
}

/// A file that arrives is made into just what it is made into when all of it is there. Returns the least share of the
/// result that was there before the rest of the source was asked for.
fn share_before(name: &str, output: &OutputSpec) -> f64 {
    let expected = extract(name, output.clone());
    let expected_bytes = std::fs::read(expected.file.path()).expect("the result");
    let share = |is_sized: bool| {
        let heard = hear(&sample(name), output, is_sized);
        let told = format!("{name}, {} length, to {:?}", if is_sized { "with" } else { "without" }, output);
        assert_eq!(heard.result.as_ref(), Ok(&expected.result), "{told}");
        assert!(heard.bytes == expected_bytes, "{told}: other bytes");
        heard.made_before as f64 / expected_bytes.len() as f64
    };
    share(true).min(share(false))
}

/// Each kind of container that needs no look at its end.
#[rustfmt::skip] // one name a line would be thirty lines
const STREAMABLE: &[&str] = &[
    "faststart.mp4", "fragmented.mp4", "fragments.mp4", "listed.mp4", "dash.mp4", "unlisted.mp4", "apart.mp4",
    "aac.mkv", "opus.webm", "late.mkv", "hole.mkv", "mp3.avi", "pcm.avi", "wide.avi", "wide-pcm.avi", "wma.wmv",
    "long.ts", "long.flv", "long.mpg", "sound.mp3", "sound.aac", "sound.latm", "sound.ogg", "sound.opus", "flac.ogg",
    "sound.flac", "sound.wav", "sound.wv", "sound.ac3", "sound.eac3", "sound.dts", "pcm.w64", "pcm.aiff", "pcm.au",
    "pcm.caf", "pcm.mxf",
];

#[test]
fn what_arrives_is_heard_before_its_end_and_sounds_the_same() {
    for name in STREAMABLE {
        let share = share_before(name, &OutputSpec::plain(AudioFormat::Wav));
        // A fragment is heard once all of it is there, and some of the result is still in a buffer.
        assert!(share > SHARE_THERE / 3.0, "{name}: {share:.2} of the result were made before its end");
    }
}

/// What a list claims in front is not believed, and one at the end is not looked at.
#[test]
fn a_list_that_lies_changes_nothing_of_what_arrives() {
    let wav = OutputSpec::plain(AudioFormat::Wav);
    for (lie, honest, bytes) in liars() {
        let sound = std::fs::read(extract(honest, wav.clone()).file.path()).expect("the result");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("a liar");
        for is_sized in [true, false] {
            let outcome = hear(file.path(), &wav, is_sized);
            assert!(outcome.result.is_ok(), "{lie}, with its length: {is_sized}: {:?}", outcome.result);
            assert!(outcome.bytes == sound, "{lie}, with its length: {is_sized}: other sound");
        }
    }
}

#[test]
fn an_index_behind_the_media_is_waited_for() {
    for name in ["aac.mp4", "pcm16.mov", "sound.m4a"] {
        let share = share_before(name, &OutputSpec::plain(AudioFormat::Wav));
        assert_eq!(share, 0.0, "{name} was heard without its index");
    }
}

#[test]
fn what_arrives_is_cut_copied_normalized_and_tagged_as_ever() {
    let tagged = OutputSpec { preserve_metadata: true, ..OutputSpec::plain(AudioFormat::Flac) };
    for (name, copied) in [
        ("faststart.mp4", AudioFormat::Aac),
        ("fragments.mp4", AudioFormat::Aac),
        ("listed.mp4", AudioFormat::Aac),
        ("aac.mkv", AudioFormat::Aac),
        ("opus.webm", AudioFormat::Opus),
        ("mp3.avi", AudioFormat::Mp3),
        ("aac.flv", AudioFormat::Aac),
        ("aac.ts", AudioFormat::Aac),
        ("sound.mp3", AudioFormat::Mp3),
        ("sound.ogg", AudioFormat::Ogg),
        ("sound.wav", AudioFormat::Wav),
    ] {
        for output in [
            part(AudioFormat::Wav, 2.0, None),
            part(AudioFormat::Wav, 0.5, Some(1.25)),
            OutputSpec::plain(copied),
            normalized(AudioFormat::Wav, Loudness::default()),
            tagged.clone(),
        ] {
            share_before(name, &output);
        }
    }
}

#[test]
fn what_arrives_and_ends_too_early_fails_as_ever() {
    let wav = OutputSpec::plain(AudioFormat::Wav);
    for name in [
        "truncated-faststart.mp4",
        "truncated-fragmented.mp4",
        "truncated-fragments.mp4",
        "truncated-listed.mp4",
        "truncated-aac.mp4",
        "truncated-aac.mkv",
        "truncated-opus.webm",
        "truncated-mp3.avi",
        "truncated-pcm.avi",
        "truncated-aac.flv",
        "truncated-wma.wmv",
        "truncated-sound.wav",
        "truncated-sound.flac",
        "truncated-sound.mp3",
        "truncated-pcm.w64",
        "truncated-pcm.aiff",
        "truncated-pcm.au",
        "truncated-pcm.caf",
        "truncated-pcm.mxf",
        "truncated-sound.wv",
    ] {
        let Err(expected) = try_extract(name, wav.clone(), AvLimits::default()) else {
            panic!("{name} is whole")
        };
        assert_eq!(expected.public.code, FailureCode::InvalidVideo, "{name}");
        for is_sized in [true, false] {
            let heard = hear(&sample(name), &wav, is_sized).result;
            assert_eq!(heard, Err(expected.clone()), "{name}, with its length: {is_sized}");
        }
    }
}
