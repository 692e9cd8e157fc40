//! The system calls that a child may make. All others kill it, and the parent sees SIGSYS and says so. With them go
//! the network, files, processes and most of the kernel's attack surface.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// What an argument must be for a call to be allowed: its index, a mask, and what the masked bits must equal.
type Argument = (u8, u64, u64);

const ANY: &[Argument] = &[];
/// An `int` argument: what stands in the register's upper half does not count.
const INT: u64 = u32::MAX as u64;
const NOT_SHARED: Argument = (3, libc::MAP_SHARED as u64, 0);
const NOT_EXECUTABLE: Argument = (2, libc::PROT_EXEC as u64, 0);
const THREAD: u64 = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;

/// What is allowed, and who needs it.
const ALLOWED: &[(libc::c_long, &[Argument], &str)] = &[
    (libc::SYS_read, ANY, "answers of the parent; the result, by muxers and to measure what it decodes to"),
    (libc::SYS_write, ANY, "questions to the parent; the result"),
    (libc::SYS_writev, ANY, "libc's own words before it aborts"),
    (libc::SYS_lseek, ANY, "the result, where a muxer corrects its header; its size"),
    (libc::SYS_ftruncate, ANY, "the result, where a copy is unfit or a gain not right, and encoding begins"),
    (libc::SYS_close, ANY, "the result, at the end"),
    (libc::SYS_fcntl, &[(1, INT, libc::F_GETFD as u64)], "debug builds of std look before they close"),
    (libc::SYS_brk, ANY, "malloc"),
    (libc::SYS_mmap, &[NOT_SHARED, NOT_EXECUTABLE], "malloc, stacks of threads"),
    (libc::SYS_mremap, ANY, "realloc"),
    (libc::SYS_munmap, ANY, "free"),
    (libc::SYS_mprotect, &[NOT_EXECUTABLE], "malloc's arenas, guard pages of stacks"),
    (libc::SYS_madvise, ANY, "free, stacks of threads that ended"),
    (libc::SYS_futex, ANY, "locks and joins of encoder threads"),
    (libc::SYS_clone, &[(0, THREAD, THREAD)], "encoder threads; without all of these bits it would fork"),
    (libc::SYS_set_robust_list, ANY, "start of a thread"),
    (libc::SYS_rseq, ANY, "start of a thread"),
    (libc::SYS_sigaltstack, ANY, "start and end of a thread"),
    (libc::SYS_rt_sigprocmask, ANY, "start of a thread, abort"),
    (libc::SYS_rt_sigaction, ANY, "abort; the handler of stack overflows puts the default back"),
    (libc::SYS_rt_sigreturn, ANY, "return from that handler"),
    (libc::SYS_prctl, &[(0, INT, libc::PR_SET_NAME as u64)], "libav and Rust name their threads"),
    (libc::SYS_sched_getaffinity, ANY, "libav counts cores; the bounds of a thread's stack"),
    (libc::SYS_sched_yield, ANY, "locks that spin"),
    (libc::SYS_gettid, ANY, "abort"),
    (libc::SYS_getpid, ANY, "abort"),
    (libc::SYS_clock_gettime, ANY, "timers, where the vDSO has none"),
    (libc::SYS_clock_nanosleep, ANY, "locks that wait"),
    (libc::SYS_restart_syscall, ANY, "a wait that was stopped and continued"),
    (libc::SYS_getrandom, ANY, "hash maps, serial numbers of Ogg streams"),
    (libc::SYS_exit, ANY, "end of a thread"),
    (libc::SYS_exit_group, ANY, "end"),
];

/// What is refused with ENOSYS instead of death, because well-behaved code tries it and goes on without.
const REFUSED: &[(libc::c_long, &str)] = &[
    (libc::SYS_clone3, "its flags lie in memory, where a filter cannot look; libc falls back to clone"),
    (
        libc::SYS_openat,
        "iconv looks for character sets, of the names in a transport stream; libav takes the raw ones",
    ),
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Closes the filter around the calling thread and all that it starts.
pub(super) fn filter() -> Result<(), String> {
    // The strictest verdict wins, so what the second lets through, the first still refuses. The other way round the
    // second could not be put up.
    for program in [refused(), allowed()] {
        let program = program.map_err(|cause| cause.to_string())?;
        apply_filter(&program).map_err(|cause| cause.to_string())?;
    }
    Ok(())
}

fn allowed() -> Result<BpfProgram, BackendError> {
    let mut rules = Rules::new();
    for (call, arguments, _) in ALLOWED {
        rules.insert(*call, rule(arguments)?);
    }
    for (call, _) in REFUSED {
        rules.insert(*call, rule(ANY)?);
    }
    // abort and raise signal their own process.
    rules.insert(libc::SYS_tgkill, rule(&[(0, INT, u64::from(std::process::id()))])?);
    build(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn refused() -> Result<BpfProgram, BackendError> {
    let rules =
        REFUSED.iter().map(|(call, _)| Ok((*call, rule(ANY)?))).collect::<Result<_, BackendError>>()?;
    build(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

/// All of these must hold; an empty list stands for "whatever the arguments".
fn rule(arguments: &[Argument]) -> Result<Vec<SeccompRule>, BackendError> {
    if arguments.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = arguments.iter().map(|(index, mask, value)| {
        SeccompCondition::new(*index, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(*mask), *value)
    });
    Ok(vec![SeccompRule::new(conditions.collect::<Result<_, _>>()?)?])
}

fn build(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, matched, arch)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_stands_once_and_says_why() {
        let calls =
            ALLOWED.iter().map(|(call, _, why)| (call, why)).chain(REFUSED.iter().map(|(c, w)| (c, w)));
        let mut seen = std::collections::BTreeSet::new();
        for (call, why) in calls {
            assert!(seen.insert(call), "{call} stands twice");
            assert!(!why.is_empty(), "{call} says nothing");
        }
    }

    #[test]
    fn both_filters_compile() {
        assert!(allowed().is_ok_and(|program| !program.is_empty()));
        assert!(refused().is_ok_and(|program| !program.is_empty()));
    }
}
