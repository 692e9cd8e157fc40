//! One child's questions and the answers, until it has said its last word or gone silent.

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::time::{Duration, Instant};

use domain::{ExtractOrder, Extracted, Failure, InputFile, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::patience::Patience;
use crate::av::Probe;
use crate::jail::Wall;
use crate::protocol::{
    DATA_TAG, FromChild, HEADER_BYTES, MAX_READ_BYTES, Malformed, Order, header, parse_header, size_frame,
};
use crate::zygote::Running;

/// Ranges that one job may plan beside those that it reads: more is not a plan but a flood, and is not passed on.
const MAX_PLANNED_BESIDE: usize = 1_000_000;
/// A long plan is told in parts that overlap by less than a half.
const MOST_TELLINGS: usize = 2;

/// How a conversation ended.
#[derive(Debug)]
pub(crate) enum Talked {
    /// The child says that it is done.
    Done(Box<Extracted>),
    /// The child says that it cannot.
    Failed(Failure),
    /// The child could not confine itself.
    Refused { wall: Wall, cause: String },
    /// The child attacked, as it was told.
    Attacked { through: bool, detail: String },
    /// The source failed; what the child makes of that does not matter.
    SourceFailed(Failure),
    /// The child hung up or died.
    HungUp,
    /// The child said what no child of ours says.
    Nonsense(Malformed),
    /// The child made no progress for too long.
    Silent,
    /// All of it took too long.
    TooLong,
}

impl Talked {
    /// Whether the child ends by itself after this.
    pub(super) fn is_last_word(&self) -> bool {
        matches!(
            self,
            Self::Done(_) | Self::Failed(_) | Self::Refused { .. } | Self::Attacked { .. } | Self::HungUp
        )
    }
}

impl From<io::Error> for Talked {
    /// A local socket has one way to fail: the other end is gone.
    fn from(_: io::Error) -> Self {
        Self::HungUp
    }
}

impl From<Malformed> for Talked {
    fn from(malformed: Malformed) -> Self {
        Self::Nonsense(malformed)
    }
}

/// The parent's end of a child's socket, and what it answers from.
pub(super) struct Conversation<'a> {
    socket: UnixStream,
    /// `None` for an attack, which has no source.
    job: Option<&'a ExtractOrder<'a>>,
    child: &'a mut Running,
    patience: Patience,
    planned: Planned,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        socket: UnixStream,
        job: Option<&'a ExtractOrder<'a>>,
        child: &'a mut Running,
        stall_timeout: Duration,
    ) -> Self {
        Self { socket, job, child, patience: Patience::new(stall_timeout), planned: Planned::default() }
    }

    /// Gives the order and talks until there is nothing left to say.
    pub(super) async fn hold(&mut self, order: &Order) -> Talked {
        if let Err(ended) = self.send([&order.encode(), &[]]).await {
            return ended;
        }
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                Err(ended) => return ended,
            };
            if let Err(ended) = self.answer(message).await {
                return ended;
            }
        }
    }

    /// Deals with one message. What ends the conversation comes back as the error.
    async fn answer(&mut self, message: FromChild) -> Result<(), Talked> {
        match (message, self.job) {
            (FromChild::Done(extracted), _) => Err(Talked::Done(Box::new(extracted))),
            (FromChild::Failed(failure), _) => Err(Talked::Failed(failure)),
            (FromChild::Refused { wall, cause }, _) => Err(Talked::Refused { wall, cause }),
            (FromChild::Attacked { through, detail }, _) => Err(Talked::Attacked { through, detail }),
            (FromChild::Read(ranges), Some(job)) => {
                self.planned.read += ranges.len();
                let data = self.read(&*job.source, &ranges).await?;
                self.send([&header(DATA_TAG, data.len()), &data]).await
            }
            (FromChild::Size, Some(job)) => {
                let size = self.unless_ended(job.source.size()).await?;
                self.send([&size_frame(size), &[]]).await
            }
            (FromChild::Plan(ranges), Some(job)) => {
                if self.planned.allow(ranges.len()) {
                    job.source.plan(ranges);
                }
                Ok(())
            }
            (FromChild::Once, Some(job)) => {
                job.source.once();
                Ok(())
            }
            (FromChild::Probe(probe), Some(job)) => {
                self.patience.renew();
                job.progress.probed(input_file(job, probe));
                Ok(())
            }
            (FromChild::Progress { step, fraction }, Some(job)) => {
                self.patience.renew();
                job.progress.progressed(step, fraction);
                Ok(())
            }
            (_, None) => Err(Talked::Nonsense(Malformed("an attack asked for a source"))),
        }
    }

    /// The bytes of these ranges, end to end: all of each but the last, of which some will do; less where the source
    /// ends.
    async fn read(&mut self, source: &dyn Source, ranges: &[Range<u64>]) -> Result<Vec<u8>, Talked> {
        let mut data = Vec::new();
        for (place, range) in ranges.iter().enumerate() {
            let is_last = place + 1 == ranges.len();
            let mut at = range.start;
            while at < range.end {
                let most = usize::try_from(range.end - at).unwrap_or(MAX_READ_BYTES);
                let mut piece = self.unless_ended(source.read_at(at, most)).await?;
                if piece.is_empty() {
                    return Ok(data);
                }
                // A source that gave more than was asked would be cut, not trusted to fit the child's buffer.
                piece.truncate(most);
                self.patience.has_read(at, piece.len());
                at += piece.len() as u64;
                if data.is_empty() {
                    data = piece
                } else {
                    data.extend(piece)
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(data)
    }

    /// Waits for the source, but not for a child that died meanwhile. The stall clock stands still: it is not the
    /// child that keeps us waiting, and the source has limits of its own.
    async fn unless_ended<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Talked> {
        tokio::select! {
            answer = answer => answer.map_err(Talked::SourceFailed),
            _ = self.child.ended() => Err(Talked::HungUp),
        }
    }

    async fn receive(&mut self) -> Result<FromChild, Talked> {
        let socket = &mut self.socket;
        let message = async {
            let mut header = [0; HEADER_BYTES];
            socket.read_exact(&mut header).await?;
            let (tag, length) = parse_header(header);
            FromChild::check_header(tag, length)?;
            let mut body = vec![0; length];
            socket.read_exact(&mut body).await?;
            Ok(FromChild::decode(tag, &body)?)
        };
        let asked_at = Instant::now();
        let message = tokio::time::timeout(self.patience.left(), message).await;
        self.patience.has_waited(asked_at.elapsed());
        message.unwrap_or(Err(Talked::Silent))
    }

    /// Sends both pieces, at once where the socket takes them: each write wakes the child.
    async fn send(&mut self, [first, second]: [&[u8]; 2]) -> Result<(), Talked> {
        let socket = &mut self.socket;
        let sending = async {
            let sent = socket.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]).await?;
            socket.write_all(first.get(sent..).unwrap_or_default()).await?;
            socket.write_all(&second[sent.saturating_sub(first.len())..]).await
        };
        let asked_at = Instant::now();
        let sent = tokio::time::timeout(self.patience.left(), sending).await;
        self.patience.has_waited(asked_at.elapsed());
        sent.map_or(Err(Talked::Silent), |sent| Ok(sent?))
    }
}

