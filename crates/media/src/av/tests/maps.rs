//! What is read of a container whose picture nobody wants: its marks, the sound, and little else; and the sound is that
//! of a plain reading.

use super::parts::{part, pcm, referee, referee_of};
use super::*;

/// Bytes of all packets of the picture, as ffprobe sees them.
fn picture_bytes(path: &Path) -> u64 {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=size", "-of", "csv=p=0"]);
    let sizes = String::from_utf8(output_of(ffprobe.arg(path))).expect("text");
    let size = |line: &str| line.trim_matches(',').parse::<u64>().expect("bytes");
    sizes.lines().filter(|line| !line.is_empty()).map(size).sum()
}

/// What is looked at in passing: looks are of 64 KiB.
const LOOKS: u64 = 4 << 16;
/// Where no fragment is listed, three are looked for, each within a look and a stride here.
const SEARCHES: u64 = 3 * (5 << 16);
/// Where the picture's first time is only with its first frame, that is read.
const PICTURE: u64 = 4 << 16;
/// Samples that are mapped, and what is read of each beside what is needed.
const MAPPED: [(&str, u64); 7] = [
    ("fragments.mp4", LOOKS),
    ("listed.mp4", LOOKS),
    ("dash.mp4", LOOKS),
    ("apart.mp4", LOOKS + SEARCHES),
    ("unlisted.mp4", LOOKS + SEARCHES),
    ("wide.avi", PICTURE + LOOKS),
    ("wide-pcm.avi", PICTURE + LOOKS),
];

#[test]
fn what_is_not_picture_is_read_and_little_else() {
    for (name, aside) in MAPPED {
        let path = sample(name);
        let size = std::fs::metadata(&path).expect("a sample").len();
        let made = extract(name, OutputSpec::plain(AudioFormat::Wav));
        assert!(pcm(made.file.path()) == referee(name, &[]), "{name}: not the sound that ffmpeg hears");
        let needed = size - picture_bytes(&path);
        let read = made.host.bytes_read();
        assert!(read <= needed * 3 / 2 + aside, "{name}: {read} bytes for {needed} of {size}");
    }
}

#[test]
fn what_is_planned_ends_with_the_part() {
    for (name, _) in MAPPED {
        let whole = extract(name, OutputSpec::plain(AudioFormat::Wav));
        let made = extract(name, part(AudioFormat::Wav, 0.5, Some(1.25)));
        let rate = whole.result.sample_rate as usize;
        let samples = |secs: f64| (secs * rate as f64) as usize * 4;
        let expected = pcm(whole.file.path());
        assert!(pcm(made.file.path()) == expected[samples(0.5)..samples(1.25)], "{name}");
        let bytes = |made: &Made| made.host.planned.iter().map(|range| range.end - range.start).sum::<u64>();
        let (part, whole) = (bytes(&made), bytes(&whole));
        assert!(part > 0 && part * 10 < whole * 7, "{name}: {part} of {whole} bytes are planned");
    }
}

/// Each four bytes from `from` on, in steps of `stride`, made anew.
fn rewritten(file: &[u8], from: usize, count: usize, stride: usize, new: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut file = file.to_vec();
    for at in (0..count).map(|entry| from + entry * stride) {
        let old = u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes"));
        file[at..at + 4].copy_from_slice(&new(old).to_be_bytes());
    }
    file
}

fn find(file: &[u8], name: &[u8]) -> usize {
    file.windows(name.len()).rposition(|window| window == name).expect("a name")
}

