//! The two descriptors that a child has, at numbers that are known, and none beside them.

#![allow(unsafe_code, reason = "dup2 onto a chosen number and close_range have no safe form")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The job's socket. 0 to 2 stay empty: what a library prints must not land in the result.
const SOCKET: u32 = 3;
/// The result's file.
const INTO: u32 = 4;
/// Above every number that may be in use when the two are put into their places.
const CLEAR_OF_BOTH: i32 = 16;

/// Puts the two into their places, over whatever was there.
pub(crate) fn hand_over(socket: OwnedFd, into: OwnedFd) -> io::Result<(File, File)> {
    let socket = rustix::io::fcntl_dupfd_cloexec(socket, CLEAR_OF_BOTH)?;
    let into = rustix::io::fcntl_dupfd_cloexec(into, CLEAR_OF_BOTH)?;
    Ok((place(socket, SOCKET)?, place(into, INTO)?))
}

fn place(fd: OwnedFd, number: u32) -> io::Result<File> {
    // SAFETY: both are plain numbers. What else may own `number` in this process, a copy of the zygote, never runs
    // again: the child ends by `_exit`.
    if unsafe { libc::dup2(fd.as_raw_fd(), number.cast_signed()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `dup2` has just made it, and it has no other owner that runs.
    Ok(unsafe { File::from_raw_fd(number.cast_signed()) })
}

/// Closes all others: the zygote's control socket, and whatever else should not have come along.
pub(super) fn close_others() -> Result<(), String> {
    for (first, last) in [(0, SOCKET - 1), (INTO + 1, u32::MAX)] {
        // SAFETY: `close_range` takes any numbers, and the owners of what it closes never run again (see above).
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(format!("close_range: {}", io::Error::last_os_error()));
        }
    }
    Ok(())
}
