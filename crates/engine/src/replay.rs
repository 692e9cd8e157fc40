//! The replay loop: deliveries that their owner asked to have sent again, many at once. It only makes them wait to be
//! sent; the deliver loop sends them. A page at a time, with a pause between, so that a replay of everything holds up
//! nothing that is new.

use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// The bounds of replaying.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Deliveries in one page.
    pub page: usize,
    /// The pause between two pages.
    pub every: Duration,
    /// How often it is looked for a replay to do when no hint came.
    pub poll: Duration,
}

/// The loop.
pub struct ReplayLoop {
    store: Store,
    clock: Arc<dyn Clock>,
    config: ReplayConfig,
}

impl ReplayLoop {
    /// A loop over this store; nothing happens before [`Self::run`].
    pub fn new(store: Store, clock: Arc<dyn Clock>, config: ReplayConfig) -> Self {
        Self { store, clock, config }
    }

    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        // Made before the first look, so that no hint falls between a look and the wait after it.
        let mut wakes = self.store.wakes();
        while !stop.is_cancelled() {
            let has_more = self.page().await.unwrap_or_else(|cause| {
                tracing::warn!(%cause, "a replay could not go on; trying again");
                true
            });
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.config.every), if has_more => {}
                () = wakes.replays(), if !has_more => {}
                () = tokio::time::sleep(self.config.poll), if !has_more => {}
            }
        }
    }

    /// Does a page; whether there may be another.
    async fn page(&self) -> Result<bool, StoreError> {
        let Some(progress) = self.store.run_replays(self.config.page, self.clock.now()).await? else {
            return Ok(false);
        };
        tracing::info!(replay = %progress.id, replayed = progress.replayed, total = progress.total, "replaying");
        Ok(true)
    }
}
