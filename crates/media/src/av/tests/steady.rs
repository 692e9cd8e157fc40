//! What a long life would do.

use super::*;

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("our own status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

/// Other tests run in the same process, so the bound is generous: 300 leaked decoders would be ten times as much.
#[test]
fn three_hundred_extractions_leave_nothing_behind() {
    let names = ["second.m4a", "truncated-faststart.mp4", "no-audio.mp4", "mono.m4a", "page.mp4", "aac.mp4"];
    let once = |turn: usize| {
        let format = AudioFormat::ALL[turn % AudioFormat::ALL.len()];
        let limits = AvLimits { max_decoded_samples: 60_000, ..AvLimits::default() };
        drop(try_extract(names[turn / 7 % names.len()], spec(format, Quality::Low), limits));
    };
    (0..60).for_each(once);
    let before = resident_kb();
    (0..300).for_each(once);
    let after = resident_kb();
    assert!(after < before + 48 * 1024, "{before} kB became {after} kB");
}
