//! Small real media files: speech over music, and a picture that moves, in every container and codec that matters;
//! and files that are not what they seem.
//!
//! Each is made when it is first asked for, with ffmpeg, espeak-ng and sox, and kept beside the build's other products.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Raised with every change of a recipe, so that nobody tests yesterday's files.
const EDITION: &str = "samples-2";

/// Where the sound of a sample comes from, and what ffmpeg is told to make of it. `{sound}` is 6 s of stereo at
/// 48 kHz, `{cd}` the same at 44.1 kHz, `{picture}` 6 s of H.264, `{wide}` the same at 1.6 MB/s.
const RECIPES: &[(&str, &str)] = &[
    // The bricks of all others.
    (
        "picture.mp4",
        "-f lavfi -i testsrc2=s=320x180:r=25:d=6 -c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p",
    ),
    (
        "wide.mp4",
        "-f lavfi -i testsrc2=s=640x360:r=25:d=6 -vf noise=alls=12:allf=t -c:v libx264 -preset ultrafast -qp 26 \
         -g 4 -pix_fmt yuv420p",
    ),
    ("cd.wav", "-i {sound} -ar 44100"),
    // Containers with a picture.
    ("aac.mp4", "-i {picture} -i {cd} -c:v copy -c:a aac -b:a 128k"),
    ("faststart.mp4", "-i {picture} -i {sound} -c:v copy -c:a aac -b:a 128k -movflags +faststart"),
    (
        "fragmented.mp4",
        "-i {picture} -i {sound} -c:v copy -c:a aac -b:a 128k -movflags +frag_keyframe+empty_moov+default_base_moof",
    ),
    // Fragments of a sixth of a second: listed at the end, at the start, each by itself, and not at all; and with the
    // sound in fragments of its own.
    (
        "fragments.mp4",
        "-i {wide} -i {sound} -c:v copy -c:a aac -movflags +frag_keyframe+empty_moov+default_base_moof",
    ),
    (
        "listed.mp4",
        "-i {wide} -i {sound} -c:v copy -c:a aac \
         -movflags +frag_keyframe+empty_moov+default_base_moof+global_sidx+skip_trailer",
    ),
    // Its sound ends before its picture.
    (
        "early.mp4",
        "-i {wide} -t 4 -i {sound} -c:v copy -c:a aac \
         -movflags +frag_keyframe+empty_moov+default_base_moof+global_sidx+skip_trailer",
    ),
    ("dash.mp4", "-i {wide} -i {sound} -c:v copy -c:a aac -movflags +frag_keyframe+empty_moov+dash"),
    (
        "unlisted.mp4",
        "-i {wide} -i {sound} -c:v copy -c:a aac \
         -movflags +frag_keyframe+empty_moov+default_base_moof+skip_trailer",
    ),
    (
        "apart.mp4",
        "-i {wide} -i {sound} -c:v copy -c:a flac -strict -2 \
         -movflags +frag_keyframe+empty_moov+default_base_moof+separate_moof+skip_trailer",
    ),
    ("ac3.mp4", "-i {picture} -i {sound} -c:v copy -c:a ac3 -b:a 192k"),
    ("eac3.mp4", "-i {picture} -i {sound} -c:v copy -c:a eac3 -b:a 192k"),
    ("mp3.mp4", "-i {picture} -i {cd} -c:v copy -c:a libmp3lame -b:a 128k"),
    ("alac.mp4", "-i {picture} -i {cd} -c:v copy -c:a alac"),
    ("opus.mp4", "-i {picture} -i {sound} -c:v copy -c:a libopus -b:a 96k"),
    ("flac.mp4", "-i {picture} -i {sound} -c:v copy -c:a flac -strict -2"),
    ("pcm16.mov", "-i {picture} -i {sound} -c:v copy -c:a pcm_s16le"),
    ("pcm24.mov", "-i {picture} -i {sound} -c:v copy -c:a pcm_s24le"),
    ("aac.mov", "-i {picture} -i {sound} -c:v copy -c:a aac"),
    ("alac.mov", "-i {picture} -i {sound} -c:v copy -c:a alac"),
    ("aac.mkv", "-i {picture} -i {sound} -c:v copy -c:a aac"),
    ("ac3.mkv", "-i {picture} -i {sound} -c:v copy -c:a ac3"),
    ("surround.mkv", "-i {picture} -i {sound} -c:v copy -ac 6 -c:a ac3 -b:a 448k"),
    ("eac3.mkv", "-i {picture} -i {sound} -c:v copy -c:a eac3"),
    ("opus.mkv", "-i {picture} -i {sound} -c:v copy -c:a libopus"),
    ("vorbis.mkv", "-i {picture} -i {cd} -c:v copy -c:a libvorbis"),
    ("flac.mkv", "-i {picture} -i {cd} -c:v copy -c:a flac"),
    ("mp3.mkv", "-i {picture} -i {cd} -c:v copy -c:a libmp3lame"),
    ("pcm.mkv", "-i {picture} -i {sound} -c:v copy -c:a pcm_s16le"),
    ("mp2.mkv", "-i {picture} -i {sound} -c:v copy -c:a mp2"),
    ("opus.webm", "-i {picture} -i {sound} -c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus"),
    ("vorbis.webm", "-i {picture} -i {cd} -c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis"),
    ("mp3.avi", "-i {picture} -i {cd} -c:v mpeg4 -c:a libmp3lame"),
    ("pcm.avi", "-i {picture} -i {sound} -c:v mpeg4 -c:a pcm_s16le"),
    ("wide.avi", "-i {wide} -i {cd} -c:v copy -c:a libmp3lame"),
    ("wide-pcm.avi", "-i {wide} -i {sound} -c:v copy -c:a pcm_s16le"),
    ("ac3.avi", "-i {picture} -i {sound} -c:v mpeg4 -c:a ac3"),
    ("mp2.avi", "-i {picture} -i {sound} -c:v mpeg4 -c:a mp2"),
    ("aac.flv", "-i {picture} -i {cd} -c:v copy -c:a aac"),
    ("mp3.flv", "-i {picture} -i {cd} -c:v flv -c:a libmp3lame"),
    ("aac.ts", "-i {picture} -i {sound} -c:v copy -c:a aac -f mpegts"),
    ("mp2.ts", "-i {picture} -i {sound} -c:v copy -c:a mp2 -f mpegts"),
    ("ac3.ts", "-i {picture} -i {sound} -c:v copy -c:a ac3 -f mpegts"),
    ("mp3.ts", "-i {picture} -i {sound} -c:v copy -c:a libmp3lame -f mpegts"),
    ("wma.wmv", "-i {picture} -i {cd} -c:v wmv2 -c:a wmav2 -f asf"),
    // Sound alone.
    ("sound.mp3", "-i {cd} -c:a libmp3lame"),
    ("sound.m4a", "-i {cd} -c:a aac"),
    ("sound.ogg", "-i {cd} -c:a libvorbis"),
    ("sound.opus", "-i {sound} -c:a libopus"),
    ("sound.flac", "-i {sound} -c:a flac"),
    ("sound24.flac", "-i {sound} -af volume=0.7 -c:a flac -sample_fmt s32"),
    ("sound.aac", "-i {cd} -c:a aac -f adts"),
    ("sound.wma", "-i {cd} -c:a wmav2 -f asf"),
    ("mono.m4a", "-i {cd} -ac 1 -c:a aac"),
    ("second.m4a", "-i {cd} -af atrim=end_sample=44100 -c:a aac"),
    ("silence.wav", "-f lavfi -i anullsrc=r=48000:cl=stereo -t 2"),
    ("quiet.wav", "-i {sound} -af volume=-24dB -c:a pcm_s24le"),
    // Of every loudness: with decaying tones, without rest, with lone peaks, cut off at full scale, hardly there.
    (
        "music.wav",
        "-f lavfi -i aevalsrc=0.5*sin(2*PI*220*t)*exp(-3*mod(t\\,0.5))|0.4*sin(2*PI*277*t)*exp(-2*mod(t\\,1)):s=44100 \
         -t 4 -c:a pcm_s16le",
    ),
    (
        "dense.wav",
        "-f lavfi -i anoisesrc=c=pink:r=48000:d=4:seed=1 -af volume=20dB,asoftclip=tanh,volume=-4dB -ac 2 -c:a pcm_s16le",
    ),
    (
        "peaky.wav",
        "-f lavfi -i aevalsrc=0.05*sin(2*PI*220*t)+0.6*sin(2*PI*950*t)*exp(-80*mod(t\\,0.7)):s=96000:d=4 -c:a pcm_s24le",
    ),
    ("square.wav", "-f lavfi -i aevalsrc=0.97*sgn(sin(2*PI*441.7*t)):s=44100:d=3 -c:a pcm_s16le"),
    ("clipped.wav", "-i {sound} -t 4 -af volume=22dB -c:a pcm_s16le"),
    ("whisper.wav", "-i {sound} -t 4 -af volume=-46dB -c:a pcm_s24le"),
    // A tone that is below the meter's gate every other second.
    (
        "hushed.wav",
        "-f lavfi -i aevalsrc=if(lt(mod(t\\,2)\\,1)\\,0.00112\\,0.00038)*sin(2*PI*997*t):s=48000:d=12 -c:a pcm_s24le",
    ),
    ("hires.flac", "-i {sound} -t 4 -ar 96000 -c:a flac -sample_fmt s32"),
    // Sound that does not begin with the picture, or stops in between.
    ("late.mp4", "-i {picture} -itsoffset 1 -i {sound} -t 6 -c:v copy -c:a aac"),
    ("late.mkv", "-i {picture} -itsoffset 1 -i {sound} -t 6 -c:v copy -c:a flac"),
    ("late.ts", "-i {picture} -itsoffset 1 -i {sound} -t 6 -c:v copy -c:a mp2 -f mpegts"),
    ("hole.mkv", "-i {picture} -i {sound} -af aselect=not(between(t\\,2\\,3)) -c:v copy -c:a flac"),
    // So long that looking for what their headers leave open comes to an end before they do.
    ("long.ts", "-stream_loop 5 -i {picture} -stream_loop 5 -i {sound} -c:v copy -c:a aac -f mpegts"),
    ("long.mpg", "-stream_loop 5 -i {picture} -stream_loop 5 -i {sound} -c:v mpeg2video -c:a mp2 -f mpeg"),
    ("long.flv", "-stream_loop 5 -i {picture} -stream_loop 5 -i {cd} -c:v copy -c:a aac"),
    // So long that what lies before a late part is worth skipping, and mostly picture.
    (
        "long.mp4",
        "-stream_loop 5 -i {wide} -stream_loop 5 -i {sound} -c:v copy -c:a aac -b:a 128k -movflags +faststart",
    ),
    // The same in little: hardly any sound, in one piece and in fragments, and sound that can be counted by its bytes.
    ("tiny.m4a", "-stream_loop 3 -i {sound} -ac 1 -ar 16000 -c:a aac -b:a 16k"),
    (
        "tiny-fragments.mp4",
        "-stream_loop 3 -i {sound} -ac 1 -ar 16000 -c:a aac -b:a 16k \
         -movflags +frag_keyframe+empty_moov+global_sidx -frag_duration 5000000",
    ),
    ("tiny.mov", "-stream_loop 3 -i {sound} -ac 1 -ar 4000 -c:a pcm_s16le"),
    // One of each kind that is seldom met.
    ("pcm.w64", "-i {sound} -c:a pcm_s16le -f w64"),
    ("pcm.aiff", "-i {sound} -c:a pcm_s16be"),
    ("pcm.au", "-i {sound} -c:a pcm_s16be"),
    ("pcm.caf", "-i {sound} -c:a pcm_s16be"),
    ("pcm.mxf", "-i {picture} -i {sound} -c:v mpeg2video -c:a pcm_s16le -f mxf"),
    ("mp2.mpg", "-i {picture} -i {sound} -c:v mpeg2video -c:a mp2 -f mpeg"),
    ("sound.wv", "-i {sound} -c:a wavpack"),
    ("sound.ac3", "-i {sound} -c:a ac3"),
    ("sound.eac3", "-i {sound} -c:a eac3"),
    ("sound.dts", "-i {sound} -c:a dca -strict -2"),
    ("sound.latm", "-i {sound} -c:a aac -f latm"),
    ("flac.ogg", "-i {sound} -c:a flac -f ogg"),
    // More than one track: English (the default), German, and French in mono; each quieter than the last.
    (
        "tracks.mkv",
        "-i {picture} -i {sound} -map 0:v -map 1:a -map 1:a -map 1:a -c:v copy -c:a flac \
         -filter:a:1 volume=0.5 -filter:a:2 volume=0.25 -ac:a:2 1 \
         -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger -metadata:s:a:2 language=fre \
         -disposition:a:0 default -disposition:a:1 0 -disposition:a:2 0",
    ),
    // Nothing to extract.
    ("no-audio.mp4", "-i {picture} -c copy"),
    (
        "encrypted.mp4",
        "-i {picture} -i {cd} -c:v copy -c:a aac -encryption_scheme cenc-aes-ctr \
         -encryption_key 00112233445566778899aabbccddeeff -encryption_kid 112233445566778899aabbccddeeff00",
    ),
];

