//! The extraction itself: libav, run inside the confined child.
//!
//! Start with `pipeline`. What it stands on, from the source to the result: `reader` (bytes of the host), `fragments`
//! (of an mp4, brought near), `input` (the container; `callbacks` is how it reads, `described` what it says of its
//! streams), `arriving` (is it read before all of it is there?), `track`, `container`, `marks` and `xing` (which stream,
//! where, whole?), `demux` (`picture_clock`: what the picture went through). Then either `copy` (packets as they are) or
//! `decode`, `playback` (sound as a correct player would play it, by `timeline`, cut to the `part` that was asked for),
//! `resample`, `quality` (the table), `orders` (of channels), `codec`, `gather`, `crew` and `flac` (several encoders at
//! once), `encode`. To `normalize`, `loudness` measures and limits, `levelled` sits between the two, and `rehear` listens
//! to what was made. Last `tags` (what is no sound), `mux` and `output`.
//! `whitelist` says what may be opened at all; `binding` finds libav's functions, `ffi` and `packet` own its values;
//! `failures` has the sentences, `progress` tells how far it is.

mod arriving;
#[cfg(not(test))] // This room's own tests run libav where they are, and are linked with it.
mod binding;
mod callbacks;
mod codec;
mod container;
mod copy;
mod crew;
mod decode;
mod demux;
mod described;
mod edges;
mod encode;
mod failures;
mod ffi;
mod flac;
mod fragments;
mod gather;
mod input;
mod levelled;
mod loudness;
mod marks;
mod mux;
mod normalize;
mod orders;
mod output;
mod packet;
mod part;
mod picture_clock;
mod pipeline;
mod playback;
mod progress;
mod quality;
mod reader;
mod rehear;
mod resample;
mod skip;
mod tags;
#[cfg(test)]
mod tests;
mod timeline;
mod track;
mod warm;
mod whitelist;
mod xing;

use std::fs::File;
use std::ops::Range;

use domain::{Access, Extracted, Failure, OutputSpec, Playlist, Step};

/// What has been learnt of the source once its header is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probe {
    /// The container's short name: `mp4`, `mkv`, …
    pub(crate) format: String,
    /// Its duration in seconds, where the container says it.
    pub(crate) duration_secs: Option<f64>,
}

/// The parent answered that the source failed, or went away. Unwind; the parent knows the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostGone;

/// What the confined child can ask of its parent. Every call blocks until it is answered.
pub(crate) trait Host {
    /// Reads from the source at `offset` into `buf`; fewer bytes may come, 0 only at the end.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone>;
    /// The source's length in bytes. May wait for the whole source, where its host does not say it.
    fn size(&mut self) -> Result<u64, HostGone>;
    /// Says which bytes will be read, in order of reading: a hint.
    fn plan(&mut self, ranges: &[Range<u64>]);
    /// Says that nothing which is read from here on will be read again.
    fn once(&mut self) {}
    /// The header has been read.
    fn probed(&mut self, probe: Probe);
    /// `fraction` (0 to 1) of this step is done; `None` where the whole is not known.
    fn progressed(&mut self, step: Step, fraction: Option<f64>);
    /// In what order the source's bytes can be had.
    fn access(&self) -> Access {
        Access::Random
    }
    /// The playlist that the source was made of, if it was.
    fn playlist(&self) -> Option<Playlist> {
        None
    }
}

/// What one extraction may cost. Counted while it happens; what a header claims is not believed.
#[derive(Debug, Clone, PartialEq)]
pub struct AvLimits {
    /// Samples decoded, over all channels.
    pub max_decoded_samples: u64,
    /// Bytes written to the result.
    pub max_output_bytes: u64,
    /// Streams that a container may have.
    pub max_streams: u32,
    /// Damaged packets among all, in percent; those are left out.
    pub max_damaged_percent: u32,
    /// Packets in a row that give no sound, damaged or empty.
    pub max_soundless_packets: u32,
    /// Bytes read before the container must be understood.
    pub max_probe_bytes: u64,
    /// Threads that encode, where a format lets several: FLAC.
    pub encoder_threads: u32,
    /// Bytes of all texts that are carried over, titles of chapters included.
    pub max_tag_bytes: u64,
    /// Chapters that are carried over.
    pub max_chapters: u32,
    /// Bytes of a picture that is carried over.
    pub max_cover_bytes: u64,
}

impl Default for AvLimits {
    fn default() -> Self {
        Self {
            // 24 hours of stereo at 48 kHz are 8.3e9 samples; twice that leaves room for surround sound.
            max_decoded_samples: 16_600_000_000,
            // What RIFF can say (32-bit lengths), and three times the longest plausible compressed result.
            max_output_bytes: 4 << 30,
            // Broadcast recordings have dozens; a container with more is built to exhaust.
            max_streams: 256,
            // Speech can still be followed with every twentieth packet gone.
            max_damaged_percent: 5,
            // 10 s of AAC. A decoder that looks for its place again needs 128 at most (TrueHD).
            max_soundless_packets: 500,
            // libav's own default is 5 MB; a moov box of a day-long recording is larger and is not counted here.
            max_probe_bytes: 16 << 20,
            encoder_threads: 1,
            // Pages of comments; the rest of a title is a line.
            max_tag_bytes: 64 << 10,
            // ID3's table of contents counts them in one byte.
            max_chapters: 255,
            // The largest that shops ask for, 3000 x 3000 pixels, have half of it.
            max_cover_bytes: 8 << 20,
        }
    }
}

/// One extraction, as the child was told.
pub(crate) struct AvOrder {
    /// What the result should be.
    pub(crate) output: OutputSpec,
    /// What it may cost.
    pub(crate) limits: AvLimits,
    /// Where the result goes: empty, readable, writable, seekable.
    pub(crate) into: File,
}

/// Does one extraction. When `host` is gone, any failure will do: the parent knows the reason and does not look.
pub(crate) fn run(order: AvOrder, host: &mut dyn Host) -> Result<Extracted, Failure> {
    pipeline::extract(order, host)
}

/// Loads libav, before the jail closes, and prepares the codecs if it is to. Starts no thread. Fails where libav, in the
/// version that this was built for, is not there.
pub(crate) fn load(prepares_codecs: bool) -> Result<(), String> {
    #[cfg(not(test))]
    binding::bind()?;
    warm::silence();
    if prepares_codecs {
        warm::warm();
    }
    Ok(())
}
