//! What supervisor and zygote say to each other: one message a packet, of fixed size. Descriptors ride along.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// A job's number with its zygote. Process ids are reused; tickets are not.
pub(super) type Ticket = u64;

/// What a zygote is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Fork a child with the two descriptors of this packet: the job's socket, and the result's file.
    Fork(Ticket),
    /// Kill that child, if it still lives.
    Kill(Ticket),
}

/// What a zygote says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// libav is loaded; children can be had.
    Ready,
    /// A child ended and was reaped.
    Ended(Ticket, Exit),
    /// There is no child: the system call that failed said this.
    Refused(Ticket, i32),
}

/// How a child ended, and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// As `wait4` gave it.
    pub(crate) status: i32,
    /// The most memory that was resident at a time, in KiB, shared libraries included.
    pub(crate) max_rss_kib: u64,
    /// Processor time, user and system, in milliseconds.
    pub(crate) cpu_millis: u64,
}

impl Exit {
    /// The exit code, if it ended by itself.
    pub(crate) fn code(self) -> Option<i32> {
        libc::WIFEXITED(self.status).then(|| libc::WEXITSTATUS(self.status))
    }

    /// The signal that killed it.
    pub(crate) fn signal(self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }
}

const PACKET_BYTES: usize = 40;
type Packet = [u64; PACKET_BYTES / 8];

/// Sends a command, with descriptors. Never blocks: a zygote that lets its queue fill up is not working.
pub(super) fn send_command(
    socket: BorrowedFd<'_>,
    command: Command,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let packet = match command {
        Command::Fork(ticket) => [0, ticket, 0, 0, 0],
        Command::Kill(ticket) => [1, ticket, 0, 0, 0],
    };
    send(socket, packet, fds, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

/// Waits for a command. `None` when the supervisor is gone or makes no sense.
pub(super) fn receive_command(socket: BorrowedFd<'_>) -> Option<(Command, Vec<OwnedFd>)> {
    let ([kind, ticket, ..], fds) = receive(socket)?;
    let command = match kind {
        0 => Command::Fork(ticket),
        1 => Command::Kill(ticket),
        _ => return None,
    };
    Some((command, fds))
}

/// Sends a report; blocks while the supervisor does not read.
pub(super) fn send_report(socket: BorrowedFd<'_>, report: Report) -> Result<(), Errno> {
    let packet = match report {
        Report::Ready => [0; 5],
        Report::Ended(ticket, Exit { status, max_rss_kib, cpu_millis }) => {
            [1, ticket, u64::from(status.cast_unsigned()), max_rss_kib, cpu_millis]
        }
        Report::Refused(ticket, errno) => [2, ticket, u64::from(errno.cast_unsigned()), 0, 0],
    };
    send(socket, packet, &[], SendFlags::NOSIGNAL)
}

/// Waits for a report. `None` when the zygote is gone or makes no sense.
pub(super) fn receive_report(socket: BorrowedFd<'_>) -> Option<Report> {
    let ([kind, ticket, number, max_rss_kib, cpu_millis], _) = receive(socket)?;
    let number = u32::try_from(number).ok()?.cast_signed();
    match kind {
        0 => Some(Report::Ready),
        1 => Some(Report::Ended(ticket, Exit { status: number, max_rss_kib, cpu_millis })),
        2 => Some(Report::Refused(ticket, number)),
        _ => None,
    }
}

fn send(
    socket: BorrowedFd<'_>,
    packet: Packet,
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<(), Errno> {
    let bytes: Vec<u8> = packet.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, flags)).map(|_| ())
}

fn receive(socket: BorrowedFd<'_>) -> Option<(Packet, Vec<OwnedFd>)> {
    let mut bytes = [0; PACKET_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })
    .ok()?;
    if received.bytes != PACKET_BYTES {
        return None;
    }
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let (numbers, _) = bytes.as_chunks::<8>();
    let mut packet = Packet::default();
    for (number, bytes) in packet.iter_mut().zip(numbers) {
        *number = u64::from_le_bytes(*bytes);
    }
    Some((packet, fds))
}
