//! The sandbox as a whole: real children, real walls, real attacks. One test at a time, because some count this
//! process's descriptors and children.

mod attacks;
mod desk;
mod ends;
mod extractions;
mod lives;
mod scene;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test of the table.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    media::run_if_zygote();
    if std::env::args().nth(1).as_deref() == Some(lives::HOLD) {
        lives::hold();
    }
    scene::descriptors_at_start();
    let tests = [attacks::TESTS, ends::TESTS, lives::TESTS, extractions::TESTS].concat();
    let trials = tests.into_iter().map(|(name, run)| Trial::test(name, run)).collect();
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}
