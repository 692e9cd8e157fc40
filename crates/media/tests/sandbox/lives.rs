//! How zygotes and children come and go.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use domain::Retry;
use libtest_mimic::Failed;
use media::{Attack, Supervisor, SupervisorConfig};

use crate::Test;
use crate::scene::{
    Desk, Process, children_of, descriptors, descriptors_at_start, run, start, until, zygotes,
};

pub(crate) const TESTS: &[Test] = &[
    ("a_supervisor_does_not_load_libav", a_supervisor_does_not_load_libav),
    ("a_dropped_job_ends_its_child", a_dropped_job_ends_its_child),
    ("many_jobs_leave_nothing_behind", many_jobs_leave_nothing_behind),
    ("a_dropped_supervisor_leaves_nothing_behind", a_dropped_supervisor_leaves_nothing_behind),
    ("a_killed_zygote_fails_its_jobs_alone", a_killed_zygote_fails_its_jobs_alone),
    ("a_crash_renews_the_zygote_but_not_under_other_jobs", a_crash_renews_the_zygote),
    ("a_killed_service_takes_its_children_along", a_killed_service_takes_its_children_along),
    ("a_program_that_is_no_zygote_is_an_error", a_program_that_is_no_zygote_is_an_error),
];

/// The argument that turns this program into a service that holds a stalled job.
pub(crate) const HOLD: &str = "--hold";

/// A job that never ends by itself, and the process that does it.
async fn stalled(supervisor: &Arc<Supervisor>) -> (tokio::task::JoinHandle<Retry>, Process, i32) {
    let before: Vec<i32> = zygotes().into_iter().flat_map(children_of).collect();
    let supervisor = Arc::clone(supervisor);
    let job = tokio::spawn(async move {
        Desk::new().attacked(&supervisor, Attack::Stall).await.expect_err("it stalls").retry
    });
    let pid = until(|| zygotes().into_iter().flat_map(children_of).find(|pid| !before.contains(pid))).await;
    (job, Process::of(pid), pid)
}

/// What is loaded here is loaded in the service: this program is linked with all of the room.
fn a_supervisor_does_not_load_libav() -> Result<(), Failed> {
    run(async {
        let _supervisor = start(SupervisorConfig::default()).await;
        let loaded = std::fs::read_to_string("/proc/self/maps").expect("what is loaded");
        assert!(loaded.contains("/libc.so"), "it is not seen what is loaded: {loaded}");
        for library in ["/libavutil.", "/libavcodec.", "/libavformat.", "/libswresample."] {
            assert!(!loaded.contains(library), "{library} is loaded beside the zygote");
        }
    });
    Ok(())
}

fn a_dropped_job_ends_its_child() -> Result<(), Failed> {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let (job, child, pid) = stalled(&supervisor).await;
        job.abort();
        child.end().await;
        until(|| (!zygotes().into_iter().flat_map(children_of).any(|left| left == pid)).then_some(())).await;
        let after = Desk::new().attacked(&supervisor, Attack::Abort).await;
        assert!(after.is_err_and(|failure| failure.to_string().contains("an internal check")));
    });
    Ok(())
}

fn many_jobs_leave_nothing_behind() -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        let desk = Desk::new();
        let one = || async { desk.attacked(&supervisor, Attack::Lie).await.expect_err("a lie") };
        one().await;
        let (descriptors_before, zygotes_before) = (descriptors(), zygotes());
        for _ in 0..200 {
            one().await;
        }
        assert_eq!(descriptors(), descriptors_before);
        assert_eq!(zygotes(), zygotes_before);
        assert_eq!(zygotes().into_iter().flat_map(children_of).count(), 0);
    });
    Ok(())
}

fn a_dropped_supervisor_leaves_nothing_behind() -> Result<(), Failed> {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let (job, child, _) = stalled(&supervisor).await;
        job.abort();
        drop(supervisor);
        child.end().await;
        drop(child);
        until(|| zygotes().is_empty().then_some(())).await;
        // The thread that reaped the zygote closes its socket a moment later.
        until(|| (descriptors() == descriptors_at_start()).then_some(())).await;
    });
    Ok(())
}

fn a_killed_zygote_fails_its_jobs_alone() -> Result<(), Failed> {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let (job, child, _) = stalled(&supervisor).await;
        let zygote = zygotes()[0];
        Process::of(zygote).kill();
        assert_eq!(job.await.expect("no panic"), Retry::Worthwhile);
        child.end().await;
        let failure = Desk::new().attacked(&supervisor, Attack::Lie).await.expect_err("a lie");
        assert!(failure.to_string().contains("no result that could be used"), "{failure:?}");
        until(|| (!zygotes().contains(&zygote)).then_some(())).await;
    });
    Ok(())
}

fn a_crash_renews_the_zygote() -> Result<(), Failed> {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let (job, child, _) = stalled(&supervisor).await;
        let first = zygotes();
        let crash = Desk::new().attacked(&supervisor, Attack::Crash).await;
        crash.expect_err("it crashed");
        Desk::new().attacked(&supervisor, Attack::Lie).await.expect_err("a lie");
        assert_eq!(zygotes().len(), 2, "a new one beside the one that still has a job");
        assert!(!child.has_ended() && !job.is_finished(), "the other job goes on");
        job.abort();
        until(|| (zygotes().len() == 1).then_some(())).await;
        assert_ne!(zygotes(), first);
    });
    Ok(())
}

/// What this program does with [`HOLD`]: says who its zygote and its child are, and never ends.
pub(crate) fn hold() -> ! {
    run(async {
        let supervisor = Arc::new(start(SupervisorConfig::default()).await);
        let (_job, _child, pid) = stalled(&supervisor).await;
        writeln!(std::io::stdout(), "{}\n{pid}", zygotes()[0]).expect("a reader");
        std::future::pending().await
    })
}

fn a_killed_service_takes_its_children_along() -> Result<(), Failed> {
    let mut service = Command::new(std::env::current_exe()?).arg(HOLD).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(service.stdout.take().expect("piped")).lines();
    let mut process = || Process::of(lines.next().expect("a line").expect("text").parse().expect("a pid"));
    let (zygote, child) = (process(), process());
    service.kill()?;
    service.wait()?;
    run(async {
        zygote.end().await;
        child.end().await;
    });
    Ok(())
}

fn a_program_that_is_no_zygote_is_an_error() -> Result<(), Failed> {
    run(async {
        for program in ["/bin/true", "/nonexistent"] {
            let config = SupervisorConfig { program: program.into(), ..Default::default() };
            let error = Supervisor::start(config).await.err().expect("no zygote");
            assert!(error.to_string().contains("could not be started"), "{error}");
        }
    });
    Ok(())
}