/// Every sample with sound that can be extracted whole.
#[rustfmt::skip] // one name a line would be fifty lines
pub const PLAYABLE: &[&str] = &[
    "aac.mp4", "faststart.mp4", "fragmented.mp4", "ac3.mp4", "eac3.mp4", "mp3.mp4", "alac.mp4", "opus.mp4", "flac.mp4",
    "pcm16.mov", "pcm24.mov", "aac.mov", "alac.mov", "aac.mkv", "ac3.mkv", "surround.mkv", "eac3.mkv", "opus.mkv",
    "vorbis.mkv", "flac.mkv", "mp3.mkv", "pcm.mkv", "mp2.mkv", "opus.webm", "vorbis.webm", "mp3.avi", "pcm.avi",
    "ac3.avi", "mp2.avi", "aac.flv", "mp3.flv", "aac.ts", "mp2.ts", "ac3.ts", "mp3.ts", "wma.wmv", "sound.mp3",
    "sound.m4a", "sound.ogg", "sound.opus", "sound.flac", "sound24.flac", "sound.aac", "sound.wma", "sound.wav",
    "mono.m4a", "second.m4a",
];

/// At least one of each kind of container, and of each way to lay one out.
#[rustfmt::skip] // one name a line would be forty lines
pub const CONTAINERS: &[&str] = &[
    "aac.mp4", "faststart.mp4", "fragmented.mp4", "fragments.mp4", "listed.mp4", "pcm16.mov", "alac.mov",
    "encrypted.mp4", "aac.mkv", "vorbis.mkv", "opus.webm", "mp3.avi", "pcm.avi", "wide.avi", "aac.flv", "aac.ts",
    "mp2.ts", "ac3.ts", "mp2.mpg", "wma.wmv", "sound.mp3",
    "sound.aac", "sound.latm", "sound.m4a", "sound.ogg", "sound.opus", "flac.ogg", "sound.flac", "sound.wav", "pcm.w64",
    "pcm.aiff", "pcm.au", "pcm.caf", "pcm.mxf", "sound.wv", "sound.ac3", "sound.eac3", "sound.dts",
];

