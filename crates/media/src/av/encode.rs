//! Samples into the result: cut to the encoder's frames, encoded, muxed.
#![allow(unsafe_code)] // the queue of samples and the muxer are driven through raw pointers.

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::ptr;

use domain::{AudioFormat, Failure};
use ffmpeg_sys_next as sys;

use super::codec::Codec;
use super::failures;
use super::ffi::{AvError, Frame, Layout, Options, Packet, Shape};
use super::output::{Output, Refused};
use super::quality::Encoding;

/// An encoder and a muxer on a file.
pub(super) struct Encoder {
    codec: Codec,
    muxer: *mut sys::AVFormatContext,
    queue: *mut sys::AVAudioFifo,
    packet: Packet,
    shape: Shape,
    /// Samples a channel that were encoded.
    encoded: i64,
    /// Dropped after the muxer, which writes to it.
    output: Output,
}

impl Encoder {
    /// Opens both and writes the header. `source` is the order of the source's channels.
    pub(super) fn open(
        encoding: &Encoding,
        source: &Layout,
        into: File,
        max_bytes: u64,
    ) -> Result<Self, Failure> {
        let failed = |cause| failures::internal("the encoder", cause);
        let codec = Codec::open(encoding, source).map_err(failed)?;
        let mut encoder = Self {
            shape: codec.shape(),
            codec,
            muxer: ptr::null_mut(),
            queue: ptr::null_mut(),
            packet: Packet::new().map_err(failed)?,
            encoded: 0,
            output: Output::new(into, max_bytes).map_err(failed)?,
        };
        match encoder.begin(encoding.format) {
            Ok(()) => Ok(encoder),
            Err(cause) => Err(encoder.failure(cause)),
        }
    }

    fn begin(&mut self, format: AudioFormat) -> Result<(), AvError> {
        let channels = c_int::from(self.shape.layout.channels());
        // SAFETY: allocates; grows as needed.
        self.queue =
            unsafe { sys::av_audio_fifo_alloc(self.shape.format, channels, self.codec.frame_samples()) };
        if self.queue.is_null() {
            return Err(AvError::MEMORY);
        }
        let (name, options) = muxer(format);
        // SAFETY: the name ends with a zero; on success the context is ours.
        AvError::check(unsafe {
            sys::avformat_alloc_output_context2(&mut self.muxer, ptr::null(), name.as_ptr(), ptr::null())
        })?;
        // SAFETY: the muxer was just made; its stream belongs to it; what is written to outlives it (see `drop`).
        unsafe {
            (*self.muxer).pb = self.output.as_ptr();
            (*self.muxer).flags |= sys::AVFMT_FLAG_BITEXACT;
            let stream = sys::avformat_new_stream(self.muxer, ptr::null()).as_mut().ok_or(AvError::MEMORY)?;
            stream.time_base = self.codec.get().time_base;
            AvError::check(sys::avcodec_parameters_from_context(stream.codecpar, self.codec.get()))?;
        }
        let mut options = Options::new(options)?;
        // SAFETY: the muxer has its stream and its output.
        AvError::check(unsafe { sys::avformat_write_header(self.muxer, options.as_mut_ptr()) })?;
        debug_assert!(options.is_used_up(), "{name:?} does not know an option");
        Ok(())
    }

    /// What samples it takes.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Takes samples of its shape.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), AvError> {
        let planes = frame.get().extended_data.cast::<*mut c_void>();
        // SAFETY: the frame has `nb_samples` samples of the queue's format and number of channels.
        AvError::check(unsafe { sys::av_audio_fifo_write(self.queue, planes, frame.get().nb_samples) })?;
        let whole = self.codec.frame_samples();
        while self.queued() >= whole {
            self.encode(whole)?;
        }
        Ok(())
    }

    fn queued(&self) -> c_int {
        // SAFETY: the queue is alive.
        unsafe { sys::av_audio_fifo_size(self.queue) }
    }

    fn encode(&mut self, samples: c_int) -> Result<(), AvError> {
        let mut frame = Frame::with_room(&self.shape, samples)?;
        // SAFETY: the frame has room for so many samples of the queue's format.
        AvError::check(unsafe {
            sys::av_audio_fifo_read(self.queue, frame.get().extended_data.cast::<*mut c_void>(), samples)
        })?;
        frame.get_mut().pts = self.encoded;
        self.encoded += i64::from(samples);
        self.codec.send(Some(&frame))?;
        self.mux()
    }

    /// Writes the packets that the encoder has ready.
    fn mux(&mut self) -> Result<(), AvError> {
        loop {
            match self.codec.receive(&mut self.packet) {
                Ok(()) => {}
                Err(AvError::AGAIN | AvError::END) => return Ok(()),
                Err(cause) => return Err(cause),
            }
            // SAFETY: the muxer has one stream; the packet is ours.
            AvError::check(unsafe {
                let stream = &**(*self.muxer).streams;
                (*self.packet.as_ptr()).stream_index = 0;
                sys::av_packet_rescale_ts(self.packet.as_ptr(), self.codec.get().time_base, stream.time_base);
                sys::av_write_frame(self.muxer, self.packet.as_ptr())
            })?;
        }
    }

    /// Encodes what is left, completes the file, and says (samples a channel, bytes).
    pub(super) fn finish(mut self) -> Result<(u64, u64), Failure> {
        if let Err(cause) = self.complete() {
            return Err(self.failure(cause));
        }
        match self.output.take_refused() {
            Some(refused) => Err(refusal(refused)),
            None => Ok((u64::try_from(self.encoded).unwrap_or(0), self.output.size())),
        }
    }

    fn complete(&mut self) -> Result<(), AvError> {
        let rest = self.queued();
        if rest > 0 {
            self.encode(rest)?;
        }
        self.codec.send(None)?;
        self.mux()?;
        // SAFETY: the header was written.
        AvError::check(unsafe { sys::av_write_trailer(self.muxer) })?;
        self.output.flush();
        Ok(())
    }

    /// What a libav error means: often only that the file took no more.
    pub(super) fn failure(&mut self, cause: AvError) -> Failure {
        self.output.take_refused().map_or_else(|| failures::internal("the encoder", cause), refusal)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: frees what `begin` allocated, once; null is fine for both. `output` is dropped after this.
        unsafe {
            if !self.queue.is_null() {
                sys::av_audio_fifo_free(self.queue);
            }
            sys::avformat_free_context(self.muxer);
        }
    }
}

fn refusal(refused: Refused) -> Failure {
    match refused {
        Refused::TooLarge => failures::over_limit("the result would be larger than allowed"),
        Refused::Io(cause) => failures::unwritten(&cause),
    }
}

/// The muxer's name and what it is told.
fn muxer(format: AudioFormat) -> (&'static CStr, &'static [(&'static CStr, &'static CStr)]) {
    match format {
        // No ID3 tag, but the Xing/LAME header, by which players know the length and what to trim.
        AudioFormat::Mp3 => (c"mp3", &[(c"id3v2_version", c"0"), (c"write_xing", c"1")]),
        AudioFormat::Aac => (c"adts", &[]),
        AudioFormat::Flac => (c"flac", &[]),
        // RIFF's lengths have 32 bits; a larger file becomes RF64.
        AudioFormat::Wav => (c"wav", &[(c"rf64", c"auto")]),
        AudioFormat::Ogg => (c"ogg", &[]),
        AudioFormat::Opus => (c"opus", &[]),
    }
}
