//! The sources: one recording in each container and interleaving, made once and kept beside the program.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Plan;
use super::host::Ranges;
use crate::Outcome;
use crate::media::inputs::make;

/// Something like music, in stereo.
const SOUND: &str = "aevalsrc=exprs=\
    0.25*sin(2*PI*220*t)*exp(-3*mod(t\\,0.5))+0.05*(random(0)-0.5)|0.25*sin(2*PI*277*t)+0.05*(random(1)-0.5)\
    :s=48000:c=stereo";
/// So much of the picture is made, and repeated: its bytes are what counts.
const PICTURE_SECS: u32 = 20;

/// What the bytes of a source are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// What is not in an `mdat` box, and the audio's packets.
    OutsideOfMdat,
    /// What is not in the `movi` list, and the audio's chunks.
    OutsideOfMovi,
    /// All of it: nothing says where the audio lies.
    Whole,
}

/// What is measured with a source, and the bars.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) ranges: Ranges,
    /// Of what is needed; where there is no bar, as many as it takes.
    pub(super) most_bytes: Option<f64>,
    /// Of the time that `ffmpeg` takes.
    pub(super) most_wall: f64,
}

const fn work(ranges: Ranges, most_bytes: Option<f64>, most_wall: f64) -> Work {
    Work { ranges, most_bytes, most_wall }
}

const CHUNKED: &[Work] =
    &[work(Ranges::Several, Some(1.05), 1.0 / 40.0), work(Ranges::Single, Some(1.05), 1.0 / 15.0)];
const INTERLEAVED: &[Work] =
    &[work(Ranges::Several, Some(1.25), 1.0 / 40.0), work(Ranges::Single, None, 1.0 / 2.0)];
const WALKED: &[Work] = &[work(Ranges::Several, Some(1.5), 1.0 / 5.0)];
const STREAMED: &[Work] = &[work(Ranges::Several, Some(1.02), 1.05)];

/// How a source is made and what is asked of it.
struct Kind {
    name: &'static str,
    extension: &'static str,
    muxing: &'static [&'static str],
    needed: Needed,
    works: &'static [Work],
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "mp4, 1 s chunks, faststart",
        extension: "mp4",
        muxing: &["-chunk_duration", "1000000", "-movflags", "+faststart"],
        needed: Needed::OutsideOfMdat,
        works: CHUNKED,
    },
    Kind {
        name: "mp4, 1 s chunks, moov at the end",
        extension: "mp4",
        muxing: &["-chunk_duration", "1000000"],
        needed: Needed::OutsideOfMdat,
        works: CHUNKED,
    },
    Kind {
        name: "mp4, packet interleave",
        extension: "mp4",
        muxing: &["-movflags", "+faststart"],
        needed: Needed::OutsideOfMdat,
        works: INTERLEAVED,
    },
    Kind {
        name: "fragmented mp4",
        extension: "mp4",
        muxing: &["-movflags", "+frag_keyframe+empty_moov+default_base_moof"],
        needed: Needed::OutsideOfMdat,
        works: WALKED,
    },
    Kind {
        name: "fragmented mp4 with sidx",
        extension: "mp4",
        muxing: &["-movflags", "+frag_keyframe+empty_moov+default_base_moof+global_sidx"],
        needed: Needed::OutsideOfMdat,
        works: WALKED,
    },
    Kind { name: "avi", extension: "avi", muxing: &[], needed: Needed::OutsideOfMovi, works: WALKED },
    Kind { name: "mkv", extension: "mkv", muxing: &[], needed: Needed::Whole, works: STREAMED },
    Kind { name: "ts", extension: "ts", muxing: &[], needed: Needed::Whole, works: STREAMED },
    Kind { name: "flv", extension: "flv", muxing: &[], needed: Needed::Whole, works: STREAMED },
];

/// One file.
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    pub(super) works: &'static [Work],
    needed: Needed,
}

impl Source {
    /// Those that are wanted, with what is not there yet made.
    pub(super) fn all(plan: &Plan) -> Outcome<Vec<Self>> {
        let folder = folder()?;
        let recording = recording(&folder, plan.secs())?.display().to_string();
        let wanted = KINDS.into_iter().enumerate().filter(|(_, kind)| plan.wants(kind.name));
        let made = wanted.map(|(number, kind)| {
            let Kind { name, extension, muxing, needed, works } = kind;
            let path = folder.join(format!("{number}-{}.{extension}", plan.secs()));
            make(&path, &[&["-i", &recording, "-c", "copy"], muxing].concat())?;
            Ok(Self { name, path, works, needed })
        });
        made.collect()
    }

    /// Five gigabytes, nearly all of it holes: raw picture that is black.
    pub(super) fn large() -> Outcome<PathBuf> {
        let path = folder()?.join("large.mov");
        if !path.exists() {
            let picture = "color=c=black:s=1280x720:r=25:d=71";
            let sound = format!("{SOUND}:d=71");
            let codecs = ["-c:v", "rawvideo", "-pix_fmt", "rgb24", "-c:a", "aac", "-b:a", "138k"];
            make(
                &path,
                &[&["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", &sound], &codecs[..]].concat(),
            )?;
            let dug = Command::new("fallocate").arg("--dig-holes").arg(&path).status()?;
            if !dug.success() {
                return Err("fallocate digs no holes here".into());
            }
        }
        Ok(path)
    }

