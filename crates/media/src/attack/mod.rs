//! What a child tries that has been taken over by the media it reads. `checks` is what `doctor` runs: each attack in
//! a child of its own, confined exactly like a job's, and what came of it.

mod attempts;

use crate::jail::{Wall, Walls};
use crate::supervisor::{Attacked, Supervisor};

pub(crate) use attempts::{Scene, attempt};

/// One thing to try. The first try to get out of the jail; the others misbehave within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attack {
    /// Open `/etc/passwd`.
    OpenFile,
    /// Open the program that runs.
    OpenProgram,
    /// Open its own memory through `/proc`.
    OpenMemory,
    /// Connect to 127.0.0.1 by TCP.
    ConnectTcp,
    /// Make a UDP socket.
    UdpSocket,
    /// Make a Unix socket.
    UnixSocket,
    /// Fork.
    Fork,
    /// Run `/bin/true`.
    RunProgram,
    /// Trace its parent.
    TraceParent,
    /// Signal its parent.
    SignalParent,
    /// Become root again.
    BecomeRoot,
    /// Use any descriptor but the two.
    UseDescriptors,
    /// Read an environment variable.
    ReadEnvironment,
    /// Take 8 GiB and twice what is allowed of memory.
    TakeMemory,
    /// Write beyond the file's limit.
    WriteBeyond,
    /// Mount.
    Mount,
    /// Make a user namespace, in which it would be root.
    NewNamespace,
    /// Set up an io_uring, by which calls go round a filter.
    SetUpRing,
    /// Map memory that can be both written and run.
    RunData,
    /// Nothing: says that the walls are up.
    None,
    /// Read address 0.
    Crash,
    /// Abort, as libc does on a corrupted heap.
    Abort,
    /// Panic.
    Panic,
    /// Use the processor for ever.
    Spin,
    /// Use more and more memory.
    Grow,
    /// Do nothing for ever.
    Stall,
    /// Ask for the same bytes for ever.
    Dawdle,
    /// Send bytes that are no message.
    Babble,
    /// Announce a message of 4 GiB.
    Announce,
    /// Claim a result that was not written.
    Lie,
    /// End without a word.
    Vanish,
}

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 31] = [
        Self::OpenFile,
        Self::OpenProgram,
        Self::OpenMemory,
        Self::ConnectTcp,
        Self::UdpSocket,
        Self::UnixSocket,
        Self::Fork,
        Self::RunProgram,
        Self::TraceParent,
        Self::SignalParent,
        Self::BecomeRoot,
        Self::UseDescriptors,
        Self::ReadEnvironment,
        Self::TakeMemory,
        Self::WriteBeyond,
        Self::Mount,
        Self::NewNamespace,
        Self::SetUpRing,
        Self::RunData,
        Self::None,
        Self::Crash,
        Self::Abort,
        Self::Panic,
        Self::Spin,
        Self::Grow,
        Self::Stall,
        Self::Dawdle,
        Self::Babble,
        Self::Announce,
        Self::Lie,
        Self::Vanish,
    ];

    /// The attempts to get out, each with what holds when it fails.
    pub const ESCAPES: [(Self, &'static str); 19] = [
        (Self::OpenFile, "a file of the system cannot be opened"),
        (Self::OpenProgram, "the program itself cannot be opened"),
        (Self::OpenMemory, "memory cannot be opened through /proc"),
        (Self::ConnectTcp, "no TCP connection"),
        (Self::UdpSocket, "no UDP socket"),
        (Self::UnixSocket, "no Unix socket"),
        (Self::Fork, "no process can be forked"),
        (Self::RunProgram, "no program can be run"),
        (Self::TraceParent, "the parent cannot be traced"),
        (Self::SignalParent, "the parent cannot be signalled"),
        (Self::BecomeRoot, "root cannot be regained"),
        (Self::UseDescriptors, "no descriptor was inherited but the two"),
        (Self::ReadEnvironment, "the environment is empty"),
        (Self::TakeMemory, "memory is bounded"),
        (Self::WriteBeyond, "the result's length is bounded"),
        (Self::Mount, "nothing can be mounted"),
        (Self::NewNamespace, "no user namespace can be made"),
        (Self::SetUpRing, "no io_uring can be set up"),
        (Self::RunData, "data cannot be run"),
    ];
}

/// One thing that must hold, and whether it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub holds: bool,
    /// What the attack came to.
    pub detail: String,
}

/// What must hold behind one wall alone, because a wall that leans on another is none.
const ALONE: [(Attack, Wall, &str); 4] = [
    (Attack::OpenFile, Wall::Landlock, "Landlock alone keeps files closed"),
    (Attack::OpenFile, Wall::SystemCalls, "the system-call filter alone keeps files closed"),
    (Attack::BecomeRoot, Wall::Identity, "without its privileges alone, root cannot be regained"),
    (Attack::Mount, Wall::Identity, "without its privileges alone, nothing can be mounted"),
];

/// Attacks the sandbox, and says what holds.
pub async fn checks(supervisor: &Supervisor) -> Vec<Check> {
    let mut checks = checks_within(supervisor, Walls::ALL).await;
    for (attack, wall, name) in ALONE {
        checks.push(check(supervisor, attack, Walls::NONE.with(wall), name).await);
    }
    checks
}

/// The same attacks with other walls than a job has: shows that an attack can tell that a wall is missing.
#[doc(hidden)]
pub async fn checks_within(supervisor: &Supervisor, walls: Walls) -> Vec<Check> {
    let mut checks = Vec::new();
    for (attack, name) in Attack::ESCAPES {
        checks.push(check(supervisor, attack, walls, name).await);
    }
    checks
}

async fn check(supervisor: &Supervisor, attack: Attack, walls: Walls, name: &str) -> Check {
    let (holds, detail) = match supervisor.attack(attack, walls).await {
        Ok(Attacked::Reported { through, detail }) => (!through, detail),
        // The filter kills for a forbidden call, the file limit for a byte too many.
        Ok(Attacked::Killed(libc::SIGSYS)) => (true, "killed by the system-call filter".to_owned()),
        Ok(Attacked::Killed(libc::SIGXFSZ)) if attack == Attack::WriteBeyond => {
            (true, "killed by the file limit".to_owned())
        }
        Ok(Attacked::Killed(signal)) => (false, format!("killed by signal {signal}, which tells nothing")),
        // A program that was run instead of the child says nothing and ends well.
        Ok(Attacked::Vanished) => (false, "went through".to_owned()),
        Err(failure) => (false, format!("could not be tried: {failure}")),
    };
    Check { name: name.to_owned(), holds, detail }
}
