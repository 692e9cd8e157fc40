//! How far a step is, told now and then.

use std::time::{Duration, Instant};

use domain::Step;

use super::Host;

/// How often progress is told at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// One step.
pub(super) struct Telling {
    step: Step,
    whole_secs: Option<f64>,
    last: Instant,
}

impl Telling {
    /// It begins. `whole_secs` is how much there is to do, where that is known.
    pub(super) fn new(step: Step, whole_secs: Option<f64>, host: &mut dyn Host) -> Self {
        let whole_secs = whole_secs.filter(|whole| *whole > 0.0);
        host.progressed(step, whole_secs.map(|_| 0.0));
        Self { step, whole_secs, last: Instant::now() }
    }

    /// So much is done.
    pub(super) fn tell(&mut self, done_secs: f64, host: &mut dyn Host) {
        if self.last.elapsed() >= TELL_EVERY {
            self.last = Instant::now();
            host.progressed(self.step, self.whole_secs.map(|whole| (done_secs / whole).clamp(0.0, 1.0)));
        }
    }
}
