//! Where the requests of one source go: to its own URL, or at once to where that led.

use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

/// So many failures in a row send the requests back to the source's own URL, which may lead elsewhere by then. One alone is
/// waited out where it happened: another host mostly has another name for the same version of a file.
const FAILURES_IN_A_ROW: u32 = 2;

/// What is known of where a source lies.
#[derive(Debug)]
pub(crate) struct Location {
    original: Url,
    now: Mutex<Target>,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    /// In a row, by the time that it is asked.
    failures: u32,
}

impl Target {
    fn new(url: Url) -> Self {
        Self { url, failures: 0 }
    }
}

impl Location {
    pub(crate) fn new(original: Url) -> Self {
        let now = Mutex::new(Target::new(original.clone()));
        Self { original, now }
    }

    fn now(&self) -> MutexGuard<'_, Target> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The source's own URL.
    pub(crate) fn original(&self) -> &Url {
        &self.original
    }

    /// Where the next request goes.
    pub(crate) fn target(&self) -> Target {
        self.now().clone()
    }

    /// A request was answered here as it should be.
    pub(crate) fn answered(&self, url: Url) {
        *self.now() = Target::new(url);
    }

    /// A request failed there in a way that may pass. Those that were under way together are one failure.
    pub(crate) fn failed(&self, target: &Target) {
        let mut now = self.now();
        if *now != *target {
            return;
        }
        now.failures += 1;
        if now.failures >= FAILURES_IN_A_ROW {
            *now = Target::new(self.original.clone());
        }
    }

    /// The file is not there, or not for us.
    pub(crate) fn leave(&self, target: &Target) {
        let mut now = self.now();
        if now.url == target.url {
            *now = Target::new(self.original.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    /// A location whose requests go to `http://a/`.
    fn led() -> Location {
        let location = Location::new(url("http://start/"));
        location.answered(url("http://a/"));
        location
    }

    #[test]
    fn failures_in_a_row_lead_back_and_those_of_one_time_are_one() {
        let location = led();
        let together = [location.target(), location.target(), location.target()];
        together.iter().for_each(|target| location.failed(target));
        assert_eq!(location.target().url, url("http://a/"));
        location.failed(&location.target());
        assert_eq!(location.target().url, url("http://start/"));
    }

    #[test]
    fn an_answer_ends_the_row() {
        let location = led();
        for _ in 0..5 {
            location.failed(&location.target());
            location.answered(url("http://a/"));
        }
        assert_eq!(location.target().url, url("http://a/"));
    }

    #[test]
    fn who_comes_late_leads_nobody_back() {
        let location = led();
        let early = location.target();
        location.answered(url("http://b/"));
        location.leave(&early);
        location.failed(&early);
        location.failed(&early);
        assert_eq!(location.target().url, url("http://b/"));
    }
}
