//! A container, opened over the host: the only place where libavformat reads.
#![allow(unsafe_code)] // the demuxer is driven and its streams are looked at through raw pointers.

use std::ffi::{CString, c_int, c_void};
use std::ops::Range;
use std::ptr;

use domain::{Access, Failure, Playlist};
use ffmpeg_sys_next as sys;

use super::callbacks::{on_read, on_seek, refuse_open};
use super::described::{describe, tag};
use super::ffi::{AvError, Options, text};
use super::fragments::{Fragments, gather, take_in_front};
use super::mux::Parameters;
use super::packet::Packet;
use super::reader::Reader;
use super::track::{Kind, Track};
use super::{AvLimits, Host, arriving, container, failures, whitelist};

/// libav's own buffer: for headers, which it reads byte by byte.
const BUFFER_BYTES: usize = 64 << 10;
/// How far into the stream libav may look for parameters that the header does not give, in microseconds.
const ANALYZE_MICROS: i64 = 10_000_000;

/// An opened container.
pub(super) struct Input<'h> {
    context: *mut sys::AVFormatContext,
    io: *mut sys::AVIOContext,
    /// Owned (from a box); libav's callbacks hold the same pointer, and run only within calls made here.
    reader: *mut Reader<'h>,
    demuxer: String,
    /// What it says of its fragments, of which libav is not told.
    fragments: Fragments,
    access: Access,
    /// Whether it is an mp4 of which libav knows only the fragments that it has come to.
    is_unfolding: bool,
    playlist: Option<Playlist>,
}

impl<'h> Input<'h> {
    /// Opens whatever it is, if it is media. Where `needs_all`, what its end may say is read before anything else.
    pub(super) fn open(host: &'h mut dyn Host, limits: &AvLimits, needs_all: bool) -> Result<Self, Failure> {
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

    /// From here on every seek and every read of a packet goes straight to the reader, which knows what is worth
    /// fetching; libav's own buffer would read through the picture in between. Not earlier: the Ogg demuxer, for
    /// one, counts on the buffer.
    fn read_directly(&mut self) {
        // SAFETY: the context is alive and ours.
        unsafe { (*self.io).direct = 1 };
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

    /// The container as libav has it.
    pub(super) fn format_context(&self) -> &sys::AVFormatContext {
        // SAFETY: every caller comes after a successful `read_header`; libav writes to it only in calls that take
        // `&mut self`.
        unsafe { &*self.context }
    }

    fn reader(&mut self) -> &mut Reader<'h> {
        // SAFETY: it lives as long as `self`; callbacks use it only within libav's calls, none of which is running.
        unsafe { &mut *self.reader }
    }

    /// One stream.
    pub(super) fn stream(&self, index: usize) -> Option<&sys::AVStream> {
        let context = self.format_context();
        // SAFETY: libav keeps `nb_streams` valid pointers there.
        (index < context.nb_streams as usize).then(|| unsafe { &**context.streams.add(index) })
    }

    /// The demuxer's short name for people; mov and matroska stand for their families.
    pub(super) fn container(&self) -> &'static str {
        whitelist::container(&self.demuxer).unwrap_or("media")
    }

    /// The playlist that the source was made of, if it was.
    pub(super) fn playlist(&self) -> Option<Playlist> {
        self.playlist
    }

    /// In what order it is read.
    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// Says that its end has come, so that what it knows of itself is all that there is.
    pub(super) fn has_ended(&mut self) {
        self.is_unfolding = false;
    }

    /// Whether it is the segments of a playlist, which are read in order and of which no mark speaks of the whole.
    pub(super) fn is_stream(&self) -> bool {
        self.playlist.is_some_and(|playlist| playlist.is_stream)
    }

    /// Who answers.
    pub(super) fn host(&mut self) -> &mut dyn Host {
        self.reader().host()
    }

    /// This failure, unless the host has gone: then that is the cause of it.
    pub(super) fn unless_gone(&mut self, failure: Failure) -> Failure {
        if self.reader().is_gone() { failures::gone() } else { failure }
    }

    /// The source's length in bytes.
    pub(super) fn size(&mut self) -> Result<u64, Failure> {
        self.reader().size().map_err(|_| failures::gone())
    }

    /// Bytes of the source, for marks that libav does not pass on. Does not disturb the demuxer.
    pub(super) fn read_at(&mut self, offset: u64, into: &mut [u8]) -> Result<usize, Failure> {
        self.host().read_at(offset, into).map_err(|_| failures::gone())
    }

    /// Where the demuxer goes on.
    pub(super) fn position(&mut self) -> u64 {
        // SAFETY: the context is connected; asking does not move it.
        u64::try_from(unsafe { sys::avio_seek(self.io, 0, sys::SEEK_CUR) }).unwrap_or(0)
    }

    /// Says which bytes will be read.
    pub(super) fn plan(&mut self, ranges: Vec<Range<u64>>) {
        self.reader().plan(ranges);
        self.read_directly();
    }

