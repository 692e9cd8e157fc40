//! The supervisor's end of a zygote: a thread that starts it, hears its reports, and stays until it is gone.

#![allow(unsafe_code, reason = "a new process is set up between fork and exec, where little is safe")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use tokio::sync::oneshot;

use super::control::{Command, Exit, Report, Ticket, receive_report, send_command};
use super::{MARKER, PREPARING};

/// What became of a child, or of the wish for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It ended so.
    Exited(Exit),
    /// It never was: the system call that failed said this.
    Refused(i32),
    /// Its zygote ended, and it with it.
    WithZygote,
}

/// Jobs whose end has not been reported. `None` once the zygote is gone.
type Waiting = Mutex<Option<HashMap<Ticket, oneshot::Sender<Ended>>>>;

/// A running zygote. Dropping the last handle ends it and its children.
pub(crate) struct Zygote {
    control: Arc<OwnedFd>,
    waiting: Arc<Waiting>,
    next_ticket: AtomicU64,
    retired: AtomicBool,
}

impl Zygote {
    /// Starts one, which prepares the codecs if it is to, and waits until it is ready.
    pub(crate) async fn start(program: PathBuf, prepares_codecs: bool) -> io::Result<Arc<Self>> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let control = Arc::new(ours);
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (tell_ready, ready) = oneshot::channel();
        let thread = (Arc::clone(&control), Arc::clone(&waiting));
        // A thread of its own, because the kernel ends the zygote with the thread that started it
        // (PR_SET_PDEATHSIG), and a runtime's threads come and go.
        std::thread::Builder::new().name("media-zygote".to_owned()).spawn(move || {
            let (control, waiting) = thread;
            let process = start(&program, theirs, prepares_codecs);
            keep(process, control.as_fd(), &waiting, tell_ready);
            // Dropping the senders tells every job that is left.
            lock(&waiting).take();
        })?;
        let zygote =
            Self { control, waiting, next_ticket: AtomicU64::new(0), retired: AtomicBool::new(false) };
        match ready.await {
            Ok(Ok(())) => Ok(Arc::new(zygote)),
            Ok(Err(cause)) => Err(cause),
            Err(_) => Err(io::Error::other("it ended before it was ready")),
        }
    }

    /// Forks a child with these two descriptors.
    pub(crate) fn fork(
        self: &Arc<Self>,
        socket: BorrowedFd<'_>,
        into: BorrowedFd<'_>,
    ) -> io::Result<Running> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let (tell, report) = oneshot::channel();
        if let Some(waiting) = lock(&self.waiting).as_mut() {
            waiting.insert(ticket, tell);
        }
        let running = Running { zygote: Arc::clone(self), ticket, end: End::Awaited(report) };
        send_command(self.control.as_fd(), Command::Fork(ticket), &[socket, into])?;
        Ok(running)
    }

    /// Takes no new jobs from now on.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether a new job needs another zygote.
    pub(crate) fn is_spent(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || lock(&self.waiting).is_none()
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        // It may be gone already. Its thread sees the end too, and reaps it.
        let _ = shutdown(&*self.control, Shutdown::Both);
    }
}

/// One child. Dropping this kills it, if it has not ended.
pub(crate) struct Running {
    zygote: Arc<Zygote>,
    ticket: Ticket,
    end: End,
}

enum End {
    Awaited(oneshot::Receiver<Ended>),
    Known(Ended),
}

impl Running {
    /// Waits for its end. May be dropped, and called again.
    pub(crate) async fn ended(&mut self) -> Ended {
        match &mut self.end {
            End::Known(ended) => *ended,
            End::Awaited(report) => {
                let ended = report.await.unwrap_or(Ended::WithZygote);
                self.end = End::Known(ended);
                ended
            }
        }
    }

    /// Kills it; its end is still to be waited for.
    pub(crate) fn kill(&self) {
        // A zygote that cannot be told is gone, and its children with it.
        let _ = send_command(self.zygote.control.as_fd(), Command::Kill(self.ticket), &[]);
    }

    /// Lets its zygote take no more jobs: what crashed here has learnt how memory is laid out in all its children.
    pub(crate) fn retire_zygote(&self) {
        self.zygote.retire();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.end, End::Awaited(_)) {
            self.kill();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread, once it has started the zygote: passes on its reports, and reaps it.
fn keep(
    started: io::Result<std::process::Child>,
    control: BorrowedFd<'_>,
    waiting: &Waiting,
    tell_ready: oneshot::Sender<io::Result<()>>,
) {
    let mut process = match started {
        Ok(process) => process,
        Err(cause) => {
            // Who started it may have been dropped.
            let _ = tell_ready.send(Err(cause));
            return;
        }
    };
    let mut tell_ready = Some(tell_ready);
    while let Some(report) = receive_report(control) {
        let (ticket, ended) = match report {
            Report::Ready => {
                if let Some(tell_ready) = tell_ready.take() {
                    let _ = tell_ready.send(Ok(()));
                }
                continue;
            }
            Report::Ended(ticket, exit) => (ticket, Ended::Exited(exit)),
            Report::Refused(ticket, errno) => (ticket, Ended::Refused(errno)),
        };
        if let Some(tell) = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&ticket)) {
            // A job that was dropped does not listen any more.
            let _ = tell.send(ended);
        }
    }
    // Either it is gone, or it made no sense; then this is how it hears that it should go.
    let _ = shutdown(control, Shutdown::Both);
    if let Err(cause) = process.wait() {
        tracing::error!(%cause, "the media zygote could not be reaped");
    }
}

fn start(program: &Path, control: OwnedFd, prepares_codecs: bool) -> io::Result<std::process::Child> {
    let mut command = Program::new(program);
    // An empty environment: it may hold secrets, and libav's libraries read it.
    command.arg(MARKER).args(prepares_codecs.then_some(PREPARING)).env_clear().current_dir("/");
    command.stdin(Stdio::from(control)).stdout(Stdio::null());
    // SAFETY: between fork and exec only system calls are made, which is all that is allowed there.
    unsafe { command.pre_exec(set_up) };
    command.spawn()
}

/// Between fork and exec: a session of its own, so that a terminal's signals do not reach it; ended by the kernel
/// with its starter; and nothing inherited but the three standard descriptors.
fn set_up() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // Marked, not closed: the way by which a failing exec is reported is among them.
    // SAFETY: `close_range` takes any numbers, and marking harms no owner.
    if unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
