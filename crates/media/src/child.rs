//! One job's child: takes its order, confines itself, works, says what came of it, ends. It is a fork of the zygote,
//! so it may allocate and use libav, but it never returns into the zygote's code and ends by `_exit` alone.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use domain::{Access, Playlist, Step};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::ahead::Ahead;
use crate::attack::{Scene, attempt};
use crate::av::{self, AvOrder, Host, HostGone, Probe};
use crate::jail;
use crate::protocol::{
    DATA_TAG, FromChild, HEADER_BYTES, MAX_READ_BYTES, Order, SIZE_TAG, Task, parse_header,
};
use crate::zygote::exit;

/// Exit code of a child that said all it had to say.
pub(crate) const SAID_ALL: i32 = 0;
/// Exit code of a child that could not even take its order.
pub(crate) const NO_ORDER: i32 = 70;
/// Exit code of a child that nobody listened to any more: its source failed, or its job was dropped.
pub(crate) const UNHEARD: i32 = 71;
/// Exit code of a child whose code panicked.
pub(crate) const PANICKED: i32 = 101;

/// Progress that comes quicker than this is not worth a message.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a fresh child does until its end.
pub(crate) fn main(socket: OwnedFd, into: OwnedFd, zygote: Pid) -> ! {
    // A panic must not unwind into the zygote's loop, of which this is a copy.
    let code = catch_unwind(AssertUnwindSafe(|| live(socket, into, zygote))).unwrap_or(PANICKED);
    exit(code)
}

fn live(socket: OwnedFd, into: OwnedFd, zygote: Pid) -> i32 {
    let dies_with_zygote = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    // If the zygote died before that call, the signal will never come.
    if !dies_with_zygote || getppid() != Some(zygote) {
        return NO_ORDER;
    }
    let Ok((socket, into)) = jail::hand_over(socket, into) else {
        return NO_ORDER;
    };
    let mut host = SocketHost {
        socket,
        said: None,
        unsaid: None,
        ahead: Ahead::default(),
        access: Access::Random,
        playlist: None,
    };
    let Some(order) = host.order() else {
        return NO_ORDER;
    };
    let last_word = match jail::put_up(order.walls, order.limits) {
        Ok(()) => work(order, into, &mut host, zygote),
        Err(jail::NoWall { wall, cause }) => Some(FromChild::Refused { wall, cause }),
    };
    match last_word.map(|word| host.send(&word)) {
        Some(Err(HostGone)) => UNHEARD,
        Some(Ok(())) | None => SAID_ALL,
    }
}

/// Does the task. `None` for an attack that leaves without a word.
fn work(order: Order, into: File, host: &mut SocketHost, parent: Pid) -> Option<FromChild> {
    match order.task {
        Task::Attack(attack) => {
            let socket = &mut host.socket;
            attempt(attack, Scene { limits: order.limits, parent, into: &into, socket })
        }
        Task::Extract { output, limits, access, playlist } => {
            (host.access, host.playlist) = (access, playlist);
            Some(match av::run(AvOrder { output, limits, into }, host) {
                Ok(extracted) => FromChild::Done(extracted),
                Err(failure) => FromChild::Failed(failure),
            })
        }
    }
}

/// The parent, at the other end of the socket.
struct SocketHost {
    /// A file, because files read and write with `read` and `write`, and sockets with calls of the network.
    socket: File,
    /// The progress that was told last, and when.
    said: Option<(Step, Instant)>,
    /// What came too soon after it.
    unsaid: Option<(Step, Option<f64>)>,
    ahead: Ahead,
    /// What the order says of the source.
    access: Access,
    /// The same.
    playlist: Option<Playlist>,
}

impl SocketHost {
    fn send(&mut self, message: &FromChild) -> Result<(), HostGone> {
        self.socket.write_all(&message.encode()).map_err(|_| HostGone)
    }

    fn receive_header(&mut self) -> Result<(u8, usize), HostGone> {
        let mut header = [0; HEADER_BYTES];
        self.socket.read_exact(&mut header).map_err(|_| HostGone)?;
        Ok(parse_header(header))
    }

    fn receive_body<'a>(&mut self, body: &'a mut [u8]) -> Result<&'a [u8], HostGone> {
        self.socket.read_exact(body).map_err(|_| HostGone)?;
        Ok(body)
    }

    fn say(&mut self, step: Step, fraction: Option<f64>) {
        (self.said, self.unsaid) = (Some((step, Instant::now())), None);
        // A parent that is gone is noticed at the next read.
        let _ = self.send(&FromChild::Progress { step, fraction });
    }

    /// Asks for bytes of the source, end to end, and says how many of them follow.
    fn ask(&mut self, ranges: Vec<Range<u64>>) -> Result<usize, HostGone> {
        // They may be long in coming, and until then nothing else would be told.
        if let Some((step, fraction)) = self.unsaid {
            self.say(step, fraction);
        }
        let most: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.send(&FromChild::Read(ranges))?;
        match self.receive_header()? {
            (DATA_TAG, length) if length as u64 <= most => Ok(length),
            _ => Err(HostGone),
        }
    }

    /// The first frame. `None` if it is none that this build understands.
    fn order(&mut self) -> Option<Order> {
        let (tag, length) = self.receive_header().ok()?;
        Order::check_header(tag, length).ok()?;
        let mut body = vec![0; length];
        Order::decode(self.receive_body(&mut body).ok()?).ok()
    }
}

impl Host for SocketHost {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        let room = buf.len().min(MAX_READ_BYTES);
        if room == 0 {
            return Ok(0);
        }
        if let Some(bytes) = self.ahead.take(offset, room) {
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Ok(bytes.len());
        }
        // Whatever a file says of where something lies: there is nothing behind the last offset that there can be.
        let wanted = offset..offset.saturating_add(room as u64).min(i64::MAX as u64);
        if wanted.is_empty() {
            return Ok(0);
        }
        let following = self.ahead.following(&wanted);
        let length = self.ask([&[wanted], following.as_slice()].concat())?;
        let (first, mut rest) = (room.min(length), vec![0; length.saturating_sub(room)]);
        self.receive_body(&mut buf[..first])?;
        let rest = self.receive_body(&mut rest)?;
        self.ahead.hold(&following, rest);
        Ok(first)
    }

    fn size(&mut self) -> Result<u64, HostGone> {
        self.send(&FromChild::Size)?;
        let mut body = [0; 8];
        match self.receive_header()? {
            (SIZE_TAG, length) if length == body.len() => {
                self.receive_body(&mut body)?;
                Ok(u64::from_le_bytes(body))
            }
            _ => Err(HostGone),
        }
    }

    fn plan(&mut self, ranges: &[Range<u64>]) {
        self.ahead.plan(ranges);
        // A parent that is gone is noticed at the next read; so in those below.
        let _ = self.send(&FromChild::Plan(ranges.to_vec()));
    }

    fn once(&mut self) {
        let _ = self.send(&FromChild::Once);
    }

    fn probed(&mut self, probe: Probe) {
        let _ = self.send(&FromChild::Probe(probe));
    }

    fn progressed(&mut self, step: Step, fraction: Option<f64>) {
        let is_news = self.said.is_none_or(|(said, at)| said != step || at.elapsed() >= PROGRESS_INTERVAL);
        if is_news {
            self.say(step, fraction);
        } else {
            self.unsaid = Some((step, fraction));
        }
    }

    fn access(&self) -> Access {
        self.access
    }

    fn playlist(&self) -> Option<Playlist> {
        self.playlist
    }
}
