//! Packets into the result's file: libav's muxers, each told how we want it.
#![allow(unsafe_code)] // the muxer is driven through raw pointers.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::ptr;
use std::rc::Rc;

use domain::{AudioFormat, Failure};
use ffmpeg_sys_next as sys;

use super::failures;
use super::ffi::{AvError, Options};
use super::output::{Output, Refused};
use super::packet::Packet;

/// Where the packets come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An encoder.
    Encoder,
    /// The source: copied.
    Source,
}

/// A muxer on a file, with one stream of sound.
pub(super) struct Muxer {
    context: *mut sys::AVFormatContext,
    /// Dropped after the muxer, which writes to it.
    output: Output,
}

impl Muxer {
    /// Onto this file, which is empty, and at most so many bytes.
    pub(super) fn new(into: Rc<File>, max_bytes: u64) -> Result<Self, AvError> {
        Ok(Self { context: ptr::null_mut(), output: Output::new(into, max_bytes)? })
    }

    /// Writes the header. Times of packets are counted in samples at `rate` Hz.
    pub(super) fn begin(
        &mut self,
        format: AudioFormat,
        parameters: &Parameters,
        rate: c_int,
        origin: Origin,
    ) -> Result<(), AvError> {
        let (name, options) = muxer(format, origin);
        // SAFETY: the name ends with a zero; on success the context is ours.
        AvError::check(unsafe {
            sys::avformat_alloc_output_context2(&mut self.context, ptr::null(), name.as_ptr(), ptr::null())
        })?;
        // SAFETY: the muxer was just made; its stream belongs to it; what is written to outlives it (see `drop`).
        unsafe {
            (*self.context).pb = self.output.as_ptr();
            (*self.context).flags |= sys::AVFMT_FLAG_BITEXACT;
            let stream =
                sys::avformat_new_stream(self.context, ptr::null()).as_mut().ok_or(AvError::MEMORY)?;
            stream.time_base = sys::AVRational { num: 1, den: rate };
            AvError::check(sys::avcodec_parameters_copy(stream.codecpar, parameters.0))?;
        }
        let mut options = Options::new(options)?;
        // SAFETY: the muxer has its stream and its output.
        AvError::check(unsafe { sys::avformat_write_header(self.context, options.as_mut_ptr()) })?;
        debug_assert!(options.is_used_up(), "{name:?} does not know an option");
        Ok(())
    }

    /// Writes a packet, whose times are counted in samples at `rate` Hz.
    pub(super) fn write(&mut self, packet: &Packet, rate: c_int) -> Result<(), AvError> {
        // SAFETY: the muxer has one stream; the packet is ours.
        AvError::check(unsafe {
            let stream = &**(*self.context).streams;
            (*packet.as_ptr()).stream_index = 0;
            sys::av_packet_rescale_ts(
                packet.as_ptr(),
                sys::AVRational { num: 1, den: rate },
                stream.time_base,
            );
            sys::av_write_frame(self.context, packet.as_ptr())
        })?;
        Ok(())
    }

    /// Where the next byte goes.
    pub(super) fn position(&mut self) -> i64 {
        // SAFETY: the context is alive; telling is seeking by nothing.
        unsafe { sys::avio_seek(self.output.as_ptr(), 0, sys::SEEK_CUR) }
    }

    /// Writes over what stands at `at`.
    pub(super) fn overwrite(&mut self, at: i64, bytes: &[u8]) -> Result<(), AvError> {
        let end = self.position();
        let size = c_int::try_from(bytes.len()).map_err(|_| AvError::MEMORY)?;
        // SAFETY: the context is alive; the bytes are copied.
        unsafe {
            let io = self.output.as_ptr();
            sys::avio_seek(io, at, sys::SEEK_SET);
            sys::avio_write(io, bytes.as_ptr(), size);
            let back = sys::avio_seek(io, end, sys::SEEK_SET);
            AvError::check(c_int::try_from(back.min(0)).unwrap_or(c_int::MIN))?;
        }
        Ok(())
    }

    /// Completes the file.
    pub(super) fn complete(&mut self) -> Result<(), AvError> {
        // SAFETY: the header was written.
        AvError::check(unsafe { sys::av_write_trailer(self.context) })?;
        self.output.flush();
        Ok(())
    }

