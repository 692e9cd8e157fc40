//! Packets that are damaged inside a file: left out, counted, and too many of them no result.

use domain::FailureCode;

use super::*;

/// Where ffprobe finds the packets of the first audio stream: position and size.
pub(super) fn packets(path: &Path) -> Vec<(usize, usize)> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "a:0", "-show_entries", "packet=size,pos"]);
    let text = String::from_utf8(output_of(ffprobe.args(["-of", "csv=p=0"]).arg(path))).expect("text");
    let numbers =
        |line: &str| line.trim_end_matches(',').split_once(',').map(|(size, at)| (at.parse(), size.parse()));
    let number = |line: &str| match numbers(line) {
        Some((Ok(at), Ok(size))) => (at, size),
        _ => panic!("no packet: {line}"),
    };
    text.lines().filter(|line| !line.is_empty()).map(number).collect()
}

/// A sample in which every so-manieth packet of sound holds nonsense, from the tenth on, at most so many of them.
fn wrecked(name: &str, every: usize, most: usize) -> tempfile::NamedTempFile {
    let path = sample(name);
    let mut bytes = std::fs::read(&path).expect("a sample");
    for (at, size) in packets(&path).into_iter().skip(10).step_by(every).take(most) {
        // Not the first bytes, which in some containers are the packet's own header.
        bytes[at + 24..at + size.max(40) - 8].fill(0xff);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}

fn extracted(path: &Path, limits: AvLimits) -> Result<Extracted, Failure> {
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    run(&mut FileHost::open(path), spec(AudioFormat::Wav, Quality::Low), limits, into.path())
}

/// Codecs that notice; Vorbis makes noise of anything.
const SOUND: [&str; 5] = ["aac.mp4", "mp3.avi", "aac.flv", "alac.mov", "aac.mkv"];

#[test]
fn damaged_packets_are_left_out_counted_and_filled_with_silence() {
    for name in SOUND {
        let whole = extracted(&sample(name), AvLimits::default()).expect("a sound file");
        let made = extracted(wrecked(name, 5, 3).path(), AvLimits::default());
        let made = made.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!((whole.damaged_packets, made.damaged_packets), (0, 3), "{name}");
        let lost = whole.duration_secs() - made.duration_secs();
        // mp4 and mov count samples; the others round, or count packets that they find.
        let most = if matches!(name, "aac.mp4" | "alac.mov") { 0.0 } else { 0.05 };
        assert!(lost.abs() <= most, "{name}: {lost} s are gone");
    }
}

#[test]
fn too_many_damaged_packets_are_no_result() {
    let many = AvLimits { max_damaged_percent: 40, ..AvLimits::default() };
    let few_in_a_row =
        AvLimits { max_damaged_percent: 100, max_soundless_packets: 20, ..AvLimits::default() };
    for name in SOUND {
        let quarter = wrecked(name, 4, usize::MAX);
        let said = |limits: &AvLimits, file: &tempfile::NamedTempFile| {
            let failure = extracted(file.path(), limits.clone()).expect_err(name);
            assert_eq!(failure.public.code, FailureCode::InvalidVideo, "{name}: {failure}");
            failure.public.details.unwrap_or_default()
        };
        let details = said(&AvLimits::default(), &quarter);
        assert!(details.contains(" packets in the first "), "{name}: {details}");
        assert!(extracted(quarter.path(), many.clone()).is_ok(), "{name}: the bound can be moved");
        let details = said(&few_in_a_row, &wrecked(name, 1, 25));
        assert!(details.contains("20 packets in a row give no sound"), "{name}: {details}");
    }
}
