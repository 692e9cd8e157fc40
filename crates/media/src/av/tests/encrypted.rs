//! Sound that is locked away is said to be.

use domain::{FailureCode, Retry};

use super::*;

/// Every name of a box or codec, replaced.
fn renamed(name: &str, from: &[u8; 4], to: &[u8; 4]) -> Vec<u8> {
    let mut bytes = std::fs::read(sample(name)).expect("a sample");
    for at in 0..bytes.len() - 3 {
        if bytes[at..at + 4] == *from {
            bytes[at..at + 4].copy_from_slice(to);
        }
    }
    bytes
}

/// A transport stream whose packets of sound are marked as scrambled, and are.
fn scrambled() -> Vec<u8> {
    /// Where ffmpeg puts the second stream.
    const SOUND: u16 = 0x101;
    let mut bytes = std::fs::read(sample("aac.ts")).expect("a sample");
    for packet in bytes.chunks_exact_mut(188) {
        if u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) == SOUND {
            let adaptation = if packet[3] & 0x20 == 0 { 0 } else { 1 + usize::from(packet[4]) };
            packet[3] |= 0x80;
            for (turn, byte) in packet[4 + adaptation..].iter_mut().enumerate() {
                *byte ^= ((turn * 7919) >> 3) as u8;
            }
        }
    }
    bytes
}

#[test]
fn encrypted_sound_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let into = tempfile::NamedTempFile::new().expect("a result's file");
    for (name, bytes) in [
        ("Common Encryption", std::fs::read(sample("encrypted.mp4")).expect("a sample")),
        ("FairPlay", renamed("sound.m4a", b"mp4a", b"drms")),
        ("conditional access", scrambled()),
    ] {
        std::fs::write(file.path(), bytes).expect("written");
        let output = spec(AudioFormat::Wav, Quality::Low);
        let failure = run(&mut FileHost::open(file.path()), output, AvLimits::default(), into.path());
        let failure = failure.expect_err(name);
        assert_eq!((failure.public.code, failure.retry), (FailureCode::ExtractionFailed, Retry::Never));
        assert_eq!(failure.public.details.as_deref(), Some("the audio (aac) is encrypted"), "{name}");
    }
}