/// So long that what lies before a late part is skipped, and small.
pub const TINY: &[&str] = &["tiny.m4a", "tiny-fragments.mp4", "tiny.mov"];

/// The path of a sample, which is made if it is not there yet.
///
/// Beside the recipes there are `sound.wav`; `speech.wav`, a voice alone, mono at 22,050 Hz; `short-NAME`, another's first second by its recipe; `truncated-NAME`, the
/// first 60 % of another; `unknown-codec.mp4`;
/// `damaged-NAME`, with bytes overwritten in the middle; `page.mp4` (HTML), `empty.mp4`, `noise.mp4`, `concat.mp4` and
/// `playlist.mp4` (ffconcat and m3u8 in disguise).
///
/// # Panics
/// If there is no such sample or it cannot be made: a test cannot go on without it.
pub fn sample(name: &str) -> PathBuf {
    let folder = folder();
    let path = folder.join(name);
    if !path.exists() {
        fs::create_dir_all(&folder).expect("a folder for samples");
        // Tests run side by side: each makes its own, and the first one stays, so that no test sees it change.
        let draft = folder.join(format!("draft-{}-{}-{name}", std::process::id(), next_number()));
        make(name, &draft);
        let linked = fs::hard_link(&draft, &path);
        assert!(linked.is_ok() || path.exists(), "{name} finds no place: {linked:?}");
        fs::remove_file(&draft).expect("a draft to remove");
    }
    path
}

