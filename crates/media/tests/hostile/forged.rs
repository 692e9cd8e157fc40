//! Headers that lie about time and rate.

use libtest_mimic::Failed;

use crate::Test;
use crate::corpus::End::{Failed as Fails, Invalid, Makes};
use crate::corpus::{Case, all_end_so, config};
use crate::forge::{flac_head, flac_silence, patched, short, wave};

pub(crate) const TESTS: &[Test] = &[
    ("forged_rates_are_not_believed", forged_rates_are_not_believed),
    ("forged_durations_are_not_believed", forged_durations_are_not_believed),
];

fn forged_rates_are_not_believed() -> Result<(), Failed> {
    let sound = |channels, rate, block, bits| wave((1, channels, rate, block, bits), 19_200);
    let caf = |rate: f64| patched(short("pcm.caf"), b"desc", 8, &rate.to_be_bytes());
    let cases: Vec<Case> = vec![
        ("wav of 0 Hz", sound(2, 0, 4, 16), Invalid("")),
        ("wav of 1 Hz", sound(2, 1, 4, 16), Invalid("its sampling rate is 1 Hz")),
        ("wav of 768 kHz", sound(2, 768_000, 4, 16), Makes(0.006)),
        ("wav of 2 GHz", sound(2, 0x7fff_ffff, 4, 16), Invalid("its sampling rate is 2147483647 Hz")),
        ("wav of 4 GHz", sound(2, u32::MAX, 4, 16), Invalid("")),
        ("wav of no channel", sound(0, 48_000, 4, 16), Fails("no decoder takes this")),
        ("wav of 65,535 channels", sound(u16::MAX, 48_000, 4, 16), Fails("no decoder takes this")),
        ("wav of blocks of 0 bytes", sound(2, 48_000, 0, 16), Makes(0.1)),
        ("wav of blocks of 65,535 bytes", sound(2, 48_000, u16::MAX, 16), Makes(0.1)),
        ("wav of samples of 0 bits", sound(2, 48_000, 4, 0), Fails("no decoder for")),
        ("wav of samples of 65,535 bits", sound(2, 48_000, 4, u16::MAX), Fails("")),
        ("caf of 2 GHz", caf(2e9), Invalid("its sampling rate is")),
        ("caf of no rate", caf(f64::NAN), Invalid("")),
        ("caf of an endless rate", caf(f64::INFINITY), Invalid("")),
        ("caf of a negative rate", caf(-48_000.0), Invalid("")),
    ];
    all_end_so(config(), cases)
}

fn forged_durations_are_not_believed() -> Result<(), Failed> {
    let flac = |total| [flac_head(total, true), flac_silence(0)].concat();
    let cases: Vec<Case> = vec![
        ("flac of 16 days", flac((1 << 36) - 1), Invalid("ends after 1.4 s of")),
        ("flac of one sample", flac(1), Makes(1.365)),
        ("mp4 of a day", patched(short("sound.m4a"), b"mdhd", 16, &[0x7f, 0xff, 0xff, 0xff]), Makes(1.0)),
        ("mp4 in a film of a day", patched(short("sound.m4a"), b"mvhd", 16, &[0xff; 4]), Makes(1.0)),
        ("mp4 of no tick a second", patched(short("sound.m4a"), b"mdhd", 12, &[0; 4]), Makes(0.023)),
        ("mp4 of 4e9 ticks a second", patched(short("sound.m4a"), b"mdhd", 12, &[0xff; 4]), Makes(0.023)),
        (
            "flv of an endless duration",
            patched(short("aac.flv"), b"tion", 1, &f64::INFINITY.to_be_bytes()),
            Makes(1.0),
        ),
        (
            "flv of a negative duration",
            patched(short("aac.flv"), b"tion", 1, &(-1e300f64).to_be_bytes()),
            Makes(1.0),
        ),
        (
            "mkv of an endless duration",
            patched(short("flac.mkv"), b"\x44\x89\x88\x40", 0, &f64::INFINITY.to_be_bytes()[1..]),
            Makes(1.0),
        ),
        ("mkv of no duration", patched(short("flac.mkv"), b"\x44\x89\x88\x40", 0, &[0xff; 7]), Makes(1.0)),
        (
            "mkv of ticks of a century",
            patched(short("flac.mkv"), b"\x2a\xd7\xb1\x83", 0, &[0xff; 3]),
            Makes(15.83),
        ),
        ("avi of no frame a second", patched(short("pcm.avi"), b"avih", 4, &[0; 4]), Makes(1.0)),
        ("au of no length", patched(short("pcm.au"), b".snd", 4, &[0xff; 4]), Makes(1.0)),
        (
            "aiff of 4e9 samples",
            patched(short("pcm.aiff"), b"COMM", 6, &[0xff; 4]),
            Invalid("header cannot be read"),
        ),
    ];
    all_end_so(config(), cases)
}
