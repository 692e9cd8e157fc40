//! How an extraction is shown: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{InputFile, ProgressSink, Step};
use indicatif::{ProgressBar, ProgressStyle};

/// How fine the bar is.
const TICKS: u64 = 1000;
/// A plain line is written each time that another such part of a step is done, in percent.
const LINE_EVERY_PERCENT: u8 = 25;

/// Shows progress on stderr.
pub(super) enum Shown {
    Bar(ProgressBar),
    Lines(Mutex<Option<(Step, u8)>>),
}

impl Shown {
    /// A bar if stderr is a terminal.
    pub(super) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Mutex::new(None));
        }
        let bar = ProgressBar::new(TICKS);
        if let Ok(style) = ProgressStyle::with_template("{msg:10} {wide_bar} {percent:>3} %  {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(named(Step::Downloading));
        Self::Bar(bar)
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn named(step: Step) -> &'static str {
    match step {
        Step::Downloading => "opening",
        Step::Analyzing => "analyzing",
        Step::Extracting => "extracting",
        Step::Finalizing => "finishing",
    }
}

impl ProgressSink for Shown {
    fn probed(&self, input: InputFile) {
        let duration = input.duration_secs.map_or_else(String::new, |secs| format!(", {secs:.1} s"));
        let line = format!("{}: {}{duration}", input.name, input.format);
        match self {
            Self::Bar(bar) => bar.println(line),
            Self::Lines(_) => eprintln!("{line}"),
        }
    }

    fn progressed(&self, step: Step, fraction: Option<f64>) {
        let fraction = fraction.unwrap_or(0.0).clamp(0.0, 1.0);
        match self {
            Self::Bar(bar) => {
                bar.set_message(named(step));
                bar.set_position((fraction * TICKS as f64) as u64);
            }
            Self::Lines(last) => {
                let percent = (fraction * 100.0) as u8 / LINE_EVERY_PERCENT * LINE_EVERY_PERCENT;
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != Some((step, percent)) {
                    *last = Some((step, percent));
                    eprintln!("{} {percent} %", named(step));
                }
            }
        }
    }
}
