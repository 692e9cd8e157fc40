//! How far a step is. The host decides how much of it is worth a message.

use domain::Step;

use super::Host;

/// One step.
pub(super) struct Telling {
    step: Step,
    whole_secs: Option<f64>,
}

impl Telling {
    /// It begins. `whole_secs` is how much there is to do, where that is known.
    pub(super) fn new(step: Step, whole_secs: Option<f64>, host: &mut dyn Host) -> Self {
        let whole_secs = whole_secs.filter(|whole| *whole > 0.0);
        host.progressed(step, whole_secs.map(|_| 0.0));
        Self { step, whole_secs }
    }

    /// So much is done.
    pub(super) fn tell(&self, done_secs: f64, host: &mut dyn Host) {
        host.progressed(self.step, self.whole_secs.map(|whole| (done_secs / whole).clamp(0.0, 1.0)));
    }
}
