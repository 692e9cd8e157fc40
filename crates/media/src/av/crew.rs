//! FLAC by several encoders at once. Its frames depend on nothing but their own samples and their number, so that runs
//! of frames are encoded on threads and put in order again: the result is the same, whatever the number of threads. The
//! checksum over all samples, which must be taken in order, has a thread of its own.
#![allow(unsafe_code)] // samples are read through a raw pointer.

use std::collections::VecDeque;
use std::slice;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::codec::Codec;
use super::ffi::{AvError, Frame, Layout};
use super::flac::{Heard, Totals, renumbered};
use super::packet::Packet;
use super::quality::{Encoding, Spending};

/// Frames of one run: 1.4 s, so that handing over costs nothing beside encoding, and waiting runs little memory.
const RUN_FRAMES: usize = 16;
/// Runs for each encoder that are not muxed yet: one in work, the others for when the machine gives a thread no time
/// for a while. They are taken by whoever is free.
const RUNS_EACH: usize = 4;

/// Encoded frames, and how many samples a channel are in each.
type Encoded = Result<Vec<(Packet, u32)>, AvError>;

/// Frames on their way to an encoder.
struct Run {
    frames: Arc<Vec<Frame>>,
    /// The number of the first.
    first: u64,
    encoded: SyncSender<Encoded>,
}

/// The encoders.
pub(super) struct Crew {
    runs: Sender<Run>,
    /// Frames of the run that is being gathered.
    gathered: Vec<Frame>,
    /// Frames that were handed over.
    handed: u64,
    /// The runs that are not muxed yet, in their order, and how many they may be.
    awaited: VecDeque<(Arc<Vec<Frame>>, Receiver<Encoded>)>,
    most: usize,
    /// Frames that nobody needs any more.
    used: Vec<Frame>,
    totals: Totals,
    listener: Listener,
}

impl Crew {
    /// So many encoders of FLAC, each on its thread.
    pub(super) fn open(encoding: &Encoding, source: &Layout, threads: u32) -> Result<Self, AvError> {
        let Spending::Lossless(bits) = encoding.spending else { return Err(AvError::NO_ENCODER) };
        let (runs, to_do) = channel();
        let to_do = Arc::new(Mutex::new(to_do));
        for _ in 0..threads {
            start_worker(Codec::open(encoding, source)?, Arc::clone(&to_do))?;
        }
        let most = threads as usize * RUNS_EACH;
        Ok(Self {
            runs,
            gathered: Vec::new(),
            handed: 0,
            awaited: VecDeque::new(),
            most,
            used: Vec::new(),
            totals: Totals::new(),
            listener: Listener::start(bits, most)?,
        })
    }

    /// Takes a frame of samples; gives the encoded ones that are ready to `sink`.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        sink: impl FnMut(Packet, u32) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        self.gathered.push(frame);
        if self.gathered.len() == RUN_FRAMES { self.hand_over(sink) } else { Ok(()) }
    }

    /// Encodes what is left, and completes a STREAMINFO; `None` if that which was `begun` is none.
    pub(super) fn finish(
        mut self,
        begun: &[u8],
        mut sink: impl FnMut(Packet, u32) -> Result<(), AvError>,
    ) -> Result<Option<[u8; 34]>, AvError> {
        self.hand_over(&mut sink)?;
        while !self.awaited.is_empty() {
            self.collect(&mut sink)?;
        }
        Ok(self.totals.streaminfo(self.listener.finish()?, begun))
    }

    fn hand_over(&mut self, sink: impl FnMut(Packet, u32) -> Result<(), AvError>) -> Result<(), AvError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.awaited.len() == self.most {
            self.collect(sink)?;
        }
        let frames = Arc::new(std::mem::take(&mut self.gathered));
        let first = self.handed;
        self.handed += frames.len() as u64;
        self.listener.hear(&frames);
        let (encoded, awaited) = sync_channel(1);
        self.awaited.push_back((Arc::clone(&frames), awaited));
        // If all workers are gone, that is seen when this run is waited for.
        let _ = self.runs.send(Run { frames, first, encoded });
        Ok(())
    }

    /// A frame to fill again, if there is one.
    pub(super) fn used(&mut self) -> Option<Frame> {
        self.used.pop()
    }

    /// Waits for the run that comes next.
    fn collect(&mut self, mut sink: impl FnMut(Packet, u32) -> Result<(), AvError>) -> Result<(), AvError> {
        let Some((frames, awaited)) = self.awaited.pop_front() else { return Ok(()) };
        let encoded = awaited.recv().map_err(|_| AvError::STOP)??;
        // Unless the listener is behind.
        self.used.extend(Arc::into_inner(frames).unwrap_or_default());
        for (packet, samples) in encoded {
            self.totals.count(packet.bytes());
            sink(packet, samples)?;
        }
        Ok(())
    }
}