    /// Bytes in the file; a failure if it took less than it was given.
    pub(super) fn size(&mut self) -> Result<u64, Failure> {
        self.refusal().map_or(Ok(()), Err)?;
        Ok(self.output.size())
    }

    /// Why the file took no more, if it did not: the cause of whatever libav complains of since.
    pub(super) fn refusal(&mut self) -> Option<Failure> {
        self.output.take_refused().map(|refused| match refused {
            Refused::TooLarge => failures::over_limit("the result would be larger than allowed"),
            Refused::Io(cause) => failures::unwritten(&cause),
        })
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        // SAFETY: frees what `begin` allocated, once; null is fine. `output` is dropped after this.
        unsafe { sys::avformat_free_context(self.context) };
    }
}

/// What a muxer must know of the sound.
pub(super) struct Parameters(*mut sys::AVCodecParameters);

impl Parameters {
    /// Those of an encoder.
    pub(super) fn of_encoder(encoder: &sys::AVCodecContext) -> Result<Self, AvError> {
        let made = Self::new()?;
        // SAFETY: both are alive.
        AvError::check(unsafe { sys::avcodec_parameters_from_context(made.0, encoder) })?;
        Ok(made)
    }

    /// Those of a source's stream, for another container.
    ///
    /// # Safety
    /// `given` is null or points to parameters that are alive.
    pub(super) unsafe fn of_source(given: *const sys::AVCodecParameters) -> Result<Self, AvError> {
        let made = Self::new()?;
        if given.is_null() {
            return Err(AvError::MEMORY);
        }
        // SAFETY: ours is alive, the other by the caller's promise. Its four-letter code is that of its container.
        unsafe {
            AvError::check(sys::avcodec_parameters_copy(made.0, given))?;
            (*made.0).codec_tag = 0;
        }
        Ok(made)
    }

    fn new() -> Result<Self, AvError> {
        // SAFETY: allocates; null is checked.
        let made = Self(unsafe { sys::avcodec_parameters_alloc() });
        if made.0.is_null() { Err(AvError::MEMORY) } else { Ok(made) }
    }

    /// The codec's own header.
    pub(super) fn extradata(&self) -> &[u8] {
        // SAFETY: the parameters are ours; libav keeps so many bytes there.
        unsafe {
            match usize::try_from((*self.0).extradata_size) {
                Ok(size) if !(*self.0).extradata.is_null() => {
                    std::slice::from_raw_parts((*self.0).extradata.cast_const(), size)
                }
                _ => &[],
            }
        }
    }

    /// The codec's own header, to be changed.
    pub(super) fn extradata_mut(&mut self) -> &mut [u8] {
        let size = self.extradata().len();
        if size == 0 {
            return &mut [];
        }
        // SAFETY: as above, and it is borrowed by nobody else.
        unsafe { std::slice::from_raw_parts_mut((*self.0).extradata, size) }
    }

    /// Average bits a second, where the container says it; 0 where it does not.
    pub(super) fn bits_a_sec(&self) -> i64 {
        // SAFETY: the parameters are ours.
        unsafe { (*self.0).bit_rate }
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: frees what `new` allocated, once.
        unsafe { sys::avcodec_parameters_free(&mut self.0) };
    }
}

/// The muxer's name and what it is told.
fn muxer(format: AudioFormat, origin: Origin) -> (&'static CStr, &'static [(&'static CStr, &'static CStr)]) {
    match format {
        // No ID3 tag, but the Xing/LAME header, by which players know the length and what to trim.
        AudioFormat::Mp3 if origin == Origin::Encoder => {
            (c"mp3", &[(c"id3v2_version", c"0"), (c"write_xing", c"1")])
        }
        // libav's cannot say that nothing is to be trimmed, so that a copy gets its own.
        AudioFormat::Mp3 => (c"mp3", &[(c"id3v2_version", c"0"), (c"write_xing", c"0")]),
        AudioFormat::Aac => (c"adts", &[]),
        AudioFormat::Flac => (c"flac", &[]),
        // RIFF's lengths have 32 bits; a larger file becomes RF64.
        AudioFormat::Wav => (c"wav", &[(c"rf64", c"auto")]),
        AudioFormat::Ogg => (c"ogg", &[]),
        AudioFormat::Opus => (c"opus", &[]),
    }
}
