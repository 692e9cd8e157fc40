//! FLAC by several encoders at once. Its frames depend on nothing but their own samples and their number, so that runs
//! of frames are encoded on threads and put in order again: the result is the same, whatever the number of threads. The
//! checksum over all samples, which must be taken in order, has a thread of its own.
#![allow(unsafe_code)] // samples are read through a raw pointer.

use std::collections::VecDeque;
use std::slice;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use super::codec::Codec;
use super::ffi::{AvError, Frame, Layout};
use super::flac::{Heard, Totals, renumbered};
use super::packet::Packet;
use super::quality::{Encoding, Spending};

/// Frames of one run: 1.4 s, so that handing over costs nothing beside encoding, and waiting runs little memory.
const RUN_FRAMES: usize = 16;
/// Runs of each encoder that are not muxed yet: one in work, one that waits.
const RUNS_EACH: usize = 2;

/// An encoded frame, and how many samples a channel are in it.
type Encoded = (Vec<u8>, u32);

/// Frames on their way to an encoder, and the number of the first.
struct Run {
    frames: Arc<Vec<Frame>>,
    first: u64,
}

struct Worker {
    runs: Sender<Run>,
    encoded: Receiver<Result<Vec<Encoded>, AvError>>,
}

/// The encoders.
pub(super) struct Crew {
    workers: Vec<Worker>,
    /// Frames of the run that is being gathered.
    gathered: Vec<Frame>,
    /// Frames that were handed over.
    handed: u64,
    /// Who has runs that are not muxed yet, in their order.
    busy: VecDeque<usize>,
    totals: Totals,
    listener: Listener,
}

impl Crew {
    /// So many encoders of FLAC, each on its thread.
    pub(super) fn open(encoding: &Encoding, source: &Layout, threads: u32) -> Result<Self, AvError> {
        let Spending::Lossless(bits) = encoding.spending else { return Err(AvError::NO_ENCODER) };
        let workers = (0..threads).map(|_| Worker::start(Codec::open(encoding, source)?));
        Ok(Self {
            workers: workers.collect::<Result<_, _>>()?,
            gathered: Vec::new(),
            handed: 0,
            busy: VecDeque::new(),
            totals: Totals::new(),
            listener: Listener::start(bits, threads as usize * RUNS_EACH)?,
        })
    }

    /// Takes a frame of samples; gives the encoded ones that are ready to `sink`.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        sink: impl FnMut(&[u8], u32) -> Result<(), AvError>,
    ) -> Result<(), AvError> {
        self.gathered.push(frame);
        if self.gathered.len() == RUN_FRAMES { self.hand_over(sink) } else { Ok(()) }
    }

    /// Encodes what is left, and completes a STREAMINFO; `None` if that which was `begun` is none.
    pub(super) fn finish(
        mut self,
        begun: &[u8],
        mut sink: impl FnMut(&[u8], u32) -> Result<(), AvError>,
    ) -> Result<Option<[u8; 34]>, AvError> {
        self.hand_over(&mut sink)?;
        while !self.busy.is_empty() {
            self.collect(&mut sink)?;
        }
        Ok(self.totals.streaminfo(self.listener.finish()?, begun))
    }

    fn hand_over(&mut self, sink: impl FnMut(&[u8], u32) -> Result<(), AvError>) -> Result<(), AvError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.busy.len() == self.workers.len() * RUNS_EACH {
            self.collect(sink)?;
        }
        let frames = Arc::new(std::mem::take(&mut self.gathered));
        self.listener.hear(&frames);
        let count = frames.len() as u64;
        let turn = (self.handed / RUN_FRAMES as u64) as usize % self.workers.len();
        // A worker that is gone has said why, or panicked; both are seen when it is asked for what it encoded.
        let _ = self.workers[turn].runs.send(Run { frames, first: self.handed });
        self.handed += count;
        self.busy.push_back(turn);
        Ok(())
    }

    /// Waits for the run that comes next.
    fn collect(&mut self, mut sink: impl FnMut(&[u8], u32) -> Result<(), AvError>) -> Result<(), AvError> {
        let Some(turn) = self.busy.pop_front() else { return Ok(()) };
        let encoded = self.workers[turn].encoded.recv().map_err(|_| AvError::STOP)??;
        for (bytes, samples) in encoded {
            self.totals.count(&bytes);
            sink(&bytes, samples)?;
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

impl Worker {
    fn start(mut codec: Codec) -> Result<Self, AvError> {
        let (runs, to_do) = channel::<Run>();
        let (done, encoded) = channel();
        // It ends with its senders, and at the latest with the process.
        let work = move || {
            let mut work = || -> Result<(), AvError> {
                let mut packet = Packet::new()?;
                to_do.iter().try_for_each(|run| {
                    done.send(encode(&mut codec, &mut packet, run)).map_err(|_| AvError::END)
                })
            };
            // What failed was sent; nobody listens any more if that did not work.
            let _ = work();
        };
        thread::Builder::new().name("flac".to_owned()).spawn(work).map_err(|_| AvError::MEMORY)?;
        Ok(Self { runs, encoded })
    }
}

/// A packet for each frame: the encoder holds nothing back.
fn encode(codec: &mut Codec, packet: &mut Packet, run: Run) -> Result<Vec<Encoded>, AvError> {
    let mut encoded = Vec::with_capacity(run.frames.len());
    for (frame, number) in run.frames.iter().zip(run.first..) {
        codec.send(Some(frame))?;
        codec.receive(packet)?;
        encoded.push((renumbered(packet.bytes(), number).ok_or(AvError::STOP)?, frame.samples()));
    }
    Ok(encoded)
}
