//! How many of what takes its time are under way at once, on this node and of one key: uploads, of which each holds one
//! part in memory, and tries of a webhook, of which each holds a connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::KeyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of this node.
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    of_keys: Mutex<HashMap<KeyId, Arc<Semaphore>>>,
    per_key: usize,
    patience: Duration,
}

/// A slot, until it is dropped.
pub(super) struct Slot {
    _of_key: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Slots {
    /// `all` on this node, `per_key` for one key; who finds none free waits for so long.
    pub(crate) fn new(all: usize, per_key: usize, patience: Duration) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), of_keys: Mutex::default(), per_key, patience }
    }

    /// A slot for this key; `None` if none became free in time.
    pub(super) async fn take(&self, key: &KeyId) -> Option<Slot> {
        let of_key = self.of_key(key);
        let both = async {
            // First the key's own, so that a key that waits for itself keeps nobody else waiting.
            let of_key = of_key.acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Slot { _of_key: of_key, _of_all: of_all })
        };
        tokio::time::timeout(self.patience, both).await.ok().flatten()
    }

    fn of_key(&self, key: &KeyId) -> Arc<Semaphore> {
        let mut of_keys = self.of_keys.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has or waits for a slot holds another reference.
        of_keys.retain(|_, slots| Arc::strong_count(slots) > 1);
        let slots = of_keys.entry(key.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.per_key)));
        Arc::clone(slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_has_its_share_and_leaves_the_rest_to_others() {
        let slots = Slots::new(3, 2, Duration::from_secs(1));
        let (one, other) = (KeyId::from_random([1; 8]), KeyId::from_random([2; 8]));
        let held = (slots.take(&one).await.expect("free"), slots.take(&one).await.expect("free"));
        assert!(slots.take(&one).await.is_none(), "more than its share");
        let last = slots.take(&other).await.expect("free");
        assert!(slots.take(&other).await.is_none(), "there were three");
        drop(held);
        assert!(slots.take(&one).await.is_some());
        drop(last);
        assert_eq!(slots.of_keys.lock().expect("the map").len(), 2);
        slots.of_key(&one);
        assert_eq!(slots.of_keys.lock().expect("the map").len(), 1, "who has gone is forgotten");
    }
}