/// Ranges that were planned, and those that were read.
#[derive(Default)]
struct Planned {
    told: usize,
    read: usize,
}

impl Planned {
    /// Whether so many more are still a plan.
    fn allow(&mut self, ranges: usize) -> bool {
        let most = MAX_PLANNED_BESIDE.saturating_add(self.read.saturating_mul(MOST_TELLINGS));
        let was_plan = self.told <= most;
        self.told = self.told.saturating_add(ranges);
        if was_plan && self.told > most {
            tracing::warn!(told = self.told, read = self.read, "more is planned than is read");
        }
        self.told <= most
    }
}

fn input_file(job: &ExtractOrder<'_>, probe: Probe) -> InputFile {
    InputFile {
        name: job.source_name.to_owned(),
        size: job.source.known_size(),
        duration_secs: probe.duration_secs,
        format: job.source.playlist().map_or(probe.format, |playlist| playlist.kind.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_may_be_as_long_as_what_is_read_of_it() {
        let mut planned = Planned::default();
        for hour in 0..500 {
            // As a day of packets is told, and read again.
            assert!(planned.allow(32_768), "part {hour}");
            planned.read += 24_576;
        }
        let told = (0..10_000).take_while(|_| planned.allow(32_768)).count();
        assert!((1..1000).contains(&told), "{told} parts without a read");
    }
}