/// Who takes the checksum.
struct Listener {
    frames: SyncSender<Arc<Vec<Frame>>>,
    thread: JoinHandle<Heard>,
}

impl Listener {
    /// At most so many runs wait for it.
    fn start(bits: u32, runs: usize) -> Result<Self, AvError> {
        let (frames, to_hear) = sync_channel::<Arc<Vec<Frame>>>(runs);
        let listen = move || {
            let mut heard = Heard::new();
            to_hear.iter().for_each(|run| run.iter().for_each(|frame| hear(&mut heard, frame, bits)));
            heard
        };
        let thread = thread::Builder::new().name("flac-md5".to_owned()).spawn(listen);
        Ok(Self { frames, thread: thread.map_err(|_| AvError::MEMORY)? })
    }

    fn hear(&self, frames: &Arc<Vec<Frame>>) {
        // It is gone only if it panicked, which is seen at the end.
        let _ = self.frames.send(Arc::clone(frames));
    }

    fn finish(self) -> Result<Heard, AvError> {
        drop(self.frames);
        self.thread.join().map_err(|_| AvError::STOP)
    }
}

/// Interleaved samples of so many bits, as FLAC's checksum takes them.
fn hear(heard: &mut Heard, frame: &Frame, bits: u32) {
    /// Bytes of a deep sample.
    const DEEP_BYTES: usize = 3;
    let raw = frame.get();
    let count = frame.samples() as usize * usize::try_from(raw.ch_layout.nb_channels).unwrap_or(0);
    let is_deep = bits > 16;
    let size = if is_deep { 4 } else { 2 };
    // SAFETY: a frame for this encoder has `count` interleaved samples of so many bytes, in little endian on all
    // machines that have a jail.
    let bytes = unsafe { slice::from_raw_parts(raw.data[0].cast_const(), count * size) };
    if !is_deep {
        return heard.hear(bytes, frame.samples());
    }
    // Of the four bytes of a sample the upper three carry sound.
    let mut packed = Vec::with_capacity(count * DEEP_BYTES);
    bytes.chunks_exact(size).for_each(|sample| packed.extend_from_slice(&sample[size - DEEP_BYTES..]));
    heard.hear(&packed, frame.samples());
}

/// An encoder on a thread of its own, which ends with the crew, and at the latest with the process.
fn start_worker(mut codec: Codec, to_do: Arc<Mutex<Receiver<Run>>>) -> Result<(), AvError> {
    let next = move || to_do.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
    let mut packet = Packet::new()?;
    let work = move || {
        while let Some(Run { frames, first, encoded }) = next() {
            let made = encode(&mut codec, &mut packet, &frames, first);
            drop(frames);
            // Nobody listens any more if another run has failed.
            let _ = encoded.send(made);
        }
    };
    thread::Builder::new().name("flac".to_owned()).spawn(work).map_err(|_| AvError::MEMORY)?;
    Ok(())
}

/// A packet for each frame: the encoder holds nothing back.
fn encode(codec: &mut Codec, packet: &mut Packet, frames: &[Frame], first: u64) -> Encoded {
    let mut encoded = Vec::with_capacity(frames.len());
    for (frame, number) in frames.iter().zip(first..) {
        codec.send(Some(frame))?;
        codec.receive(packet)?;
        let made = renumbered(packet.bytes(), number).ok_or(AvError::STOP)?;
        encoded.push((Packet::of(&made.pieces())?, frame.samples()));
    }
    Ok(encoded)
}
