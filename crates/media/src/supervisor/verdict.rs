//! What a child's last word and its end mean for the job.

use domain::{Extracted, Failure, FailureCode};

use super::SupervisorConfig;
use super::conversation::Talked;
use crate::child::{PANICKED, SAID_ALL, UNHEARD};
use crate::zygote::{Ended, Exit};

/// A child that had this much of its memory limit resident when it aborted, in percent, most likely aborted because
/// it was refused more: Rust and several codecs give no other sign.
const MEMORY_SPENT_PERCENT: u64 = 75;

/// Whether this end tells of a defect in the child, or of an attack.
pub(super) fn is_crash(exit: Exit) -> bool {
    match exit.signal() {
        // Resource limits, or we killed it ourselves.
        Some(signal) => !matches!(signal, libc::SIGKILL | libc::SIGXCPU | libc::SIGXFSZ),
        None => !matches!(exit.code(), Some(SAID_ALL | UNHEARD)),
    }
}

/// The job's result, or why there is none.
pub(super) fn of(
    talked: Talked,
    ended: Ended,
    written_bytes: u64,
    config: &SupervisorConfig,
) -> Result<Extracted, Failure> {
    match talked {
        Talked::Done(extracted) => done(*extracted, ended, written_bytes),
        Talked::Failed(failure) | Talked::SourceFailed(failure) => Err(failure),
        Talked::Refused { wall, cause } => Err(ours(format!("{wall}: {cause}"))),
        Talked::Attacked { .. } => Err(misbehaved("an attack reported")),
        Talked::Nonsense(malformed) => Err(misbehaved(malformed.0)),
        Talked::Silent => Err(Failure::transient(
            FailureCode::ExtractionFailed,
            "The extraction stood still and was stopped; try again, or send the video in another container.",
        )
        .with_details(format!("no progress for {} seconds", config.stall_timeout.as_secs()))),
        Talked::TooLong => Err(Failure::permanent(
            FailureCode::ExtractionFailed,
            "The extraction took too long; send a shorter video, or one from a faster host.",
        )
        .with_details(format!("more than the {} seconds that are allowed", config.total_timeout.as_secs()))),
        Talked::HungUp => Err(died(ended, config)),
    }
}

/// A child that says it is done is believed as far as the file bears it out.
fn done(extracted: Extracted, ended: Ended, written_bytes: u64) -> Result<Extracted, Failure> {
    match ended {
        Ended::Exited(exit) if exit.code() == Some(SAID_ALL) => {}
        _ => return Err(misbehaved("it was done, but did not end well")),
    }
    if extracted.size != written_bytes {
        return Err(misbehaved("it wrote another number of bytes than it said"));
    }
    Ok(extracted)
}

fn died(ended: Ended, config: &SupervisorConfig) -> Failure {
    let exit = match ended {
        Ended::Exited(exit) => exit,
        Ended::Refused(errno) => {
            return ours(format!("fork: {}", std::io::Error::from_raw_os_error(errno)));
        }
        Ended::WithZygote => return ours("the media zygote ended".to_owned()),
    };
    let memory_kib = config.max_memory_bytes / 1024;
    let memory_spent = exit.max_rss_kib >= memory_kib / 100 * MEMORY_SPENT_PERCENT;
    let cpu_spent = exit.cpu_millis / 1000 >= config.max_cpu_secs;
    match exit.signal() {
        Some(libc::SIGXCPU) => too_much_cpu(config),
        Some(libc::SIGKILL) if cpu_spent => too_much_cpu(config),
        Some(libc::SIGXFSZ) => Failure::permanent(
            FailureCode::ExtractionFailed,
            "The result would be too large; choose a smaller format or send a shorter video.",
        )
        .with_details(format!("more than the {} bytes that are allowed", config.av.max_output_bytes)),
        Some(libc::SIGABRT | libc::SIGSEGV) if memory_spent => Failure::permanent(
            FailureCode::ExtractionFailed,
            "This video needs more memory than is allowed; send it in another container or codec.",
        )
        .with_details(format!("more than the {} MiB that are allowed", config.max_memory_bytes >> 20)),
        Some(signal) => crashed(name_of(signal)).with_private(format!("{exit:?}")),
        None if exit.code() == Some(PANICKED) => crashed("a panic").with_private(format!("{exit:?}")),
        None => misbehaved("it ended without a word"),
    }
}