    /// Seconds, where the container says it.
    pub(super) fn duration_secs(&self) -> Option<f64> {
        let whole = self.format_context().duration;
        if whole > 0 {
            return Some(whole as f64 / f64::from(sys::AV_TIME_BASE));
        }
        self.tracks().iter().filter_map(|track| track.duration_secs).max_by(f64::total_cmp)
    }

    /// Whether the duration is only a guess from the bitrate, by which nothing can be judged.
    pub(super) fn duration_is_guessed(&self) -> bool {
        self.format_context().duration_estimation_method
            == sys::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE
    }

    /// Whether this kind of container may jump in time by design (broadcasts, chained streams).
    pub(super) fn may_jump(&self) -> bool {
        // SAFETY: an opened context has its format, which lives for good.
        unsafe { (*self.format_context().iformat).flags & sys::AVFMT_TS_DISCONT != 0 }
    }

    /// A tag of the whole file.
    pub(super) fn tag(&self, name: &std::ffi::CStr) -> Option<String> {
        tag(self.format_context().metadata, name)
    }

    /// What streams there are.
    pub(super) fn tracks(&self) -> Vec<Track> {
        let count = self.format_context().nb_streams as usize;
        let whole = |stream: &sys::AVStream| {
            let track = describe(stream);
            let known = track.duration_secs.filter(|_| !self.is_unfolding);
            let listed = u64::try_from(stream.id).ok().and_then(|number| self.fragments.secs(number));
            Track { duration_secs: known.into_iter().chain(listed).max_by(f64::total_cmp), ..track }
        };
        (0..count).filter_map(|index| self.stream(index)).map(whole).collect()
    }

    /// Where a fragmented mp4 says that its last fragment ends.
    pub(super) fn fragments_end(&self) -> Option<u64> {
        self.fragments.end
    }

    /// The parameters that a decoder needs. Alive as long as `self`.
    pub(super) fn parameters(&self, index: usize) -> *const sys::AVCodecParameters {
        self.stream(index).map_or(ptr::null(), |stream| stream.codecpar.cast_const())
    }

    /// The same, for another container.
    pub(super) fn copied_parameters(&self, index: usize) -> Result<Parameters, AvError> {
        // SAFETY: null or alive as long as `self`.
        unsafe { Parameters::of_source(self.parameters(index)) }
    }

    /// The index of one stream, as far as it is known: (position, bytes, time), in order of time.
    pub(super) fn index(&self, index: usize) -> Vec<(u64, u64, i64)> {
        let Some(stream) = self.stream(index) else { return Vec::new() };
        let stream = ptr::from_ref(stream).cast_mut();
        // SAFETY: the stream is alive; these two only look, and an entry is copied before the next call.
        unsafe {
            (0..sys::avformat_index_get_entries_count(stream))
                .filter_map(|at| sys::avformat_index_get_entry(stream, at).as_ref())
                .filter_map(|entry| {
                    Some((u64::try_from(entry.pos).ok()?, u64::try_from(entry.size()).ok()?, entry.timestamp))
                })
                .collect()
        }
    }

    /// Lets only these streams come.
    pub(super) fn keep_only(&mut self, keep: &[usize]) {
        let context = self.format_context();
        for index in 0..context.nb_streams as usize {
            let discard = if keep.contains(&index) {
                sys::AVDiscard::AVDISCARD_DEFAULT
            } else {
                sys::AVDiscard::AVDISCARD_ALL
            };
            // SAFETY: libav keeps `nb_streams` valid pointers there, and lets its user set this field.
            unsafe { (**context.streams.add(index)).discard = discard };
        }
    }

    /// The next packet of any kept stream.
    pub(super) fn read(&mut self, packet: &mut Packet) -> Result<(), AvError> {
        packet.clear();
        // SAFETY: both are alive, and the packet is empty, as libav wants it.
        AvError::check(unsafe { sys::av_read_frame(self.context, packet.as_ptr()) })?;
        Ok(())
    }

    /// Goes on with the packet of this stream and time, or with an earlier one.
    pub(super) fn seek(&mut self, index: usize, ticks: i64) -> Result<(), AvError> {
        let stream = c_int::try_from(index).unwrap_or(-1);
        // SAFETY: the context is open, and libav checks the stream's number.
        AvError::check(unsafe {
            sys::av_seek_frame(self.context, stream, ticks, sys::AVSEEK_FLAG_BACKWARD as c_int)
        })?;
        Ok(())
    }

    /// Whether the host has gone.
    pub(super) fn is_gone(&mut self) -> bool {
        self.reader().is_gone()
    }
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        // SAFETY: first the demuxer, which may still read; then its IO with the buffer that libav may have replaced;
        // last the reader that both refer to. Null is fine for the first, checked for the second.
        unsafe {
            sys::avformat_close_input(&mut self.context);
            if !self.io.is_null() {
                sys::av_free((*self.io).buffer.cast());
                sys::avio_context_free(&mut self.io);
            }
            drop(Box::from_raw(self.reader));
        }
    }
}
