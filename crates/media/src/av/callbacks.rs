//! What libav calls back for: bytes of the source, another place in it, other files.
#![allow(unsafe_code)] // libav calls back through raw pointers.

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ffmpeg_sys_next as sys;

use super::ffi::AvError;
use super::reader::Reader;

/// libav reads. A panic must not cross into C, and counts as a host that is gone.
pub(super) unsafe extern "C" fn on_read(opaque: *mut c_void, into: *mut u8, size: c_int) -> c_int {
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else { return AvError::END.code() };
    // SAFETY: `opaque` is the reader that `Input` gave with this, used by nobody else while libav runs; `into` has room
    // for `size` bytes.
    let (reader, into) =
        unsafe { (&mut *opaque.cast::<Reader<'_>>(), std::slice::from_raw_parts_mut(into, size)) };
    match catch_unwind(AssertUnwindSafe(|| reader.read(into))) {
        Ok(Ok(0)) => AvError::END.code(),
        Ok(Ok(count)) => c_int::try_from(count).unwrap_or(c_int::MAX),
        Ok(Err(_)) | Err(_) => AvError::STOP.code(),
    }
}

/// libav seeks, or asks for the size.
pub(super) unsafe extern "C" fn on_seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `on_read`.
    let reader = unsafe { &mut *opaque.cast::<Reader<'_>>() };
    let seek = || -> Option<i64> {
        let base = match whence & !sys::AVSEEK_FORCE {
            // An error would be taken for a size by the MP3 demuxer, and its tag of the length for a lie.
            sys::AVSEEK_SIZE if reader.hides_size() => return Some(0),
            sys::SEEK_END if reader.hides_size() => return None,
            sys::AVSEEK_SIZE => return reader.size().ok().and_then(|size| i64::try_from(size).ok()),
            sys::SEEK_SET => 0,
            sys::SEEK_CUR => i64::try_from(reader.position()).ok()?,
            sys::SEEK_END => i64::try_from(reader.size().ok()?).ok()?,
            _ => return None,
        };
        let target = base.checked_add(offset)?;
        reader.seek(u64::try_from(target).ok()?);
        Some(target)
    };
    catch_unwind(AssertUnwindSafe(seek)).ok().flatten().unwrap_or(i64::from(AvError::STOP.code()))
}

/// A file that names other files gets none of them.
pub(super) unsafe extern "C" fn refuse_open(
    _: *mut sys::AVFormatContext,
    _: *mut *mut sys::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut sys::AVDictionary,
) -> c_int {
    sys::AVERROR(sys::EACCES)
}
