//! Compressed data.
#![allow(unsafe_code)] // libav's packets are reached through raw pointers.

use std::ffi::c_int;
use std::ops::Range;
use std::ptr::{self, NonNull};

use ffmpeg_sys_next as sys;

use super::ffi::{AvError, NO_TIME};

/// Compressed data of one stream.
pub(super) struct Packet(NonNull<sys::AVPacket>);

impl Packet {
    /// An empty one.
    pub(super) fn new() -> Result<Self, AvError> {
        // SAFETY: allocates; null is checked.
        NonNull::new(unsafe { sys::av_packet_alloc() }).map(Self).ok_or(AvError::MEMORY)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::AVPacket {
        self.0.as_ptr()
    }

    fn get(&self) -> &sys::AVPacket {
        // SAFETY: it is ours, alive, and nobody writes to it while it is borrowed.
        unsafe { self.0.as_ref() }
    }

    /// Drops what it holds.
    pub(super) fn clear(&mut self) {
        // SAFETY: the packet is ours.
        unsafe { sys::av_packet_unref(self.0.as_ptr()) };
    }

    /// Which stream it belongs to.
    pub(super) fn stream(&self) -> usize {
        usize::try_from(self.get().stream_index).unwrap_or(usize::MAX)
    }

    /// When it plays, else when it is decoded; in the stream's time base.
    pub(super) fn time(&self) -> Option<i64> {
        let packet = self.get();
        [packet.pts, packet.dts].into_iter().find(|time| *time != NO_TIME)
    }

    /// How long it plays, where that is known; in the stream's time base.
    pub(super) fn duration(&self) -> Option<i64> {
        Some(self.get().duration).filter(|duration| *duration > 0)
    }

    /// Bytes.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.get().size).unwrap_or(0)
    }

    /// Holds only these of its bytes.
    pub(super) fn keep(&mut self, bytes: Range<usize>) {
        let bytes = bytes.start.min(self.size())..bytes.end.min(self.size());
        let Ok(size) = c_int::try_from(bytes.len()) else { return };
        // SAFETY: the packet is ours; what stays is within what it holds, whose owner it keeps.
        unsafe {
            let packet = &mut *self.as_ptr();
            packet.data = packet.data.add(bytes.start);
            packet.size = size;
        }
    }

    /// Whether the demuxer could read only a part of it.
    pub(super) fn is_torn(&self) -> bool {
        self.get().flags & sys::AV_PKT_FLAG_CORRUPT != 0
    }

    /// Whether it is encrypted (Common Encryption).
    pub(super) fn is_encrypted(&self) -> bool {
        self.side_data(sys::AVPacketSideDataType::AV_PKT_DATA_ENCRYPTION_INFO).is_some()
    }

    /// What it holds.
    pub(super) fn bytes(&self) -> &[u8] {
        let packet = self.get();
        if packet.data.is_null() {
            return &[];
        }
        // SAFETY: libav keeps `size` bytes there as long as the packet holds them.
        unsafe { std::slice::from_raw_parts(packet.data, self.size()) }
    }

    /// One that holds a copy of these bytes, end to end.
    pub(super) fn of(pieces: &[&[u8]]) -> Result<Self, AvError> {
        let made = Self::new()?;
        let size = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let size = c_int::try_from(size).map_err(|_| AvError::MEMORY)?;
        // SAFETY: the packet is ours and empty; on success it has room for `size` bytes, as many as the pieces have.
        unsafe {
            AvError::check(sys::av_new_packet(made.as_ptr(), size))?;
            let mut at = (*made.as_ptr()).data;
            for piece in pieces {
                ptr::copy_nonoverlapping(piece.as_ptr(), at, piece.len());
                at = at.add(piece.len());
            }
        }
        Ok(made)
    }

    /// Holds nothing but new parameters of its codec.
    pub(super) fn announce(&mut self, extradata: &[u8]) -> Result<(), AvError> {
        self.clear();
        // SAFETY: the packet is ours and empty; on success it has room for so many bytes.
        unsafe {
            let kind = sys::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA;
            let room = sys::av_packet_new_side_data(self.as_ptr(), kind, extradata.len());
            if room.is_null() {
                return Err(AvError::MEMORY);
            }
            ptr::copy_nonoverlapping(extradata.as_ptr(), room, extradata.len());
        }
        Ok(())
    }

    /// Makes it ready for a muxer: when it plays and how long, in the muxer's time base, and nothing beside.
    pub(super) fn place(&mut self, time: i64, duration: i64) {
        // SAFETY: the packet is ours.
        unsafe {
            sys::av_packet_free_side_data(self.as_ptr());
            let packet = &mut *self.as_ptr();
            packet.stream_index = 0;
            (packet.pts, packet.dts, packet.duration, packet.pos) = (time, time, duration, -1);
            packet.flags = sys::AV_PKT_FLAG_KEY;
        }
    }

    /// Has so many samples left out before it is heard.
    pub(super) fn skip(&mut self, samples: u32) -> Result<(), AvError> {
        /// Of libav's side data: both numbers of samples, and two reasons.
        const SIZE: usize = 10;
        // SAFETY: the packet is ours; on success it has room for so many bytes.
        unsafe {
            let kind = sys::AVPacketSideDataType::AV_PKT_DATA_SKIP_SAMPLES;
            let room = sys::av_packet_new_side_data(self.as_ptr(), kind, SIZE);
            if room.is_null() {
                return Err(AvError::MEMORY);
            }
            ptr::write_bytes(room, 0, SIZE);
            ptr::copy_nonoverlapping(samples.to_le_bytes().as_ptr(), room, 4);
        }
        Ok(())
    }

    /// Samples to leave out before it is heard, and at its end, where the container says so.
    pub(super) fn trims(&self) -> Option<(u32, u32)> {
        let bytes = self.side_data(sys::AVPacketSideDataType::AV_PKT_DATA_SKIP_SAMPLES)?;
        let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        Some((number(0)?, number(4)?))
    }

    /// Parameters for the decoder that begin with this packet.
    pub(super) fn new_extradata(&self) -> Option<&[u8]> {
        self.side_data(sys::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA)
    }

    /// Whether it is there for the decoder only, and not to be heard.
    pub(super) fn is_unheard(&self) -> bool {
        self.get().flags & sys::AV_PKT_FLAG_DISCARD != 0
    }

    fn side_data(&self, kind: sys::AVPacketSideDataType) -> Option<&[u8]> {
        let mut size = 0;
        // SAFETY: the packet is ours; libav answers with null or `size` bytes that live as long as the packet's.
        unsafe {
            let data = sys::av_packet_get_side_data(self.as_ptr(), kind, &mut size);
            (!data.is_null()).then(|| std::slice::from_raw_parts(data.cast_const(), size))
        }
    }
}

// SAFETY: it is owned alone; the count of who shares what it holds is atomic.
unsafe impl Send for Packet {}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: frees what `new` allocated, once.
        unsafe { sys::av_packet_free(&mut packet) };
    }
}