/// Where samples are kept.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(EDITION)
}

pub(crate) fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn make(name: &str, into: &Path) {
    if let Some(whole) = name.strip_prefix("truncated-") {
        let bytes = read(whole);
        return write(into, &bytes[..bytes.len() * 6 / 10]);
    }
    if let Some(whole) = name.strip_prefix("damaged-") {
        return write(into, &damaged(read(whole)));
    }
    match name {
        "sound.wav" => sound(into),
        "speech.wav" => speech(into),
        "unknown-codec.mp4" => write(into, &replaced(read("alac.mp4"), b"alac", b"zzzz")),
        "page.mp4" => write(into, PAGE.as_bytes()),
        "empty.mp4" => write(into, b""),
        "noise.mp4" => write(into, &noise(200_000)),
        "concat.mp4" => write(into, b"ffconcat version 1.0\nfile 'sound.wav'\n"),
        "playlist.mp4" => write(into, PLAYLIST.as_bytes()),
        _ => {
            let (whole, cut) = name.strip_prefix("short-").map_or((name, ""), |whole| (whole, " -t 1"));
            let recipe = match whole {
                "sound.wav" => Some("-i {sound}"),
                _ => RECIPES.iter().find(|(known, _)| *known == whole).map(|(_, recipe)| *recipe),
            };
            let recipe = recipe.unwrap_or_else(|| panic!("there is no sample `{name}`"));
            ffmpeg(&format!("{recipe}{cut}"), name, into);
        }
    }
}

const PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><p>Please sign in.</p></body></html>\n";
const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n#EXTINF:6.0,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n";

fn ffmpeg(recipe: &str, name: &str, into: &Path) {
    let words = recipe.split_whitespace().map(|word| match word {
        "{sound}" => sample("sound.wav").into_os_string(),
        "{cd}" => sample("cd.wav").into_os_string(),
        "{picture}" => sample("picture.mp4").into_os_string(),
        "{wide}" => sample("wide.mp4").into_os_string(),
        word => word.into(),
    });
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).args(words);
    // The draft's name ends like the sample's, so that ffmpeg finds the container by it.
    run(command.args(["-threads", "1", "-fflags", "+bitexact"]).arg(into), name);
}

/// 6 s of speech over plucked chords, stereo with something different on each side.
fn sound(into: &Path) {
    let part = |name: &str| into.with_extension(name);
    let (speech, music) = (part("speech.wav"), part("music.wav"));
    self::speech(&speech);
    let chord = ["pluck", "A2", "pluck", "E3", "pluck", "C4", "pluck", "A3"];
    let mut sox = Command::new("sox");
    sox.args(["-R", "-n", "-r", "48000", "-c", "4"]).arg(&music).args(["synth", "1.5"]).args(chord);
    run(sox.args(["remix", "1v.4,3v.3,4v.1", "2v.4,3v.1,4v.3", "repeat", "3"]), "music");
    let filter = "[0:a]aresample=48000,pan=stereo|c0=0.8*c0|c1=0.6*c0,apad[s];\
                  [s][1:a]amix=inputs=2:duration=shortest,volume=1.4,atrim=end=6";
    let mut mix = Command::new("ffmpeg");
    mix.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i"])
        .arg(&speech)
        .arg("-i")
        .arg(&music);
    run(mix.args(["-filter_complex", filter, "-c:a", "pcm_s16le", "-f", "wav"]).arg(into), "sound");
    for part in [speech, music] {
        fs::remove_file(part).expect("a part to remove");
    }
}

fn speech(into: &Path) {
    let words = "The quick brown fox jumps over the lazy dog, and one hundred and twenty three foxes follow.";
    run(Command::new("espeak-ng").args(["-v", "en-us", "-s", "150", "-w"]).arg(into).arg(words), "speech");
}

pub(crate) fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|cause| panic!("{command:?} does not start: {cause}"));
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(name: &str) -> Vec<u8> {
    fs::read(sample(name)).expect("a sample to read")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a sample to write");
}

/// All occurrences.
fn replaced(mut bytes: Vec<u8>, from: &[u8; 4], to: &[u8; 4]) -> Vec<u8> {
    for at in 0..bytes.len().saturating_sub(3) {
        if bytes[at..at + 4] == from[..] {
            bytes[at..at + 4].copy_from_slice(to);
        }
    }
    bytes
}

/// Three small wounds in the middle half, where packets lie in every container.
fn damaged(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.len();
    for at in [len * 4 / 10, len / 2, len * 6 / 10] {
        bytes[at..at + 24].fill(0xff);
    }
    bytes
}

/// The same on every machine (xorshift).
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
    .take(len)
    .collect()
}
