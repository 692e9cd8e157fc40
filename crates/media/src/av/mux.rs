//! Packets into the result's file: libav's muxers, each told how we want it.
#![allow(unsafe_code)] // the muxer is driven through raw pointers.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::ptr;
use std::rc::Rc;

use domain::{AudioFormat, Failure, MetadataPart};
use ffmpeg_sys_next as sys;

use super::failures;
use super::ffi::{AvError, Options};
use super::output::{Output, Refused};
use super::packet::Packet;
use super::tags::{Placed, Tags};

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
    tags: Tags,
    /// To be written after all else.
    id3_chunk: Option<Vec<u8>>,
    left_out: Vec<MetadataPart>,
    /// Dropped after the muxer, which writes to it.
    output: Output,
}

impl Muxer {
    /// Onto this file, which is empty, and at most so many bytes.
    pub(super) fn new(into: Rc<File>, max_bytes: u64) -> Result<Self, AvError> {
        Ok(Self {
            context: ptr::null_mut(),
            tags: Tags::default(),
            id3_chunk: None,
            left_out: Vec::new(),
            output: Output::new(into, max_bytes)?,
        })
    }

    /// Writes the header. Times of packets are counted in samples at `rate` Hz.
    pub(super) fn begin(
        &mut self,
        format: AudioFormat,
        parameters: &Parameters,
        rate: c_int,
        origin: Origin,
        tags: Tags,
    ) -> Result<(), AvError> {
        let placed = tags.placed(format)?;
        self.append(&placed.before)?;
        let (name, options) = muxer(format, origin);
        // SAFETY: the name ends with a zero; on success the context is ours.
        AvError::check(unsafe {
            sys::avformat_alloc_output_context2(&mut self.context, ptr::null(), name.as_ptr(), ptr::null())
        })?;
        // SAFETY: the muxer was just made; its stream belongs to it; what is written to outlives it (see `drop`).
        unsafe {
            (*self.context).pb = self.output.as_ptr();
            (*self.context).flags |= sys::AVFMT_FLAG_BITEXACT;
            // Writes out when the buffer is full, not with each packet: there are a hundred in a buffer.
            (*self.context).flush_packets = 0;
            let stream =
                sys::avformat_new_stream(self.context, ptr::null()).as_mut().ok_or(AvError::MEMORY)?;
            stream.time_base = sys::AVRational { num: 1, den: rate };
            AvError::check(sys::avcodec_parameters_copy(stream.codecpar, parameters.0))?;
        }
        self.say(&placed)?;
        let mut options = Options::new(options)?;
        // SAFETY: the muxer has its stream and its output.
        AvError::check(unsafe { sys::avformat_write_header(self.context, options.as_mut_ptr()) })?;
        debug_assert!(options.is_used_up(), "{name:?} does not know an option");
        if let Some(block) = &placed.picture_block {
            self.replace_padding(block)?;
        }
        (self.left_out, self.id3_chunk, self.tags) = (tags.left_out(), placed.id3_chunk, tags);
        Ok(())
    }

    /// Gives the muxer what it writes of the tags itself.
    fn say(&mut self, placed: &Placed) -> Result<(), AvError> {
        // SAFETY: the muxer is alive; its dictionary copies what it is given.
        unsafe {
            for (name, text) in &placed.pairs {
                AvError::check(sys::av_dict_set(
                    &mut (*self.context).metadata,
                    name.as_ptr(),
                    text.as_ptr(),
                    0,
                ))?;
            }
            if let Some(block) = &placed.picture_block {
                (*self.context).metadata_header_padding =
                    c_int::try_from(block.len()).map_err(|_| AvError::MEMORY)?;
            }
        }
        Ok(())
    }

    /// A picture takes the place of FLAC's padding, which was made as long: libav's own way would hold back all sound
    /// until the picture came as a packet of a second stream.
    fn replace_padding(&mut self, picture: &[u8]) -> Result<(), AvError> {
        /// The last block, of the type of pictures (RFC 9639, 8.1).
        const LAST_PICTURE: u8 = 0x86;
        let length = u32::try_from(picture.len()).map_err(|_| AvError::MEMORY)?;
        let [_, length @ ..] = length.to_be_bytes();
        let block = [&[LAST_PICTURE], length.as_slice(), picture].concat();
        let at = self.position() - i64::try_from(block.len()).map_err(|_| AvError::MEMORY)?;
        self.overwrite(at, &block)
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

    /// Writes where the next byte goes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), AvError> {
        let size = c_int::try_from(bytes.len()).map_err(|_| AvError::MEMORY)?;
        // SAFETY: the context is alive; the bytes are copied.
        unsafe { sys::avio_write(self.output.as_ptr(), bytes.as_ptr(), size) };
        Ok(())
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
        if let Some(chunk) = self.id3_chunk.take() {
            self.append_chunk(&chunk)?;
        }
        self.output.flush();
        Ok(())
    }

    /// Puts an `id3 ` chunk behind what libav has written, and corrects the length of the whole.
    fn append_chunk(&mut self, body: &[u8]) -> Result<(), AvError> {
        /// Of `RIFF` or `RF64` and the length itself, which that does not count.
        const HEAD_BYTES: u64 = 8;
        let old = self.output.size();
        let is_rf64 = old - HEAD_BYTES > u64::from(u32::MAX);
        let padding = |bytes: usize| [0].repeat(bytes % 2);
        let length = u32::try_from(body.len()).map_err(|_| AvError::MEMORY)?;
        let chunk =
            [&padding(old as usize), b"id3 ".as_slice(), &length.to_le_bytes(), body, &padding(body.len())];
        let chunk = chunk.concat();
        let whole = old + chunk.len() as u64 - HEAD_BYTES;
        // SAFETY: the context is alive.
        unsafe {
            sys::avio_seek(
                self.output.as_ptr(),
                i64::try_from(old).map_err(|_| AvError::STOP)?,
                sys::SEEK_SET,
            )
        };
        match u32::try_from(whole) {
            // EBU Tech 3306: the length stands in the `ds64` chunk, which comes first.
            _ if is_rf64 => self.append(&chunk).and_then(|()| self.overwrite(20, &whole.to_le_bytes())),
            Ok(whole) => self.append(&chunk).and_then(|()| self.overwrite(4, &whole.to_le_bytes())),
            // libav took it for short enough to count in 32 bits; with the chunk it is not.
            Err(_) => {
                self.left_out.extend(self.tags.beside_info());
                Ok(())
            }
        }
    }

    /// What of the tags could not be written.
    pub(super) fn left_out(&self) -> Vec<MetadataPart> {
        self.left_out.clone()
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
