//! How long a child may go on without getting anywhere. One that asks for the same bytes over and over is as stuck as
//! one that says nothing.

use std::time::Duration;

/// What is read is remembered in blocks of so many bytes: the reader asks for no less at a time.
const BLOCK_BYTES: u64 = 64 << 10;

/// What is left of the time without progress.
#[derive(Debug)]
pub(super) struct Patience {
    whole: Duration,
    left: Duration,
    /// One bit for each block that was read: 10 KB for a source of 5 GB.
    read: Vec<u64>,
}

impl Patience {
    /// With all of it left.
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: whole, read: Vec::new() }
    }

    /// How much longer progress is waited for.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// The child had so much time and nobody kept it waiting.
    pub(super) fn has_waited(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    /// There was progress.
    pub(super) fn renew(&mut self) {
        self.left = self.whole;
    }

    /// So many bytes of the source were read there, which is progress if any block of them is new.
    pub(super) fn has_read(&mut self, offset: u64, bytes: usize) {
        let Some(last) = (bytes as u64).checked_sub(1).and_then(|rest| offset.checked_add(rest)) else {
            return;
        };
        let mut is_new = false;
        for block in offset / BLOCK_BYTES..=last / BLOCK_BYTES {
            // The source has these bytes, so that its length bounds this list.
            let (Ok(word), bit) = (usize::try_from(block / 64), 1 << (block % 64)) else { return };
            if self.read.len() <= word {
                self.read.resize(word + 1, 0);
            }
            is_new |= self.read[word] & bit == 0;
            self.read[word] |= bit;
        }
        if is_new {
            self.renew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_renews_it() {
        let tick = Duration::from_secs(1);
        let mut patience = Patience::new(tick * 10);
        let mut left_after = |offset: u64, bytes: usize| {
            patience.has_waited(tick);
            patience.has_read(offset, bytes);
            patience.left().as_secs()
        };
        assert_eq!(left_after(0, 100), 10, "the first look");
        assert_eq!(left_after(0, 100), 9, "the same again");
        assert_eq!(left_after(50, 1000), 8, "the same block");
        assert_eq!(left_after(1000, 1 << 20), 10, "16 further blocks");
        assert_eq!(left_after(500_000, 4), 9, "within them");
        assert_eq!(left_after(u64::MAX, 0), 8, "nothing, as at the end");
        assert_eq!(left_after(u64::MAX, 2), 7, "beyond any file");
        assert_eq!(left_after(5 << 30, 1), 10, "far away");
        patience.has_waited(tick * 20);
        assert_eq!(patience.left(), Duration::ZERO);
    }
}
