//! A container, opened over the host: the only place where libavformat reads.
#![allow(unsafe_code)] // the demuxer is driven and its streams are looked at through raw pointers.

mod broadcast;
mod opening;

use std::ffi::c_int;
use std::ops::Range;
use std::{ptr, slice};

use domain::{Access, Failure, Playlist};
use ffmpeg_sys_next as sys;

use super::described::{describe, tag};
use super::ffi::AvError;
use super::fragments::Fragments;
use super::mux::Parameters;
use super::packet::Packet;
use super::reader::Reader;
use super::track::Track;
use super::{Host, failures, whitelist};

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

    /// From here on every seek and every read of a packet goes straight to the reader, which knows what is worth
    /// fetching; libav's own buffer would read through the picture in between. Not earlier: the Ogg demuxer, for
    /// one, counts on the buffer.
    fn read_directly(&mut self) {
        // SAFETY: the context is alive and ours.
        unsafe { (*self.io).direct = 1 };
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

    /// Average kbit/s of one stream, where the header says it.
    pub(super) fn said_kbps(&self, index: usize) -> Option<f64> {
        // SAFETY: null or alive as long as `self`.
        let bits = unsafe { self.parameters(index).as_ref()?.bit_rate };
        (bits > 0).then(|| bits as f64 / 1000.0)
    }

    /// The codec's own header.
    pub(super) fn extradata(&self, index: usize) -> &[u8] {
        // SAFETY: null or alive as long as `self`.
        let Some(parameters) = (unsafe { self.parameters(index).as_ref() }) else { return &[] };
        match usize::try_from(parameters.extradata_size) {
            // SAFETY: libav keeps so many bytes there.
            Ok(size) if !parameters.extradata.is_null() => unsafe {
                slice::from_raw_parts(parameters.extradata.cast_const(), size)
            },
            _ => &[],
        }
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
