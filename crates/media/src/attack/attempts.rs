//! The attempts, made from inside. Raw system calls throughout: what is tried must be what is refused, not what a
//! library does before it.

#![allow(unsafe_code, reason = "an attacker has no safe wrappers")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use domain::{Extracted, Method};
use libc::c_long;
use rustix::process::Pid;

use super::Attack;
use crate::jail::JailLimits;
use crate::protocol::{FromChild, HEADER_BYTES, header};

/// What an attacker finds in a child.
pub(crate) struct Scene<'a> {
    /// The limits it is under.
    pub(crate) limits: JailLimits,
    /// The zygote.
    pub(crate) parent: Pid,
    /// The result's file.
    pub(crate) into: &'a File,
    /// The job's socket.
    pub(crate) socket: &'a mut File,
}

/// Tries it, and says what came of it, unless it killed the child. `None`: leaves without a word.
pub(crate) fn attempt(attack: Attack, scene: Scene<'_>) -> Option<FromChild> {
    match attack {
        Attack::Crash => crash(),
        Attack::Abort => std::process::abort(),
        Attack::Panic => panic!("an attack"),
        Attack::Spin => loop {
            std::hint::spin_loop();
        },
        Attack::Grow => grow(),
        Attack::Stall => loop {
            std::thread::park();
        },
        Attack::Dawdle => dawdle(scene.socket),
        Attack::Babble => babble(scene.socket, &[0x5a; 4096]),
        Attack::Announce => babble(scene.socket, &header(3, usize::MAX)),
        Attack::Lie => Some(FromChild::Done(Extracted {
            size: 1 << 20,
            samples: 1 << 20,
            sample_rate: 48_000,
            channels: 2,
            constant_kbps: None,
            method: Method::Copy,
            damaged_packets: 0,
            loudness: None,
            metadata_left_out: Vec::new(),
        })),
        Attack::Vanish => None,
        _ => {
            let (through, detail) = escape(attack, &scene);
            Some(FromChild::Attacked { through, detail })
        }
    }
}

/// Whether it got through, and how.
fn escape(attack: Attack, scene: &Scene<'_>) -> (bool, String) {
    let parent = c_long::from(scene.parent.as_raw_nonzero().get());
    match attack {
        Attack::OpenFile => open(c"/etc/passwd", libc::O_RDONLY),
        Attack::OpenProgram => open(c"/proc/self/exe", libc::O_RDONLY),
        Attack::OpenMemory => open(c"/proc/self/mem", libc::O_RDWR),
        Attack::ConnectTcp => connect_tcp(),
        Attack::UdpSocket => call(libc::SYS_socket, [libc::AF_INET as c_long, libc::SOCK_DGRAM as c_long, 0]),
        Attack::UnixSocket => {
            call(libc::SYS_socket, [libc::AF_UNIX as c_long, libc::SOCK_STREAM as c_long, 0])
        }
        Attack::Fork => fork(),
        Attack::RunProgram => run_program(),
        Attack::TraceParent => call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as c_long, parent, 0]),
        Attack::SignalParent => call(libc::SYS_kill, [parent, 0, 0]),
        Attack::BecomeRoot => call(libc::SYS_setuid, [0, 0, 0]),
        Attack::UseDescriptors => use_descriptors(),
        Attack::ReadEnvironment => match std::env::vars_os().count() {
            0 => (false, "no variable".to_owned()),
            count => (true, format!("{count} variables")),
        },
        Attack::TakeMemory => take_memory(scene.limits),
        Attack::WriteBeyond => write_beyond(scene),
        Attack::Mount => mount(),
        Attack::NewNamespace => call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0]),
        Attack::SetUpRing => set_up_ring(),
        Attack::RunData => run_data(),
        _ => (false, "confined".to_owned()),
    }
}

/// One system call of plain numbers.
fn call(number: c_long, [a, b, c]: [c_long; 3]) -> (bool, String) {
    // SAFETY: used for calls that take numbers only, so no memory is involved.
    outcome(unsafe { libc::syscall(number, a, b, c, 0) })
}

fn outcome(result: c_long) -> (bool, String) {
    if result >= 0 {
        return (true, "went through".to_owned());
    }
    let cause = std::io::Error::last_os_error();
    let refused = matches!(
        cause.raw_os_error(),
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::ENOMEM | libc::EFBIG | libc::EMFILE)
    );
    (!refused, if refused { format!("refused: {cause}") } else { format!("let through, then: {cause}") })
}

