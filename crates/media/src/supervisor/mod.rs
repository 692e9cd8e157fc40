//! The parent's side: starts children, serves their reads, believes nothing they say, and turns every way in which
//! one can end into a failure that says what to do.

mod conversation;
mod patience;
mod verdict;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::{BoxFuture, ExtractOrder, Extracted, Extractor, Failure};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::attack::Attack;
use crate::av::AvLimits;
use crate::jail::{JailLimits, Wall, Walls};
use crate::protocol::{MAX_READ_BYTES, Order, Task};
use crate::zygote::{Ended, Zygote};
use conversation::{Conversation, Talked};

/// How children are made and what each may use up.
#[derive(Debug, Clone, PartialEq)]
pub struct SupervisorConfig {
    /// The program that is started as zygote; its `main` begins with [`crate::run_if_zygote`].
    pub program: PathBuf,
    /// Whether every codec is tried before the first child: 7 ms for the zygote, which each of its children is spared.
    pub prepares_codecs: bool,
    /// Private memory of one child, in bytes.
    pub max_memory_bytes: u64,
    /// Processor time of one child over all its threads, in seconds.
    pub max_cpu_secs: u64,
    /// How long a child may make no progress while nobody keeps it waiting: read nothing new, make no sound.
    pub stall_timeout: Duration,
    /// How long one extraction may take in all, fetching included.
    pub total_timeout: Duration,
    /// What one extraction may cost inside the child. Its encoder threads are for all extractions: each takes its share of
    /// them when it starts.
    pub av: AvLimits,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            // The kernel's name for the running program, which holds even if the file was replaced meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            prepares_codecs: true,
            // The ffmpeg command peaks at 64 MB on ordinary files; a moov box of hundreds of MB still fits.
            max_memory_bytes: 1 << 30,
            // AAC, the slowest encoder, does 40 times real time, so an hour covers 40 hours of audio.
            max_cpu_secs: 3600,
            // A working child speaks several times a second.
            stall_timeout: Duration::from_secs(120),
            // 5 GB at 250 KB/s take 5.6 hours.
            total_timeout: Duration::from_secs(6 * 3600),
            av: AvLimits::default(),
        }
    }
}

/// Why the service cannot extract anything here.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The zygote did not start.
    #[error("the media process could not be started ({0}); check that the program may run itself")]
    Zygote(#[source] io::Error),
    /// A child could not confine itself, so it would do no work.
    #[error("the sandbox lacks a wall, {wall} ({cause}); {}", wall.remedy())]
    NoWall {
        /// Which.
        wall: Wall,
        /// What the kernel said.
        cause: String,
    },
    /// A child that was asked whether its walls are up did not say so.
    #[error("the sandbox could not be checked: {0}")]
    Unchecked(String),
}

/// Runs extractions, each in a confined child of its own.
pub struct Supervisor {
    config: SupervisorConfig,
    /// Where new children come from. Jobs hold the one they began with.
    zygote: Mutex<Arc<Zygote>>,
    /// Extractions that run.
    running: AtomicU32,
}

/// One extraction among those that run, for as long as it lives.
struct Share<'a> {
    running: &'a AtomicU32,
    /// How many run, itself included, at its start.
    of: u32,
}

