//! Media made to hurt, through real children behind real walls: an end with a name for each, and nothing left of it.
//!
//! `--fuzz N` runs N mutated files instead of the tests, `--seed S` draws others, `--first F` begins with another
//! file (with `--fuzz 1`: that one alone). One test at a time, because some count what this process holds.

mod bombs;
mod corpus;
mod crowds;
#[path = "../sandbox/desk.rs"]
mod desk;
mod disguises;
mod forge;
mod forged;
mod fuzz;
mod loops;
mod movie;
mod mutate;
mod watch;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test of the table.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    media::run_if_zygote();
    if let Some(files) = number_after("--fuzz") {
        let plan = fuzz::Plan {
            seed: number_after("--seed").unwrap_or(1),
            first: number_after("--first").unwrap_or(0),
            files,
        };
        return match fuzz::fuzz(plan) {
            Ok(report) => {
                eprint!("{report}");
                ExitCode::SUCCESS
            }
            Err(failed) => {
                eprintln!("{}", failed.message().unwrap_or_default());
                ExitCode::FAILURE
            }
        };
    }
    let tests =
        [disguises::TESTS, bombs::TESTS, forged::TESTS, crowds::TESTS, loops::TESTS, fuzz::TESTS].concat();
    let trials = tests.into_iter().map(|(name, run)| Trial::test(name, run)).collect();
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The number that follows a flag.
fn number_after(flag: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag).skip(1);
    arguments
        .next()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{flag} wants a number, not `{text}`")))
}
