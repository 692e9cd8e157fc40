//! libav over real files, judged by the ffmpeg command: it shares the decoders, but not a line of what is tested here.

mod arriving;
mod bad;
mod channels;
mod copies;
mod crews;
mod damage;
mod documents;
mod encrypted;
mod formats;
mod jumps;
mod large;
mod loudness;
mod maps;
mod metadata;
mod parts;
mod skips;
mod steady;
mod tagged;
mod timing;
mod waves;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use domain::{AudioFormat, Bitrate, Extracted, Failure, Loudness, OutputSpec, Quality, Step};
use testkit::samples::sample;

use super::{AvLimits, AvOrder, Host, HostGone, Probe};

/// A host over a file, which keeps what it is told and asked.
struct FileHost {
    file: File,
    read: Vec<Range<u64>>,
    planned: Vec<Range<u64>>,
    probes: Vec<Probe>,
    steps: Vec<(Step, Option<f64>)>,
    /// Goes away after so many reads.
    reads_left: usize,
}

impl FileHost {
    fn open(path: &Path) -> Self {
        let file = File::open(path).expect("a sample");
        Self { file, read: vec![], planned: vec![], probes: vec![], steps: vec![], reads_left: usize::MAX }
    }

    fn bytes_read(&self) -> u64 {
        self.read.iter().map(|range| range.end - range.start).sum()
    }
}

impl Host for FileHost {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        self.reads_left = self.reads_left.checked_sub(1).ok_or(HostGone)?;
        let count = self.file.read_at(buf, offset).map_err(|_| HostGone)?;
        self.read.push(offset..offset + count as u64);
        Ok(count)
    }

    fn size(&mut self) -> Result<u64, HostGone> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|_| HostGone)
    }

    fn plan(&mut self, ranges: &[Range<u64>]) {
        self.planned = ranges.to_vec();
    }

    fn probed(&mut self, probe: Probe) {
        self.probes.push(probe);
    }

    fn progressed(&mut self, step: Step, fraction: Option<f64>) {
        self.steps.push((step, fraction));
    }
}

fn spec(format: AudioFormat, quality: Quality) -> OutputSpec {
    OutputSpec { quality: Some(quality), ..OutputSpec::plain(format) }
}

fn at_bitrate(format: AudioFormat, bitrate: &str) -> OutputSpec {
    let bitrate = Some(Bitrate::parse(bitrate, format).expect("a bitrate"));
    OutputSpec { bitrate, ..spec(format, Quality::Medium) }
}

fn normalized(format: AudioFormat, target: Loudness) -> OutputSpec {
    OutputSpec { normalize: Some(target), ..spec(format, Quality::Extreme) }
}

/// The result, and the file that it is in.
struct Made {
    result: Extracted,
    file: tempfile::NamedTempFile,
    host: FileHost,
}

fn run(host: &mut dyn Host, output: OutputSpec, limits: AvLimits, into: &Path) -> Result<Extracted, Failure> {
    super::load(true).expect("libav");
    let into = File::options().read(true).write(true).truncate(true).open(into).expect("a result's file");
    super::run(AvOrder { output, limits, into }, host)
}

fn try_extract(name: &str, output: OutputSpec, limits: AvLimits) -> Result<Made, Failure> {
    let file = tempfile::NamedTempFile::new().expect("a result's file");
    let mut host = FileHost::open(&sample(name));
    let result = run(&mut host, output, limits, file.path())?;
    let size = file.as_file().metadata().expect("the result's size").len();
    assert_eq!(size, result.size, "{name}: the size that is reported");
    Ok(Made { result, file, host })
}

fn extract(name: &str, output: OutputSpec) -> Made {
    try_extract(name, output, AvLimits::default()).unwrap_or_else(|failure| panic!("{name}: {failure}"))
}

fn output_of(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("the oracle starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What ffprobe says of the first audio stream: codec, Hz, channels.
fn probe(path: &Path) -> (String, u32, u16) {
    let entries = "stream=codec_name,sample_rate,channels";
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-select_streams",
        "a:0",
        "-show_entries",
        entries,
        "-of",
        "default=nw=1:nk=1",
    ]);
    let text = String::from_utf8(output_of(ffprobe.arg(path))).expect("text");
    // A transport stream lists its streams twice, once in its programme.
    let mut words = text.split_whitespace();
    let mut next = || words.next().expect("a word").to_owned();
    (next(), next().parse().expect("Hz"), next().parse().expect("channels"))
}

/// The samples of all channels mixed to one, as the ffmpeg command decodes them.
fn decoded(path: &Path) -> Vec<i16> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path).args(["-map", "0:a:0"]);
    let bytes = output_of(ffmpeg.args(["-ac", "1", "-f", "s16le", "-"]));
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// What the ffmpeg command hears.
struct Heard {
    codec: String,
    rate: u32,
    channels: u16,
    /// Counted in samples.
    secs: f64,
}

/// Decodes to WAVE, whose header says rate and channels, while the log says the codec: one start of ffmpeg, not three.
fn heard(path: &Path) -> Heard {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-nostats", "-i"]).arg(path).args([
        "-map",
        "0:a:0",
        "-c:a",
        "pcm_s16le",
    ]);
    let output = ffmpeg.args(["-bitexact", "-f", "wav", "-"]).output().expect("the oracle starts");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {log}", path.display());
    let codec = log.split("Audio: ").nth(1).and_then(|rest| rest.split([' ', ',']).next()).expect("a codec");
    let number = |at: usize| u32::from_le_bytes(output.stdout[at..at + 4].try_into().expect("four bytes"));
    let (channels, rate) = ((number(20) >> 16) as u16, number(24));
    let data = output.stdout.windows(4).position(|bytes| bytes == b"data").expect("a data chunk") + 8;
    let samples = (output.stdout.len() - data) / 2 / usize::from(channels);
    Heard { codec: codec.to_owned(), rate, channels, secs: samples as f64 / f64::from(rate) }
}
