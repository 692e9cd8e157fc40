//! How far a job is: heard often from the extractor, written seldom to the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Fetched, InputFile, Job, Lease, Percent, Progress, ProgressSink, Step, Tally};
use tokio::time::Instant;

use super::ExtractLoop;
use super::announce::Announcements;

/// Below this percentage an estimate of the time left would be noise.
const MIN_PERCENT_FOR_ESTIMATE: u8 = 5;

/// Collects what the extractor reports and turns it into one percentage that never falls.
pub(super) struct Tracker {
    started: Instant,
    begin: Percent,
    measures: bool,
    /// What earlier attempts have fetched.
    before: Fetched,
    tally: Arc<Tally>,
    state: Mutex<State>,
}

struct State {
    step: Step,
    percent: Percent,
    input: Option<InputFile>,
    is_new: bool,
}

/// What a tracker has heard since it was asked last.
struct News {
    input: Option<InputFile>,
    fetched: Fetched,
    progress: Progress,
}

impl Tracker {
    /// Starts at what the customer has seen already. `measures`: a pass over the audio comes before the encoding.
    pub(super) fn new(begin: Percent, before: Fetched, measures: bool) -> Self {
        let step = Step::Downloading;
        let state = State { step, percent: begin, input: None, is_new: true };
        let (started, tally, state) = (Instant::now(), Arc::default(), Mutex::new(state));
        Self { started, begin, measures, before, tally, state }
    }

    /// How far it is now.
    pub(super) fn current(&self) -> Progress {
        let state = self.lock();
        Progress { step: state.step, percent: state.percent, remaining: self.remaining(state.percent) }
    }

    /// What is known of the source by now.
    pub(super) fn input(&self) -> Option<InputFile> {
        self.lock().input.clone()
    }

    /// What counts what this attempt fetches.
    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// What is new since the last call, if anything is.
    fn take_news(&self) -> Option<News> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.is_new) {
            return None;
        }
        let progress =
            Progress { step: state.step, percent: state.percent, remaining: self.remaining(state.percent) };
        let fetched = self.before.plus(self.tally.fetched());
        Some(News { input: state.input.clone(), fetched, progress })
    }

    fn remaining(&self, percent: Percent) -> Option<std::time::Duration> {
        let done = percent.get().saturating_sub(self.begin.get());
        let left = 100_u8.saturating_sub(percent.get());
        (done >= MIN_PERCENT_FOR_ESTIMATE).then(|| self.started.elapsed() * u32::from(left) / u32::from(done))
    }

    /// Each step's share of the whole, in percent. Measuring loudness decodes everything once, which is cheaper than
    /// encoding it.
    fn share(&self, step: Step) -> (f64, f64) {
        let measured = if self.measures { 35.0 } else { 5.0 };
        match step {
            Step::Downloading => (0.0, 3.0),
            Step::Analyzing => (3.0, measured),
            Step::Extracting => (measured, 95.0),
            Step::Finalizing => (95.0, 99.0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; if something did, the numbers are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressSink for Tracker {
    fn probed(&self, input: InputFile) {
        let mut state = self.lock();
        state.input = Some(input);
        state.is_new = true;
    }

    fn progressed(&self, step: Step, fraction: Option<f64>) {
        let (from, to) = self.share(step);
        let fraction = fraction.filter(|fraction| fraction.is_finite()).unwrap_or(0.0).clamp(0.0, 1.0);
        // In 0 to 99 by construction, so the cast keeps it.
        let percent = Percent::new((from + (to - from) * fraction) as u8);
        let mut state = self.lock();
        if percent > state.percent || step != state.step {
            state.percent = percent.max(state.percent);
            state.step = step;
            state.is_new = true;
        }
    }
}

impl ExtractLoop {
    /// Writes what is new, at most once in the configured time, and announces it where that was asked for. Ends only when the store says that the lease is over.
    pub(super) async fn persist(&self, lease: &Lease<Job>, tracker: &Tracker) {
        let mut announcements = Announcements::new(&lease.item, self.config.announce_every);
        loop {
            if let Some(News { input, fetched, progress }) = tracker.take_news() {
                announcements.note_progress();
                match self.parts.store.save_progress(lease, input.as_ref(), fetched, progress).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(cause) => tracing::debug!(job = %lease.item.id, %cause, "progress was not written"),
                }
            }
            if !self.announce(lease, &mut announcements, tracker.current()).await {
                return;
            }
            tokio::time::sleep(self.config.progress_every).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentage_never_falls_and_only_the_end_is_100() {
        let tracker = Tracker::new(Percent::new(20), Fetched::default(), true);
        let seen = |tracker: &Tracker| tracker.current().percent.get();
        tracker.progressed(Step::Downloading, None);
        assert_eq!(seen(&tracker), 20, "an earlier attempt had come so far");
        tracker.progressed(Step::Analyzing, Some(1.0));
        assert_eq!(seen(&tracker), 35);
        tracker.progressed(Step::Extracting, Some(f64::NAN));
        tracker.progressed(Step::Extracting, Some(-3.0));
        assert_eq!(seen(&tracker), 35);
        tracker.progressed(Step::Finalizing, Some(7.0));
        assert_eq!(seen(&tracker), 99);
    }

    #[test]
    fn only_news_are_written() {
        let tracker = Tracker::new(Percent::default(), Fetched::default(), false);
        assert!(tracker.take_news().is_some(), "the start is news");
        tracker.progressed(Step::Downloading, Some(0.1));
        assert!(tracker.take_news().is_none(), "not a whole percent more");
        tracker.progressed(Step::Extracting, Some(0.5));
        let News { progress, .. } = tracker.take_news().expect("news");
        assert_eq!((progress.step, progress.percent.get()), (Step::Extracting, 50));
        assert!(progress.remaining.is_some());
    }
}
