//! Every way in which a child can end, and what the job makes of it.

use std::time::Duration;

use domain::{Failure, FailureCode, Retry};
use libtest_mimic::Failed;
use media::{Attack, SupervisorConfig};

use crate::Test;
use crate::scene::{Desk, run, start};

pub(crate) const TESTS: &[Test] = &[
    ("a_crash_is_worth_another_attempt", a_crash_is_worth_another_attempt),
    ("a_spent_limit_is_not", a_spent_limit_is_not),
    ("silence_is_ended", silence_is_ended),
    ("asking_for_the_same_bytes_is_no_progress", asking_for_the_same_bytes_is_no_progress),
    ("the_whole_is_bounded", the_whole_is_bounded),
    ("what_cannot_be_believed_is_not", what_cannot_be_believed_is_not),
];

fn ends(config: SupervisorConfig, cases: &[(Attack, Retry, &str)]) -> Result<(), Failed> {
    run(async {
        let supervisor = start(config).await;
        for (attack, retry, words) in cases {
            let desk = Desk::new();
            let failure: Failure = desk.attacked(&supervisor, *attack).await.expect_err("it attacked");
            assert_eq!(failure.public.code, FailureCode::ExtractionFailed, "{attack:?}: {failure:?}");
            assert_eq!(failure.retry, *retry, "{attack:?}: {failure:?}");
            assert!(failure.to_string().contains(words), "{attack:?}: {failure:?}");
        }
    });
    Ok(())
}

fn a_crash_is_worth_another_attempt() -> Result<(), Failed> {
    ends(
        SupervisorConfig::default(),
        &[
            (Attack::Crash, Retry::Worthwhile, "an invalid memory access"),
            (Attack::Abort, Retry::Worthwhile, "an internal check"),
            (Attack::Panic, Retry::Worthwhile, "a panic"),
            (Attack::UdpSocket, Retry::Worthwhile, "a forbidden system call"),
        ],
    )
}

fn a_spent_limit_is_not() -> Result<(), Failed> {
    let mut config = SupervisorConfig { max_memory_bytes: 128 << 20, max_cpu_secs: 1, ..Default::default() };
    config.av.max_output_bytes = 4096;
    ends(
        config,
        &[
            (Attack::Grow, Retry::Never, "more than the 128 MiB"),
            (Attack::Spin, Retry::Never, "more than the 1 seconds"),
            (Attack::WriteBeyond, Retry::Never, "more than the 4096 bytes"),
        ],
    )
}

fn silence_is_ended() -> Result<(), Failed> {
    let config = SupervisorConfig { stall_timeout: Duration::from_millis(300), ..Default::default() };
    ends(config, &[(Attack::Stall, Retry::Worthwhile, "stood still")])
}

fn asking_for_the_same_bytes_is_no_progress() -> Result<(), Failed> {
    let config = SupervisorConfig { stall_timeout: Duration::from_millis(300), ..Default::default() };
    ends(config, &[(Attack::Dawdle, Retry::Worthwhile, "stood still")])
}

fn the_whole_is_bounded() -> Result<(), Failed> {
    let config = SupervisorConfig { total_timeout: Duration::from_millis(300), ..Default::default() };
    ends(config, &[(Attack::Spin, Retry::Never, "took too long")])
}

fn what_cannot_be_believed_is_not() -> Result<(), Failed> {
    ends(
        SupervisorConfig::default(),
        &[
            (Attack::Babble, Retry::Worthwhile, "no result that could be used"),
            (Attack::Announce, Retry::Worthwhile, "no result that could be used"),
            (Attack::Lie, Retry::Worthwhile, "no result that could be used"),
            (Attack::Vanish, Retry::Worthwhile, "no result that could be used"),
            (Attack::None, Retry::Worthwhile, "no result that could be used"),
        ],
    )
}
