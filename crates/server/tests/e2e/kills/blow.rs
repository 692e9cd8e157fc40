//! What kills the service, and when: from outside, so that the service that is tested is the one that is shipped.

use std::process::Command;

/// A system call by which something comes to last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    /// A page of the embedded database, or a part of a result.
    Write,
    /// The end of a commit of the embedded database, or of a result and its folders.
    Sync,
    /// The moment in which a result is there as a whole.
    Rename,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "pwrite64",
            Self::Sync => "fsync",
            Self::Rename => "rename",
        }
    }
}

/// When the service is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blow {
    /// Instead of the call of this number that one of its threads makes.
    InsteadOf(Call, usize),
    /// Instead of the COMMIT of this number to PostgreSQL.
    BeforeCommit(usize),
    /// When PostgreSQL has done the COMMIT of this number, before the service hears of it.
    AfterCommit(usize),
    /// When the client has its answer, and no worker runs.
    Answered,
    /// When its replay was answered, and no worker runs.
    ReplayAnswered,
    /// When the source's host was asked.
    SourceAsked,
    /// When the receiver has the event's POST, or its replay's.
    Posted { is_replay: bool },
}

impl Blow {
    /// The command that runs the service, if it takes one to watch its calls. The service stays our own child.
    pub(crate) fn command(self) -> Vec<String> {
        let Self::InsteadOf(call, number) = self else { return Vec::new() };
        let call = call.name();
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let trace = format!("trace={call}");
        let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        words.map(str::to_owned).to_vec()
    }
}

/// SIGKILL: no destructor, no flush, nothing.
pub(crate) fn kill(pid: u32) {
    let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill runs");
    assert!(killed.success(), "the service was not there to be killed");
}
