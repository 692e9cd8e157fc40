//! From the first bytes to an opened container: which demuxer reads it, in what order, and what it may not do.
#![allow(unsafe_code)] // libav's contexts are made and filled in through raw pointers.

use std::ffi::{CString, c_int, c_void};
use std::ptr;

use domain::{Access, Failure};
use ffmpeg_sys_next as sys;

use super::super::callbacks::{on_read, on_seek, refuse_open};
use super::super::ffi::{AvError, Options, text};
use super::super::fragments::{Fragments, gather, take_in_front};
use super::super::reader::Reader;
use super::super::track::{Kind, Track};
use super::super::{AvLimits, Host, arriving, container, failures, whitelist};
use super::Input;

/// libav's own buffer: for headers, which it reads byte by byte.
const BUFFER_BYTES: usize = 64 << 10;
/// How far into the stream libav may look for parameters that the header does not give, in microseconds.
const ANALYZE_MICROS: i64 = 10_000_000;

impl<'h> Input<'h> {
    /// Opens whatever it is, if it is media. Where `needs_all`, what its end may say is read before anything else.
    pub(in super::super) fn open(
        host: &'h mut dyn Host,
        limits: &AvLimits,
        needs_all: bool,
    ) -> Result<Self, Failure> {
        let reader = Reader::new(host);
        let playlist = reader.playlist();
        let mut input = Self {
            context: ptr::null_mut(),
            io: ptr::null_mut(),
            reader: Box::into_raw(Box::new(reader)),
            demuxer: String::new(),
            fragments: Fragments::default(),
            access: Access::Random,
            is_unfolding: false,
            playlist,
        };
        input.connect().map_err(|cause| failures::internal("the reader", cause))?;
        let format = input.recognise(limits)?;
        input.keep_to_order(needs_all)?;
        input.gather_fragments()?;
        input.read_header(format, limits).map_err(|cause| container::headless(&mut input, limits, cause))?;
        if input.wants_a_closer_look() {
            // SAFETY: the context is open; no options are handed over.
            let answer = unsafe { sys::avformat_find_stream_info(input.context, ptr::null_mut()) };
            AvError::check(answer).map_err(|cause| {
                input.unless_gone(failures::damaged(format!("no stream makes sense: {cause}")))
            })?;
        }
        // A demuxer may take a header that broke off for a short one.
        if input.is_gone() {
            return Err(failures::gone());
        }
        let is_within = input.format_context().nb_streams <= limits.max_streams;
        if is_within { Ok(input) } else { Err(container::too_many_streams(limits)) }
    }

    fn connect(&mut self) -> Result<(), AvError> {
        // SAFETY: allocates.
        let buffer = unsafe { sys::av_malloc(BUFFER_BYTES) };
        if buffer.is_null() {
            return Err(AvError::MEMORY);
        }
        let (opaque, size) = (self.reader.cast::<c_void>(), BUFFER_BYTES as c_int);
        // SAFETY: the buffer is handed over; the reader outlives the context (see `drop`).
        self.io = unsafe {
            sys::avio_alloc_context(buffer.cast(), size, 0, opaque, Some(on_read), None, Some(on_seek))
        };
        if self.io.is_null() {
            // SAFETY: it was not taken over.
            unsafe { sys::av_free(buffer) };
            return Err(AvError::MEMORY);
        }
        Ok(())
    }

    /// Which demuxer the first bytes ask for; only a whitelisted one is ever opened.
    fn recognise(&mut self, limits: &AvLimits) -> Result<*const sys::AVInputFormat, Failure> {
        let mut format = ptr::null();
        // libav takes no less than 2 KiB; 1 MiB is its own default.
        let most = u32::try_from(limits.max_probe_bytes.clamp(2048, 1 << 20)).unwrap_or(1 << 20);
        // SAFETY: the reader's context is connected; the empty name ends with a zero.
        let answer = unsafe {
            sys::av_probe_input_buffer2(self.io, &mut format, c"".as_ptr(), ptr::null_mut(), 0, most)
        };
        let is_empty = self.reader().position() == 0 || matches!(AvError::check(answer), Err(AvError::END));
        AvError::check(answer).map_err(|_| {
            self.unless_gone(failures::not_media(if is_empty {
                "it is empty"
            } else {
                "its first bytes are those of no known video or audio format"
            }))
        })?;
        // SAFETY: on success libav has set the format, which lives for good.
        self.demuxer = unsafe { text((*format).name) };
        if whitelist::container(&self.demuxer).is_none() {
            let demuxer = &self.demuxer;
            return Err(failures::not_media(match demuxer.as_str() {
                "hls" | "dash" => {
                    format!("it is a playlist (`{demuxer}`), which is taken from its own URL alone")
                }
                _ => format!("it is of the kind `{demuxer}`, which is not taken"),
            }));
        }
        Ok(format)
    }

