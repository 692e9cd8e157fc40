//! How an extraction is shown: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{InputFile, ProgressSink, Span, Step};
use indicatif::{ProgressBar, ProgressStyle};

/// How fine the bar is.
const TICKS: u64 = 1000;
/// A plain line is written each time that another such part of a step is done, in percent.
const LINE_EVERY_PERCENT: u8 = 25;

/// Shows progress on stderr.
pub(super) struct Shown {
    look: Look,
    pace: Mutex<Pace>,
}

enum Look {
    Bar(ProgressBar),
    Lines(Mutex<Option<(Step, u8)>>),
}

impl Shown {
    /// A bar if stderr is a terminal. `span` is what will be extracted.
    pub(super) fn start(span: Span) -> Self {
        let pace = Mutex::new(Pace { span, part_secs: None, began: None });
        if !std::io::stderr().is_terminal() {
            return Self { look: Look::Lines(Mutex::new(None)), pace };
        }
        let bar = ProgressBar::new(TICKS);
        if let Ok(style) = ProgressStyle::with_template("{msg:10} {wide_bar} {percent:>3} %  {prefix}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar.set_message(named(Step::Downloading));
        Self { look: Look::Bar(bar), pace }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.pace().probed(input.duration_secs);
        let duration = input.duration_secs.map_or_else(String::new, |secs| format!(", {secs:.1} s"));
        let line = format!("{}: {}{duration}", input.name, input.format);
        match &self.look {
            Look::Bar(bar) => bar.println(line),
            Look::Lines(_) => eprintln!("{line}"),
        }
    }

    fn progressed(&self, step: Step, fraction: Option<f64>) {
        let fraction = fraction.unwrap_or(0.0).clamp(0.0, 1.0);
        let pace = self.pace().of(step, fraction, Instant::now());
        match &self.look {
            Look::Bar(bar) => {
                bar.set_message(named(step));
                bar.set_prefix(pace.unwrap_or_default());
                bar.set_position((fraction * TICKS as f64) as u64);
            }
            Look::Lines(last) => {
                let percent = (fraction * 100.0) as u8 / LINE_EVERY_PERCENT * LINE_EVERY_PERCENT;
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if *last != Some((step, percent)) {
                    *last = Some((step, percent));
                    let pace = pace.map_or_else(String::new, |pace| format!(", {pace}"));
                    eprintln!("{} {percent} %{pace}", named(step));
                }
            }
        }
    }
}

/// How quick a step is.
struct Pace {
    span: Span,
    /// Seconds of sound that a step goes through, where the container says it.
    part_secs: Option<f64>,
    /// The step, and when it began.
    began: Option<(Step, Instant)>,
}

impl Pace {
    fn probed(&mut self, whole_secs: Option<f64>) {
        let end = match (self.span.end_secs, whole_secs) {
            (Some(end), Some(whole)) => Some(end.min(whole)),
            (end, whole) => end.or(whole),
        };
        self.part_secs = end.map(|end| end - self.span.start_secs).filter(|secs| *secs > 0.0);
    }

    /// `31.4x, 0:12 left`, once there is something to tell by.
    fn of(&mut self, step: Step, fraction: f64, now: Instant) -> Option<String> {
        let began = match self.began {
            Some((begun, at)) if begun == step => at,
            _ => self.began.insert((step, now)).1,
        };
        let elapsed_secs = now.duration_since(began).as_secs_f64();
        if fraction <= 0.0 || elapsed_secs <= 0.0 {
            return None;
        }
        let speed = self.part_secs? * fraction / elapsed_secs;
        let left_secs = (elapsed_secs * (1.0 - fraction) / fraction).round() as u64;
        Some(format!("{speed:.1}x, {}:{:02} left", left_secs / 60, left_secs % 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_and_time_left_are_of_the_step_and_the_part() {
        let span = Span { start_secs: 100.0, end_secs: Some(900.0) };
        let mut pace = Pace { span, part_secs: None, began: None };
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        assert_eq!(pace.of(Step::Extracting, 0.0, at(0)), None);
        assert_eq!(pace.of(Step::Extracting, 0.5, at(1)), None, "nothing is known of its length");
        pace.probed(Some(500.0));
        assert_eq!(pace.of(Step::Extracting, 0.25, at(10)).as_deref(), Some("10.0x, 0:30 left"));
        assert_eq!(pace.of(Step::Extracting, 0.05, at(100)).as_deref(), Some("0.2x, 31:40 left"));
        assert_eq!(pace.of(Step::Extracting, 1.0, at(100)).as_deref(), Some("4.0x, 0:00 left"));
        assert_eq!(pace.of(Step::Finalizing, 1.0, at(100)), None, "it has just begun");
    }
}