fn too_much_cpu(config: &SupervisorConfig) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "This video needs more processor time than is allowed; send a shorter one.",
    )
    .with_details(format!("more than the {} seconds that are allowed", config.max_cpu_secs))
}

fn crashed(how: &str) -> Failure {
    Failure::transient(
        FailureCode::ExtractionFailed,
        "The extraction crashed on this video; try again, or send it in another container or codec.",
    )
    .with_details(format!("the media process was ended by {how}"))
}

fn misbehaved(what: &'static str) -> Failure {
    Failure::transient(
        FailureCode::ExtractionFailed,
        "The extraction broke off on this video; try again, or send it in another container or codec.",
    )
    .with_details("the media process gave no result that could be used")
    .with_private(what)
}

/// A failure of this machine, which says nothing about the video.
pub(super) fn ours(private: String) -> Failure {
    Failure::transient(FailureCode::ExtractionFailed, "The extraction could not be run just now; try again.")
        .with_private(private)
}

fn name_of(signal: i32) -> &'static str {
    match signal {
        libc::SIGSEGV => "an invalid memory access",
        libc::SIGBUS => "a failed memory access",
        libc::SIGILL => "an invalid instruction",
        libc::SIGFPE => "an arithmetic error",
        libc::SIGABRT => "an internal check",
        libc::SIGSYS => "a forbidden system call",
        libc::SIGKILL => "the operating system",
        _ => "a signal",
    }
}

#[cfg(test)]
mod tests {
    use domain::Retry;

    use super::*;

    fn killed(signal: i32, max_rss_kib: u64, cpu_millis: u64) -> Ended {
        Ended::Exited(Exit { status: signal, max_rss_kib, cpu_millis })
    }

    #[test]
    fn each_end_says_whether_another_attempt_is_worthwhile() {
        let config = SupervisorConfig { max_memory_bytes: 100 << 20, max_cpu_secs: 10, ..Default::default() };
        let cases = [
            (killed(libc::SIGSEGV, 1000, 0), Retry::Worthwhile, "invalid memory access"),
            (killed(libc::SIGSYS, 1000, 0), Retry::Worthwhile, "forbidden system call"),
            (killed(libc::SIGABRT, 1000, 0), Retry::Worthwhile, "internal check"),
            (killed(libc::SIGABRT, 100 << 10, 0), Retry::Never, "100 MiB"),
            (killed(libc::SIGKILL, 1000, 0), Retry::Worthwhile, "operating system"),
            (killed(libc::SIGKILL, 1000, 11_000), Retry::Never, "10 seconds"),
            (killed(libc::SIGXCPU, 1000, 10_000), Retry::Never, "10 seconds"),
            (killed(libc::SIGXFSZ, 1000, 0), Retry::Never, "bytes that are allowed"),
            (
                Ended::Exited(Exit { status: PANICKED << 8, max_rss_kib: 0, cpu_millis: 0 }),
                Retry::Worthwhile,
                "panic",
            ),
            (
                Ended::Exited(Exit { status: 0, max_rss_kib: 0, cpu_millis: 0 }),
                Retry::Worthwhile,
                "no result",
            ),
        ];
        for (ended, retry, words) in cases {
            let failure = of(Talked::HungUp, ended, 0, &config).expect_err("it died");
            assert_eq!(failure.retry, retry, "{ended:?}: {failure}");
            assert_eq!(failure.public.code, FailureCode::ExtractionFailed);
            assert!(failure.to_string().contains(words), "{ended:?}: {failure}");
        }
    }

    #[test]
    fn what_is_wrong_with_this_machine_is_not_told_to_the_customer() {
        for ended in [Ended::WithZygote, Ended::Refused(libc::EAGAIN)] {
            let failure = of(Talked::HungUp, ended, 0, &SupervisorConfig::default()).expect_err("it died");
            assert_eq!((failure.retry, &failure.public.details), (Retry::Worthwhile, &None));
            assert!(failure.private.is_some());
        }
    }
}