    /// Where it is read in order, libav is told not to jump to the end for an index or a duration: it would wait for all
    /// of the source. It may still step back, to what is there.
    fn keep_to_order(&mut self, needs_all: bool) -> Result<(), Failure> {
        self.access = arriving::access(self, needs_all)?;
        let Access::InOrder { is_sized } = self.access else { return Ok(()) };
        self.is_unfolding = arriving::is_fragmented(self)?;
        // SAFETY: the context is connected and ours.
        unsafe { (*self.io).seekable = 0 };
        if !is_sized {
            self.reader().hide_size();
        }
        Ok(())
    }

    /// Brings the heads of a fragmented mp4 near, which libav is about to walk over; where they are still to come, only
    /// what is in front of them.
    fn gather_fragments(&mut self) -> Result<(), Failure> {
        if self.container() != "mp4" {
            return Ok(());
        }
        let fragments = match self.access {
            Access::Random => gather(self.reader()),
            Access::InOrder { .. } => take_in_front(self.reader()).map(Some),
        };
        if let Some(fragments) = fragments.map_err(|_| failures::gone())? {
            self.fragments = fragments;
            self.read_directly();
            // What libav has in its buffer from recognising the format is read again from where the heads are.
            // SAFETY: the context is connected.
            unsafe { sys::avio_seek(self.io, 0, sys::SEEK_SET) };
        }
        Ok(())
    }

    fn read_header(&mut self, format: *const sys::AVInputFormat, limits: &AvLimits) -> Result<(), AvError> {
        let list = |names: String| CString::new(names).map_err(|_| AvError::MEMORY);
        let (demuxers, decoders) = (list(whitelist::demuxers())?, list(whitelist::decoders())?);
        // One more than may be, to tell too many from just enough.
        let streams = list(limits.max_streams.saturating_add(1).to_string())?;
        let mut options = Options::new(&[
            (c"format_whitelist", &demuxers),
            (c"codec_whitelist", &decoders),
            (c"protocol_whitelist", c""),
            (c"max_streams", &streams),
        ])?;
        // SAFETY: allocates.
        let mut context = unsafe { sys::avformat_alloc_context() };
        if context.is_null() {
            return Err(AvError::MEMORY);
        }
        // SAFETY: the context was just made and is ours; what is set lives at least as long.
        unsafe {
            (*context).pb = self.io;
            (*context).io_open = Some(refuse_open);
            (*context).probesize = i64::try_from(limits.max_probe_bytes).unwrap_or(i64::MAX);
            (*context).max_analyze_duration = ANALYZE_MICROS;
        }
        // SAFETY: all pointers are alive; on failure libav frees the context and sets it to null.
        let answer =
            unsafe { sys::avformat_open_input(&mut context, c"".as_ptr(), format, options.as_mut_ptr()) };
        self.context = context;
        AvError::check(answer).map(|_| ())
    }

    /// Whether parameters are missing. mp4, mov, matroska and avi say them in their header; looking further would read
    /// the picture for nothing. Only where an avi has its sound within the picture (DV) is there none until then.
    fn wants_a_closer_look(&self) -> bool {
        let tracks = self.tracks();
        let says_all = match self.container() {
            "mp4" | "mkv" => true,
            "avi" => tracks.iter().any(|track| track.kind == Kind::Audio),
            _ => false,
        };
        let is_vague = |track: &Track| track.kind == Kind::Audio && (track.channels == 0 || track.rate == 0);
        !says_all || tracks.is_empty() || tracks.iter().any(is_vague)
    }
}
