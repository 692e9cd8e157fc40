//! The file that the result goes into, as libav writes it: every byte counted.
#![allow(unsafe_code)] // libav calls back through raw pointers.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ffmpeg_sys_next as sys;

use super::ffi::AvError;

const BUFFER_BYTES: usize = 64 << 10;

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum Refused {
    /// The result would be larger than it may.
    TooLarge,
    /// The file took no more.
    Io(io::Error),
}

struct Written {
    file: Rc<File>,
    position: u64,
    size: u64,
    /// Every byte counts, also one that is written over another.
    total: u64,
    max_bytes: u64,
    refused: Option<Refused>,
}

impl Written {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let end = self.position.saturating_add(bytes.len() as u64);
        if end > self.max_bytes || self.total / 2 > self.max_bytes {
            return Err(Refused::TooLarge);
        }
        (&*self.file).write_all(bytes).map_err(Refused::Io)?;
        self.position = end;
        self.size = self.size.max(end);
        Ok(())
    }

    fn seek(&mut self, whence: c_int, offset: i64) -> Option<i64> {
        let target = match whence & !sys::AVSEEK_FORCE {
            sys::AVSEEK_SIZE => return i64::try_from(self.size).ok(),
            sys::SEEK_SET => u64::try_from(offset).ok()?,
            sys::SEEK_CUR => self.position.checked_add_signed(offset)?,
            sys::SEEK_END => self.size.checked_add_signed(offset)?,
            _ => return None,
        };
        self.position = (&*self.file).seek(SeekFrom::Start(target)).ok()?;
        i64::try_from(self.position).ok()
    }
}

/// libav's way into the file.
pub(super) struct Output {
    io: *mut sys::AVIOContext,
    /// Owned (from a box); libav's callbacks hold the same pointer, and run only within libav's calls.
    written: *mut Written,
}

impl Output {
    /// Into this file, which is empty, at most so many bytes.
    pub(super) fn new(file: Rc<File>, max_bytes: u64) -> Result<Self, AvError> {
        // SAFETY: allocates.
        let buffer = unsafe { sys::av_malloc(BUFFER_BYTES) };
        if buffer.is_null() {
            return Err(AvError::MEMORY);
        }
        let written = Written { file, position: 0, size: 0, total: 0, max_bytes, refused: None };
        let written = Box::into_raw(Box::new(written));
        let (opaque, size) = (written.cast::<c_void>(), BUFFER_BYTES as c_int);
        // SAFETY: the buffer is handed over; what is written outlives the context (see `drop`).
        let io = unsafe {
            sys::avio_alloc_context(buffer.cast(), size, 1, opaque, None, Some(on_write), Some(on_seek))
        };
        let output = Self { io, written };
        if io.is_null() {
            // SAFETY: it was not taken over.
            unsafe { sys::av_free(buffer) };
            return Err(AvError::MEMORY);
        }
        Ok(output)
    }

    /// What a muxer writes to. Alive as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut sys::AVIOContext {
        self.io
    }

    /// Writes out what libav still holds.
    pub(super) fn flush(&mut self) {
        // SAFETY: the context is alive.
        unsafe { sys::avio_flush(self.io) };
    }

    /// Why a write did not happen, if one did not: the cause of whatever libav complains of since.
    pub(super) fn take_refused(&mut self) -> Option<Refused> {
        self.written().refused.take()
    }

    /// Bytes in the file.
    pub(super) fn size(&mut self) -> u64 {
        self.written().size
    }

    fn written(&mut self) -> &mut Written {
        // SAFETY: it lives as long as `self`; callbacks use it only within libav's calls, none of which is running.
        unsafe { &mut *self.written }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: libav's part first, with the buffer that it may have replaced; then what its callbacks refer to.
        unsafe {
            if !self.io.is_null() {
                sys::av_free((*self.io).buffer.cast());
                sys::avio_context_free(&mut self.io);
            }
            drop(Box::from_raw(self.written));
        }
    }
}

/// libav writes. A panic must not cross into C.
unsafe extern "C" fn on_write(opaque: *mut c_void, bytes: *mut u8, size: c_int) -> c_int {
    let Ok(count) = usize::try_from(size) else { return AvError::STOP.code() };
    // SAFETY: `opaque` is what `new` gave, used by nobody else while libav runs; `bytes` has `size` bytes.
    let (written, bytes) =
        unsafe { (&mut *opaque.cast::<Written>(), std::slice::from_raw_parts(bytes.cast_const(), count)) };
    match catch_unwind(AssertUnwindSafe(|| written.write(bytes))) {
        Ok(Ok(())) => size,
        Ok(Err(refused)) => {
            written.refused.get_or_insert(refused);
            AvError::STOP.code()
        }
        Err(_) => AvError::STOP.code(),
    }
}

/// libav seeks, or asks for the size.
unsafe extern "C" fn on_seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `on_write`.
    let written = unsafe { &mut *opaque.cast::<Written>() };
    catch_unwind(AssertUnwindSafe(|| written.seek(whence, offset)))
        .ok()
        .flatten()
        .unwrap_or(i64::from(AvError::STOP.code()))
}