fn open(path: &CStr, flags: libc::c_int) -> (bool, String) {
    // SAFETY: the path is a live C string.
    outcome(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) })
}

fn connect_tcp() -> (bool, String) {
    // SAFETY: all-zero is a valid address; the length is its own; nothing else is read.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        if socket < 0 {
            return outcome(-1);
        }
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        // Nobody listens on port 9 (discard); to be told so is to have been let through.
        address.sin_port = 9_u16.to_be();
        address.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
        let bytes = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        outcome(libc::connect(socket, (&raw const address).cast(), bytes).into())
    }
}

fn fork() -> (bool, String) {
    // SAFETY: the grandchild, if there is one, ends at once.
    match unsafe { libc::fork() } {
        // SAFETY: `_exit` does not return.
        0 => unsafe { libc::_exit(0) },
        pid => outcome(pid.into()),
    }
}

fn run_program() -> (bool, String) {
    let argv = [c"/bin/true".as_ptr(), std::ptr::null()];
    // SAFETY: path, list and list's strings are live and null-terminated. It returns only if it failed.
    outcome(unsafe { libc::execve(argv[0], argv.as_ptr(), argv[1..].as_ptr()) }.into())
}

fn use_descriptors() -> (bool, String) {
    // To ask for a position is allowed, changes nothing, and says EBADF exactly where there is no descriptor.
    // SAFETY: takes numbers only.
    let is_open = |fd: &i32| unsafe { libc::lseek(*fd, 0, libc::SEEK_CUR) } >= 0 || errno() != libc::EBADF;
    match (0..4096).filter(|fd| !matches!(fd, 3 | 4)).filter(is_open).collect::<Vec<_>>() {
        open if open.is_empty() => (false, "none".to_owned()),
        open => (true, format!("open: {open:?}")),
    }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn map(bytes: usize, protection: libc::c_int) -> *mut libc::c_void {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping, at a place of the kernel's choice, touches nothing that exists.
    unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) }
}

fn take_memory(limits: JailLimits) -> (bool, String) {
    let twice = usize::try_from(limits.memory_bytes.saturating_mul(2)).unwrap_or(usize::MAX);
    for bytes in [8 << 30, twice] {
        if map(bytes, libc::PROT_READ | libc::PROT_WRITE) != libc::MAP_FAILED {
            return (true, format!("{} MiB were given", bytes >> 20));
        }
    }
    outcome(-1)
}

fn write_beyond(scene: &Scene<'_>) -> (bool, String) {
    let (byte, fd) = ([0_u8], scene.into.as_raw_fd());
    // SAFETY: one byte is read from a live array.
    outcome(unsafe {
        libc::lseek(fd, scene.limits.file_bytes.cast_signed(), libc::SEEK_SET);
        libc::write(fd, byte.as_ptr().cast(), 1)
    } as c_long)
}

fn mount() -> (bool, String) {
    // No such file system exists; to be told so is to have been let through.
    let (kind, target) = (c"no-such-kind".as_ptr(), c"/".as_ptr());
    // SAFETY: live C strings; no data.
    outcome(unsafe { libc::mount(kind, target, kind, 0, std::ptr::null()) }.into())
}

fn set_up_ring() -> (bool, String) {
    // `struct io_uring_params` has 120 bytes, and all-zero asks for the defaults.
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel writes at most the 120 bytes of the array.
    outcome(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
}

fn run_data() -> (bool, String) {
    match map(4096, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) {
        libc::MAP_FAILED => outcome(-1),
        _ => (true, "went through".to_owned()),
    }
}

fn crash() -> ! {
    let nowhere = std::hint::black_box(std::ptr::null::<u8>());
    // SAFETY: there is none; reading address 0 is the attack.
    let byte = unsafe { nowhere.read_volatile() };
    crate::zygote::exit(byte.into())
}

fn grow() -> ! {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Sends bytes that are no message, then waits to be killed for it.
fn dawdle(socket: &mut File) -> ! {
    let page = 0..4096;
    let question = FromChild::Read(vec![page]).encode();
    let mut answer = [0; HEADER_BYTES + 4096];
    while socket.write_all(&question).is_ok() {
        if socket.read(&mut answer).is_err() {
            break;
        }
    }
    babble(socket, &[])
}

fn babble(socket: &mut File, bytes: &[u8]) -> ! {
    // A parent that hung up has understood.
    let _ = socket.write_all(bytes);
    loop {
        std::thread::park();
    }
}
