//! Parts that begin late: what comes before them is not read, and they are what they are in the whole.

use domain::FailureCode;

use super::parts::{part, pcm};
use super::timing::{ROOM, itunes_mark, overwrite, room_for};
use super::*;

/// Tone and noise, different in each second and channel.
const SOUND: &str = "aevalsrc=exprs=0.3*sin(2*PI*(200+7*floor(t))*t)+0.1*(random(0)-0.5)|0.2*sin(2*PI*311*t)+0.1*(random(1)-0.5)\
    :s=48000:d=30";
/// Of a result: two channels of 16 bits.
const FRAME_BYTES: usize = 4;
const PICTURE: &str = "testsrc2=s=64x64:r=25:d=30";
/// From the middle, to the end, less than a frame, from the very begin of a packet.
const PARTS: [(f64, Option<f64>); 4] =
    [(14.234_567, Some(16.5)), (29.5, None), (20.0, Some(20.001)), (19.2, Some(19.3))];

/// A way to write the sound.
type Writing<'a> = (&'a str, &'a str, &'a [&'a str]);

const EXACT: [Writing<'static>; 10] = [
    ("pcm", "mov", &["-c:a", "pcm_s16le"]),
    ("pcm, 24 bits", "mov", &["-c:a", "pcm_s24be"]),
    ("alac", "mp4", &["-c:a", "alac"]),
    ("flac", "mp4", &["-c:a", "flac", "-strict", "-2"]),
    ("aac", "mp4", &["-c:a", "aac", "-aac_pns", "0"]),
    ("mp3", "mp4", &["-c:a", "libmp3lame", "-b:a", "64k"]),
    ("mp3, 32 kHz", "mp4", &["-c:a", "libmp3lame", "-b:a", "32k", "-ar", "32000"]),
    ("aac, in fragments", "mp4", &["-c:a", "aac", "-aac_pns", "0", "-movflags", "+frag_keyframe+empty_moov"]),
    ("aac, late", "mp4", &["-af", "asetpts=PTS+1.5/TB", "-c:a", "aac", "-aac_pns", "0"]),
    ("aac, 44.1 kHz", "mov", &["-c:a", "aac", "-aac_pns", "0", "-ar", "44100"]),
];
/// What decoders make of them depends on all that they have heard: noise that they invent, levels that they predict.
const NEAR: [Writing<'static>; 4] = [
    ("aac with noise substitution", "mp4", &["-c:a", "aac", "-b:a", "64k"]),
    ("opus", "mp4", &["-c:a", "libopus", "-b:a", "96k"]),
    ("opus for speech", "mp4", &["-c:a", "libopus", "-b:a", "20k", "-application", "voip"]),
    ("ac3", "mp4", &["-c:a", "ac3", "-b:a", "192k"]),
];

fn made((name, extension, codec): Writing<'_>) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(&format!(".{extension}")).tempfile().expect("a file");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", SOUND]);
    let written = ffmpeg.args(codec).args(["-c:v", "mpeg4", "-g", "25"]).arg(file.path()).status();
    assert!(written.expect("ffmpeg starts").success(), "{name}");
    file
}

/// The samples of what was asked for, and how many bytes were planned.
fn heard(file: &Path, output: OutputSpec) -> Result<(Vec<u8>, u64), Failure> {
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    let mut host = FileHost::open(file);
    run(&mut host, output, AvLimits::default(), into.path())?;
    Ok((pcm(into.path()), host.planned.iter().map(|range| range.end - range.start).sum()))
}

/// Each part as it is made, and as it lies in the whole, where its bytes begin in that too.
fn each_part(source: Writing<'_>, mut check: impl FnMut(&str, Vec<u8>, &[u8], usize)) {
    let file = made(source);
    let (whole, whole_bytes) = heard(file.path(), OutputSpec::plain(AudioFormat::Wav)).expect("the whole");
    let rate = f64::from(probe(file.path()).1);
    for (start, end) in PARTS {
        let case = format!("{} from {start} to {end:?}", source.0);
        let (part, bytes) = heard(file.path(), part(AudioFormat::Wav, start, end)).expect(&case);
        let first = (start * rate).round() as usize * FRAME_BYTES;
        let samples = end.map_or(usize::MAX, |end| ((end - start) * rate).round() as usize);
        let count = samples.saturating_mul(FRAME_BYTES).min(whole.len() - first);
        assert_eq!(part.len(), count, "{case}");
        assert!(bytes * 4 < whole_bytes, "{case}: {bytes} of {whole_bytes} bytes are planned");
        check(&case, part, &whole, first);
    }
}

#[test]
fn a_late_part_is_the_same_to_the_bit_and_what_comes_before_it_is_not_read() {
    for source in EXACT {
        each_part(source, |case, part, whole, first| {
            assert!(part == whole[first..first + part.len()], "{case}");
        });
    }
}

#[test]
fn a_late_part_of_what_decoders_invent_is_in_its_place() {
    let samples = |bytes: &[u8]| -> Vec<f64> {
        bytes.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect()
    };
    let power = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    for source in NEAR {
        each_part(source, |case, part, whole, first| {
            // A sample earlier, in its place, a sample later.
            let apart: Vec<f64> =
                [first - FRAME_BYTES, first, (first + FRAME_BYTES).min(whole.len() - part.len())]
                    .map(|at| samples(&whole[at..at + part.len()]))
                    .iter()
                    .map(|there| {
                        power(
                            &there
                                .iter()
                                .zip(samples(&part))
                                .map(|(one, other)| one - other)
                                .collect::<Vec<_>>(),
                        )
                    })
                    .collect();
            let whole_power = power(&samples(&part));
            assert!(apart[1] * 100.0 < whole_power, "{case}: {apart:?} of {whole_power}");
            let is_last = first + part.len() == whole.len();
            assert!(apart[1] < apart[0] && (is_last || apart[1] < apart[2]), "{case}: {apart:?}");
        });
    }
}

#[test]
fn a_part_behind_a_hole_is_counted_from_the_begin() {
    let hole =
        ("a hole", "mp4", &["-af", "aselect='not(between(t,5,6))'", "-c:a", "aac", "-aac_pns", "0"][..]);
    let file = made(hole);
    let (whole, _) = heard(file.path(), OutputSpec::plain(AudioFormat::Wav)).expect("the whole");
    let (late, _) = heard(file.path(), part(AudioFormat::Wav, 20.0, Some(21.0))).expect("a part");
    assert!(late == whole[20 * 48_000 * FRAME_BYTES..21 * 48_000 * FRAME_BYTES]);
}

#[test]
fn a_part_is_counted_from_the_begin_where_the_clock_counts_no_samples() {
    /// All packets but the last, which is shorter.
    const PACKETS: u32 = 1292;
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let codec = ["-c:a", "aac", "-aac_pns", "0", "-ar", "44100", "-use_editlist", "0"];
    let file = made(("another clock", "mov", &codec));
    // 1024 samples are 2089.8 of its ticks; it says 2090, so that only ten packets are a whole number of samples.
    overwrite(file.path(), &numbers(&[PACKETS, 1024]), &numbers(&[PACKETS, 2090]));
    overwrite(
        file.path(),
        &numbers(&[44_100, 30 * 44_100 + 1024]),
        &numbers(&[90_000, (PACKETS + 1) * 2090]),
    );
    let (whole, _) = heard(file.path(), OutputSpec::plain(AudioFormat::Wav)).expect("the whole");
    // In packet 1240.
    let (late, _) = heard(file.path(), part(AudioFormat::Wav, 28.8, Some(29.3))).expect("a part");
    assert!(late == whole[28_800 * 441 / 10 * FRAME_BYTES..][..22_050 * FRAME_BYTES]);
}

#[test]
fn a_late_part_ends_where_itunes_says() {
    const SOUND: u64 = 30 * 48_000;
    let mark = itunes_mark(768, SOUND);
    let room = room_for(&mark);
    let codec: Vec<&str> = ["-c:a", "aac", "-aac_pns", "0"].into_iter().chain(room.split(' ')).collect();
    let file = made(("itunes", "m4a", &codec));
    overwrite(file.path(), ROOM, &mark);
    let (whole, _) = heard(file.path(), OutputSpec::plain(AudioFormat::Wav)).expect("the whole");
    assert_eq!(whole.len(), SOUND as usize * FRAME_BYTES);
    let (late, _) = heard(file.path(), part(AudioFormat::Wav, 29.5, None)).expect("a part");
    assert!(late == whole[29 * 48_000 * FRAME_BYTES + 24_000 * FRAME_BYTES..]);
}

#[test]
fn a_part_far_behind_the_end_fails_with_the_length() {
    for source in [EXACT[0], EXACT[4]] {
        let failure =
            heard(made(source).path(), part(AudioFormat::Wav, 45.0, None)).expect_err("nothing").public;
        assert_eq!(failure.code, FailureCode::ExtractionFailed, "{}", source.0);
        let details = failure.details.unwrap_or_default();
        assert!(details.starts_with("starts at 45.000 s, and the audio is 30.0"), "{}: {details}", source.0);
    }
}