/// Files whose lists of fragments or chunks lie, each with a name for the lie.
pub(super) fn liars() -> Vec<(String, &'static str, Vec<u8>)> {
    type Lie = (&'static str, fn(u32) -> u32);
    /// Sizes or places.
    const LIES: [Lie; 7] = [
        ("nothing", |_| 0),
        ("all ones", |_| u32::MAX),
        ("beyond every file", |_| i32::MAX as u32),
        ("a little more", |old| old.wrapping_add(8)),
        ("a little less", |old| old.wrapping_sub(8)),
        ("half", |old| old / 2),
        ("twice", |old| old.wrapping_mul(2)),
    ];
    let read = |name: &str| std::fs::read(sample(name)).expect("a sample");
    let (listed, at_end, chunks) =
        (read("short-listed.mp4"), read("short-fragments.mp4"), read("short-wide.avi"));
    let count = |file: &[u8], at: usize| usize::from(u16::from_be_bytes([file[at], file[at + 1]]));
    let mut liars = Vec::new();
    for (lie, new) in LIES {
        let sidx = find(&listed, b"sidx");
        // Version 1: the number of entries is 34 bytes behind the name.
        let entries = count(&listed, sidx + 34);
        liars.push((
            format!("sidx: {lie}"),
            "short-listed.mp4",
            rewritten(&listed, sidx + 36, entries, 12, new),
        ));
        liars.push((
            format!("sidx begins at {lie}"),
            "short-listed.mp4",
            rewritten(&listed, sidx + 28, 1, 4, new),
        ));
        let times = rewritten(&listed, sidx + 40, entries, 12, new);
        liars.push((format!("durations in sidx: {lie}"), "short-listed.mp4", times));
        let scale = rewritten(&listed, sidx + 12, 1, 4, new);
        liars.push((format!("ticks a second in sidx: {lie}"), "short-listed.mp4", scale));
        let tfra = find(&at_end, b"tfra");
        let moofs = rewritten(&at_end, tfra + 32, 1, 4, new);
        liars.push((format!("tfra: {lie}"), "short-fragments.mp4", moofs));
        let idx1 = find(&chunks, b"idx1") + 8;
        let entries = (chunks.len() - idx1) / 16;
        for (what, field) in [("offsets", 8), ("sizes", 12)] {
            let forged =
                rewritten(&chunks, idx1 + field, entries, 16, |old| new(old.swap_bytes()).swap_bytes());
            liars.push((format!("{what} in idx1: {lie}"), "short-wide.avi", forged));
        }
    }
    let idx1 = find(&chunks, b"idx1");
    let all_picture: Vec<u8> = chunks[..idx1]
        .iter()
        .copied()
        .chain(chunks[idx1..].iter().map(|byte| if *byte == b'1' { b'0' } else { *byte }))
        .collect();
    liars.push(("idx1 says that all is picture".to_owned(), "short-wide.avi", all_picture));
    liars
}

/// What the list of fragments says is only where to look first, so that it cannot change the sound. The index of an AVI
/// is libav's own guide, also the ffmpeg command's; where that leads to no sound at all, there is no result.
#[test]
fn a_list_that_lies_changes_nothing_that_is_heard() {
    let honest_sound = ["short-listed.mp4", "short-fragments.mp4"].map(|name| (name, referee(name, &[])));
    for (lie, honest, bytes) in liars() {
        let file = tempfile::Builder::new().suffix(honest).tempfile().expect("a file");
        std::fs::write(file.path(), bytes).expect("a liar");
        let into = tempfile::NamedTempFile::new().expect("a result's file");
        let output = OutputSpec::plain(AudioFormat::Wav);
        let made = run(&mut FileHost::open(file.path()), output, AvLimits::default(), into.path());
        match (made, honest_sound.iter().find(|(name, _)| *name == honest)) {
            (Ok(_), Some((_, sound))) => assert!(pcm(into.path()) == *sound, "{lie}: other sound"),
            (Err(failure), Some(_)) => panic!("{lie}: {failure}"),
            (Ok(_), None) => {
                let sound = referee_of(file.path(), &[]);
                assert!(pcm(into.path()) == sound, "{lie}: not the sound that ffmpeg hears");
            }
            (Err(failure), None) => {
                assert_eq!(failure.public.code, domain::FailureCode::InvalidVideo, "{lie}: {failure:?}");
                assert_eq!(failure.retry, domain::Retry::Never, "{lie}: {failure:?}");
            }
        }
    }
}

#[test]
fn sound_that_ends_before_the_picture_is_whole_in_fragments_too() {
    let made = extract("early.mp4", OutputSpec::plain(AudioFormat::Wav));
    assert!(pcm(made.file.path()) == referee("early.mp4", &[]), "not the sound that ffmpeg hears");
    assert!((made.result.duration_secs() - 4.0).abs() < 0.1, "{}", made.result.duration_secs());
}

/// An AVI is played by its index, so that one which leads nowhere leaves next to nothing of a file that is whole. That
/// is no result.
#[test]
fn an_index_that_leads_nowhere_is_no_end() {
    type Lie = fn(u32) -> u32;
    const LIES: [Lie; 4] = [|_| 0, |_| u32::MAX, |_| i32::MAX as u32, |old| old.wrapping_add(8).swap_bytes()];
    for (name, format, told) in [
        ("wide.avi", AudioFormat::Wav, "ends after 0.0 s of 6.0 s"),
        ("wide.avi", AudioFormat::Mp3, "ends after 0.0 s of 6.0 s"),
        ("wide-pcm.avi", AudioFormat::Wav, "its pcm_s16le audio track is empty"),
    ] {
        let honest = std::fs::read(sample(name)).expect("a sample");
        let idx1 = find(&honest, b"idx1") + 8;
        let entries = (honest.len() - idx1) / 16;
        for (number, new) in LIES.into_iter().enumerate() {
            let forged = rewritten(&honest, idx1 + 8, entries, 16, |old| new(old.swap_bytes()).swap_bytes());
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), forged).expect("a liar");
            let into = tempfile::NamedTempFile::new().expect("a result's file");
            let output = OutputSpec::plain(format);
            let made = run(&mut FileHost::open(file.path()), output, AvLimits::default(), into.path());
            let failure = made.expect_err("next to nothing was taken for all");
            let details = failure.public.details.unwrap_or_default();
            assert_eq!(details, told, "{name} to {format:?}, lie {number}");
        }
    }
}