impl<'a> Share<'a> {
    fn take(running: &'a AtomicU32) -> Self {
        Self { running, of: running.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// Its part of so many threads: at least one.
    fn threads(&self, all: u32) -> u32 {
        (all / self.of).max(1)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What came of an attack.
pub(crate) enum Attacked {
    /// The child lived to tell.
    Reported { through: bool, detail: String },
    /// This signal killed it.
    Killed(i32),
    /// It ended well, without a word.
    Vanished,
}

impl Supervisor {
    /// Starts the zygote and has one child put up its walls.
    ///
    /// # Errors
    ///
    /// What is missing, and what to do about it.
    pub async fn start(config: SupervisorConfig) -> Result<Self, MediaError> {
        let zygote = Self::start_zygote(&config).await.map_err(MediaError::Zygote)?;
        let supervisor = Self { config, zygote: Mutex::new(zygote), running: AtomicU32::new(0) };
        let (talked, ended) = supervisor.try_attack(Attack::None, Walls::ALL).await?;
        match talked {
            Talked::Attacked { through: false, .. } => Ok(supervisor),
            Talked::Refused { wall, cause } => Err(MediaError::NoWall { wall, cause }),
            _ => Err(MediaError::Unchecked(format!("the child said nothing and ended as {ended:?}"))),
        }
    }

    /// Attacks from within these walls.
    pub(crate) async fn attack(&self, attack: Attack, walls: Walls) -> Result<Attacked, MediaError> {
        let (talked, ended) = self.try_attack(attack, walls).await?;
        match (talked, ended) {
            (Talked::Attacked { through, detail }, _) => Ok(Attacked::Reported { through, detail }),
            (Talked::Refused { wall, cause }, _) => Err(MediaError::NoWall { wall, cause }),
            (_, Ended::Exited(exit)) if exit.code() == Some(0) => Ok(Attacked::Vanished),
            (_, Ended::Exited(exit)) if exit.signal().is_some() => {
                Ok(Attacked::Killed(exit.signal().unwrap_or_default()))
            }
            (_, ended) => Err(MediaError::Unchecked(format!("the child ended as {ended:?}"))),
        }
    }

    async fn try_attack(&self, attack: Attack, walls: Walls) -> Result<(Talked, Ended), MediaError> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let into =
            rustix::fs::memfd_create("attack", flags).map_err(|cause| MediaError::Zygote(cause.into()))?;
        let order = self.order(Task::Attack(attack), walls);
        self.run(&order, None, &into).await.map_err(MediaError::Zygote)
    }

    /// An extraction whose child attacks instead: for this crate's tests of what an extraction survives.
    #[doc(hidden)]
    pub async fn extract_attacked(
        &self,
        attack: Attack,
        order: ExtractOrder<'_>,
    ) -> Result<Extracted, Failure> {
        self.extract_task(Task::Attack(attack), order).await
    }

    async fn extract_task(&self, task: Task, order: ExtractOrder<'_>) -> Result<Extracted, Failure> {
        let no_file = |cause: io::Error| verdict::ours(format!("the result's file: {cause}"));
        let into = tokio::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(order.into)
            .await
            .map_err(no_file)?;
        let into = into.into_std().await;
        let confined = self.order(task, Walls::ALL);
        let (talked, ended) = self
            .run(&confined, Some(&order), &into)
            .await
            .map_err(|cause| verdict::ours(format!("starting a media child: {cause}")))?;
        // What the file holds counts, not what the child says of it.
        let written_bytes = into.metadata().map_err(no_file)?.len();
        verdict::of(talked, ended, written_bytes, &self.config)
    }

    fn order(&self, task: Task, walls: Walls) -> Order {
        let limits = JailLimits {
            memory_bytes: self.config.max_memory_bytes,
            cpu_secs: self.config.max_cpu_secs,
            // The child counts for itself and says so; this wall stands a little behind, for one that does not.
            file_bytes: self.config.av.max_output_bytes.saturating_add(1 << 20),
        };
        Order { walls, limits, task }
    }

    /// One child from its birth to its end. Dropping the future kills it.
    async fn run(
        &self,
        order: &Order,
        job: Option<&ExtractOrder<'_>>,
        into: &impl AsFd,
    ) -> io::Result<(Talked, Ended)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // With less room an answer is sent in pieces, and each costs both sides a switch of processes. The kernel gives
        // as much of it as it allows.
        rustix::net::sockopt::set_socket_send_buffer_size(&ours, MAX_READ_BYTES)?;
        let ours = UnixStream::from_std(ours)?;
        let theirs = OwnedFd::from(theirs);
        let mut child = self.zygote().await?.fork(theirs.as_fd(), into.as_fd())?;
        // The child's end must be the child's alone, so that its end is the end of the conversation.
        drop(theirs);
        let mut conversation = Conversation::new(ours, job, &mut child, self.config.stall_timeout);
        let talked = match tokio::time::timeout(self.config.total_timeout, conversation.hold(order)).await {
            Ok(talked) => talked,
            Err(_) => Talked::TooLong,
        };
        drop(conversation);
        let ended = end(&mut child, &talked).await;
        if let Ended::Exited(exit) = ended {
            tracing::debug!(exit.status, exit.max_rss_kib, exit.cpu_millis, "a media child ended");
            // An attack that was ordered dies as it should, and has told nobody how memory is laid out.
            if job.is_some() && verdict::is_crash(exit) {
                child.retire_zygote();
            }
        }
        Ok((talked, ended))
    }

    /// The zygote for a new child: another one, if a child of the last one crashed or it is gone.
    async fn zygote(&self) -> io::Result<Arc<Zygote>> {
        let mut zygote = self.zygote.lock().await;
        if zygote.is_spent() {
            tracing::warn!("replacing the media zygote");
            *zygote = Self::start_zygote(&self.config).await?;
        }
        Ok(Arc::clone(&zygote))
    }

    async fn start_zygote(config: &SupervisorConfig) -> io::Result<Arc<Zygote>> {
        Zygote::start(config.program.clone(), config.prepares_codecs).await
    }
}

/// How long a child may take to end once it has said its last word.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for the end of a child that has nothing left to say, or brings it about.
async fn end(child: &mut crate::zygote::Running, talked: &Talked) -> Ended {
    if talked.is_last_word()
        && let Ok(ended) = tokio::time::timeout(LAST_WORD_TIMEOUT, child.ended()).await
    {
        return ended;
    }
    child.kill();
    child.ended().await
}

impl Extractor for Supervisor {
    fn extract<'a>(&'a self, order: ExtractOrder<'a>) -> BoxFuture<'a, Result<Extracted, Failure>> {
        Box::pin(async move {
            let share = Share::take(&self.running);
            let encoder_threads = share.threads(self.config.av.encoder_threads);
            let limits = AvLimits { encoder_threads, ..self.config.av.clone() };
            let (mut output, playlist) = (order.output.clone(), order.source.playlist());
            let access = order.source.access();
            if playlist.is_some_and(|playlist| playlist.is_one_track) {
                output.track = None;
            }
            self.extract_task(Task::Extract { output, limits, access, playlist }, order).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_shared_among_those_that_run() {
        let running = AtomicU32::new(0);
        let first = Share::take(&running);
        assert_eq!(first.threads(4), 4);
        let second = Share::take(&running);
        assert_eq!(second.threads(4), 2);
        let third = Share::take(&running);
        assert_eq!((third.threads(4), third.threads(2), third.threads(0)), (1, 1, 1));
        drop((first, second));
        assert_eq!(Share::take(&running).threads(4), 2, "beside the third");
    }
}