    /// The file's name in a URL.
    pub(super) fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The bytes that extraction cannot do without.
    pub(super) fn needed_bytes(&self) -> Outcome<u64> {
        let mut file = File::open(&self.path)?;
        let whole = file.metadata()?.len();
        let (packets, audio) = audio_of(&self.path)?;
        Ok(match self.needed {
            Needed::Whole => whole,
            Needed::OutsideOfMdat => whole - media_bytes(&mut file, mp4_box, b"mdat")? + audio,
            // Each chunk has a head of eight bytes.
            Needed::OutsideOfMovi => {
                whole - media_bytes(&mut file, riff_chunk, b"LIST")? + audio + 8 * packets
            }
        })
    }
}

fn folder() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or("no folder")?.join("bench-fetch");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Picture at 4.5 Mbit/s with a key frame a second, AAC at 138 kbit/s.
fn recording(folder: &Path, secs: u32) -> Outcome<PathBuf> {
    let picture = folder.join("picture.mp4");
    let drawn = format!("testsrc2=s=1280x720:r=25:d={PICTURE_SECS},noise=alls=12:allf=t");
    let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25"];
    let rate = ["-b:v", "4500k", "-minrate", "4500k", "-maxrate", "4500k", "-bufsize", "4500k"];
    make(&picture, &[&["-f", "lavfi", "-i", &drawn], &codec[..], &rate[..]].concat())?;
    let (path, length) = (folder.join(format!("recording-{secs}.mp4")), secs.to_string());
    let (picture, sound) = (picture.display().to_string(), format!("{SOUND}:d={secs}"));
    let inputs =
        ["-stream_loop", "-1", "-i", &picture, "-f", "lavfi", "-i", &sound, "-map", "0:v", "-map", "1:a"];
    let codecs = ["-t", &length, "-c:v", "copy", "-c:a", "aac", "-b:a", "138k"];
    make(&path, &[&inputs[..], &codecs[..]].concat())?;
    Ok(path)
}

/// Packets of the audio and their bytes, as ffprobe finds them.
fn audio_of(path: &Path) -> Outcome<(u64, u64)> {
    let mut ffprobe = Command::new("ffprobe");
    let entries = ["-v", "error", "-select_streams", "a", "-show_entries", "packet=size", "-of", "csv=p=0"];
    let said = String::from_utf8(ffprobe.args(entries).arg(path).output()?.stdout)?;
    let sizes = said.lines().filter_map(|line| line.trim_matches(',').parse::<u64>().ok());
    Ok(sizes.fold((0, 0), |(packets, bytes), size| (packets + 1, bytes + size)))
}

/// Name and length of a box or chunk, from its first bytes.
type Head = fn(&[u8; 16]) -> ([u8; 4], u64);

fn mp4_box(head: &[u8; 16]) -> ([u8; 4], u64) {
    let [a, b, c, d, name @ .., _, _, _, _, _, _, _, _] = *head;
    let long =
        u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]);
    match u32::from_be_bytes([a, b, c, d]) {
        1 => (name, long),
        short => (name, u64::from(short)),
    }
}

/// What the RIFF file consists of; that itself is entered.
fn riff_chunk(head: &[u8; 16]) -> ([u8; 4], u64) {
    let [a, b, c, d, size @ .., e, f, g, h, _, _, _, _] = *head;
    let length = u64::from(u32::from_le_bytes(size));
    match (&[a, b, c, d], &[e, f, g, h]) {
        (b"RIFF", _) => ([a, b, c, d], 12),
        // The headers are a list too.
        (b"LIST", b"movi") => ([a, b, c, d], 8 + length + length % 2),
        _ => (*b"rest", 8 + length + length % 2),
    }
}

/// The bytes of all outermost boxes or chunks of this name.
fn media_bytes(file: &mut File, parse: Head, media: &[u8; 4]) -> Outcome<u64> {
    let (whole, mut at, mut bytes) = (file.metadata()?.len(), 0, 0);
    while at + 16 <= whole {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let (name, length) = parse(&head);
        if length < 8 {
            return Err("a box without an end".into());
        }
        bytes += if name == *media { length } else { 0 };
        at += length;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_long_what_follows_is() {
        assert_eq!(mp4_box(b"\0\0\0\x20ftypisom\0\0\x02\0"), (*b"ftyp", 32));
        assert_eq!(mp4_box(b"\0\0\0\x01mdat\0\0\0\x01\0\0\0\0"), (*b"mdat", 1 << 32));
        assert_eq!(riff_chunk(b"RIFF\xff\0\0\0AVI LIST"), (*b"RIFF", 12));
        assert_eq!(riff_chunk(b"LIST\x05\0\0\0movi00dc"), (*b"LIST", 14));
        assert_eq!(riff_chunk(b"LIST\x04\0\0\0hdrlavih"), (*b"rest", 12));
    }
}
