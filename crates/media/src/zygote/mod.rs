//! The zygote: a small process that has loaded libav and forks a child for each job, because loading takes 100 ms
//! and forking 2. It has one thread, no environment, no secret and no descriptor but its control socket. It reads no
//! media. It lives exactly as long as the supervisor that started it.

#![allow(unsafe_code, reason = "fork, wait4 and signalfd have no safe form")]

mod control;
mod keeper;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, kill_process, set_dumpable_behavior};

use crate::{av, child};
use control::{Command, Report, Ticket, receive_command, send_report};

pub(crate) use control::Exit;
pub(crate) use keeper::{Ended, Running, Zygote};

/// The first argument of a process that is to be a zygote.
const MARKER: &str = "--media-zygote";
/// The second, if it is to prepare the codecs.
const PREPARING: &str = "--prepare-codecs";

/// Turns this process into a zygote, if it was started as one, and then never returns.
///
/// Must be the very first call of `main`: before a runtime, a thread, configuration or a secret exists. In any other
/// process it does nothing.
pub fn run_if_zygote() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == MARKER) {
        serve()
    }
}

/// Ends without running what libraries registered for the end: the supervisor's files and sockets are not ours.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and does not return.
    unsafe { libc::_exit(code) }
}

fn serve() -> ! {
    let stdin = std::io::stdin();
    let control = stdin.as_fd();
    if rustix::net::sockopt::socket_type(control).is_err() {
        eprintln!("{MARKER} is for the service's own use: it starts such a process itself");
        exit(2);
    }
    // Nobody of the same user may look into this memory, from which children are made.
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let children_ended = watch_children();
    let (Ok(()), Ok(children_ended)) = (hidden, children_ended) else {
        eprintln!("the media zygote could not set itself up");
        exit(1);
    };
    let prepares_codecs = std::env::args_os().nth(2).is_some_and(|argument| argument == PREPARING);
    if let Err(cause) = av::load(prepares_codecs) {
        eprintln!("libav cannot be loaded: {cause}");
        exit(1);
    }
    let mut children = HashMap::new();
    if send_report(control, Report::Ready).is_ok() {
        while step(control, children_ended.as_fd(), &mut children).is_some() {}
    }
    // The supervisor is gone; its jobs mean nothing now.
    for pid in children.keys() {
        kill(*pid);
    }
    // Reaped here, because in a container there may be no init that does it.
    while !children.is_empty() {
        match reap(0) {
            Some((pid, _)) => children.remove(&pid),
            None => break,
        };
    }
    exit(0)
}

/// Waits for one thing to happen and deals with it. `None` when the supervisor is gone.
fn step(control: BorrowedFd<'_>, ended: BorrowedFd<'_>, children: &mut HashMap<i32, Ticket>) -> Option<()> {
    let mut events =
        [PollFd::from_borrowed_fd(control, PollFlags::IN), PollFd::from_borrowed_fd(ended, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut events, None)).ok()?;
    let [commanded, child_ended] = events.map(|event| !event.revents().is_empty());
    if child_ended {
        // What it says does not matter: several ends may have become one.
        let _ = rustix::io::read(ended, &mut [0_u8; 1024]);
        while let Some((pid, exit)) = reap(libc::WNOHANG) {
            if let Some(ticket) = children.remove(&pid) {
                send_report(control, Report::Ended(ticket, exit)).ok()?;
            }
        }
    }
    if commanded {
        match receive_command(control)? {
            (Command::Fork(ticket), fds) => match fork(fds) {
                Ok(pid) => {
                    children.insert(pid, ticket);
                }
                Err(errno) => send_report(control, Report::Refused(ticket, errno)).ok()?,
            },
            // Only what was not reaped yet: a reaped child's pid may be another's by now.
            (Command::Kill(ticket), _) => {
                children.iter().filter(|(_, held)| **held == ticket).for_each(|(pid, _)| kill(*pid));
            }
        }
    }
    Some(())
}

/// Forks a child with its two descriptors. Returns in the zygote only.
fn fork(fds: Vec<OwnedFd>) -> Result<i32, i32> {
    let Ok([socket, into]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(libc::EBADF);
    };
    if threads() != Some(1) {
        // A lock that another thread holds would stay locked in the child for ever.
        return Err(libc::EDEADLK);
    }
    let zygote = rustix::process::getpid();
    // SAFETY: this process has one thread (asserted above), so the child finds every lock and the heap as they are.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN)),
        0 => {
            set_child_signal(libc::SIG_UNBLOCK);
            child::main(socket, into, zygote)
        }
        pid => Ok(pid),
    }
}

/// How many threads this process has.
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may just have ended; then there is nothing to kill.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Takes one ended child off the kernel's list; with WNOHANG only if there is one already.
fn reap(options: libc::c_int) -> Option<(i32, Exit)> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`, a struct of integers.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the right types.
    let pid = unsafe { libc::wait4(-1, &mut status, options, &mut used) };
    let millis = |time: libc::timeval| time.tv_sec as u64 * 1000 + time.tv_usec as u64 / 1000;
    let cpu_millis = millis(used.ru_utime) + millis(used.ru_stime);
    (pid > 0).then_some((pid, Exit { status, max_rss_kib: used.ru_maxrss as u64, cpu_millis }))
}

/// A descriptor that becomes readable when children end.
fn watch_children() -> std::io::Result<OwnedFd> {
    let set = set_child_signal(libc::SIG_BLOCK);
    // SAFETY: -1 asks for a new descriptor; the set is initialised.
    let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Blocks or unblocks SIGCHLD, and gives back the set of just that signal.
fn set_child_signal(how: libc::c_int) -> libc::sigset_t {
    // SAFETY: the set is initialised by `sigemptyset` before it is read; the other pointers are live or null.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(how, &set, std::ptr::null_mut());
        set
    }
}
