//! libav's functions, found when a zygote asks for them instead of when the program starts.
//!
//! Loading libav and the 130 libraries that it stands on takes 40 ms of CPU time. The service itself and its commands
//! never call it, so they neither pay for that nor have so much foreign code in their memory. All else calls libav by
//! the declarations of its bindings; each of these names is defined here, as a jump to where the table says. A
//! function that is called and not named here would have the linker bind libav to the program again, which
//! `a_supervisor_does_not_load_libav` sees.
#![allow(unsafe_code)] // functions of other libraries are found by name and jumped to.

use std::arch::naked_asm;
use std::ffi::{CStr, CString, c_void};
use std::process::abort;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ffmpeg_sys_next as sys;

/// Aligned to, and so as large as, the largest page of x86-64 and arm64: it can be sealed.
#[repr(align(65536))]
struct Table([AtomicPtr<c_void>; NAMES.len()]);

/// Where each function is.
static FOUND: Table = Table([const { AtomicPtr::new(unbound as *mut c_void) }; NAMES.len()]);

/// Stands for every function until they are bound.
extern "C" fn unbound() -> ! {
    eprintln!("libav was called in a process that has not loaded it");
    abort()
}

/// Loads libav and finds all its functions. Must be called once, before any of them and before there are threads.
pub(super) fn bind() -> Result<(), String> {
    let libraries = [
        load("avutil", sys::LIBAVUTIL_VERSION_MAJOR)?,
        load("swresample", sys::LIBSWRESAMPLE_VERSION_MAJOR)?,
        load("avcodec", sys::LIBAVCODEC_VERSION_MAJOR)?,
        load("avformat", sys::LIBAVFORMAT_VERSION_MAJOR)?,
    ];
    for (name, place) in NAMES.iter().zip(&FOUND.0) {
        let found = libraries.iter().find_map(|library| find(*library, name));
        place.store(found.ok_or_else(|| format!("it has no {name}"))?, Ordering::Relaxed);
    }
    seal()
}

/// Loads the version that the bindings were made from, as the linker's own entry would.
fn load(library: &str, version: i32) -> Result<*mut c_void, String> {
    let file = CString::new(format!("lib{library}.so.{version}")).map_err(|cause| cause.to_string())?;
    // SAFETY: the name ends with a zero. What a library does when it is loaded is what it did when it was linked.
    let handle = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() { Err(last_error()) } else { Ok(handle) }
}

fn find(library: *mut c_void, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    // SAFETY: the library stays loaded, and the name ends with a zero.
    Some(unsafe { libc::dlsym(library, name.as_ptr()) }).filter(|found| !found.is_null())
}

/// What the dynamic linker says of its last failure: a library's name, and why it could not be had.
fn last_error() -> String {
    // SAFETY: there is one thread, and the text is copied before it makes another call.
    unsafe {
        let text = libc::dlerror();
        if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

/// Makes the table unchangeable, as the linker does with its own: what corrupts memory shall find no pointer to bend.
fn seal() -> Result<(), String> {
    let table = ptr::from_ref(&FOUND).cast_mut().cast();
    // SAFETY: whole pages, which hold nothing else, and nobody writes to them from here on.
    match unsafe { libc::mprotect(table, size_of::<Table>(), libc::PROT_READ) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().to_string()),
    }
}

/// Goes on to the function: changes no register but one that calls may change, and nothing on the stack. Hidden, so that
/// libav's libraries, which call each other by these names, find each other and not this.
#[cfg(target_arch = "x86_64")]
macro_rules! jump_to {
    ($name:ident) => {
        naked_asm!(
            concat!(".hidden ", stringify!($name)),
            "jmp qword ptr [rip + {table} + {place}]",
            table = sym FOUND,
            place = const Place::$name as usize * size_of::<*mut c_void>(),
        )
    };
}

#[cfg(target_arch = "aarch64")]
macro_rules! jump_to {
    ($name:ident) => {
        naked_asm!(
            concat!(".hidden ", stringify!($name)),
            "adrp x16, {table} + {place}",
            "ldr x16, [x16, :lo12:{table} + {place}]",
            "br x16",
            table = sym FOUND,
            place = const Place::$name as usize * size_of::<*mut c_void>(),
        )
    };
}

macro_rules! functions {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[allow(non_camel_case_types)] // libav's names, in the order of `NAMES`.
        enum Place { $($name),* }

        $(
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn $name() {
                jump_to!($name)
            }
        )*
    };
}

functions! {
    av_probe_input_buffer2 av_read_frame av_seek_frame av_write_frame av_write_trailer avformat_alloc_context
    avformat_alloc_output_context2 avformat_close_input avformat_find_stream_info avformat_free_context
    avformat_index_get_entries_count avformat_index_get_entry avformat_new_stream avformat_open_input
    avformat_write_header avio_alloc_context avio_context_free avio_flush avio_seek avio_write av_new_packet
    av_packet_alloc av_packet_free av_packet_free_side_data av_packet_get_side_data av_packet_new_side_data
    av_packet_rescale_ts av_packet_unref av_vorbis_parse_frame av_vorbis_parse_free av_vorbis_parse_init
    avcodec_alloc_context3 avcodec_find_decoder avcodec_find_encoder_by_name avcodec_flush_buffers
    avcodec_free_context avcodec_get_name avcodec_open2 avcodec_parameters_alloc avcodec_parameters_copy
    avcodec_parameters_free avcodec_parameters_from_context avcodec_parameters_to_context avcodec_receive_frame
    avcodec_receive_packet avcodec_send_frame avcodec_send_packet av_channel_layout_channel_from_index
    av_channel_layout_compare av_channel_layout_default av_channel_layout_from_string av_crc av_crc_get_table
    av_dict_free av_dict_get av_dict_set av_frame_alloc av_frame_free av_frame_get_buffer av_frame_is_writable
    av_frame_make_writable av_free av_log_set_level av_malloc av_opt_set av_samples_copy av_samples_set_silence
    av_strerror swr_alloc_set_opts2 swr_convert swr_free swr_get_out_samples swr_init
}
