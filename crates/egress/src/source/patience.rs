//! When a broken fetch is tried again, within one attempt of the job.

use std::time::Duration;

use super::SourceConfig;
use super::error::FetchError;

/// Fewer bytes than this between two failures are no progress: a host that drops each connection after a few
/// bytes must not keep us for ever.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// Counts failures without progress.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    bytes_since: u64,
}

impl Patience {
    /// Bytes came.
    pub(crate) fn progressed(&mut self, bytes: u64) {
        self.bytes_since = self.bytes_since.saturating_add(bytes);
        if self.bytes_since >= PROGRESS_BYTES {
            self.failures = 0;
        }
    }

    /// Waits before the next try, or gives the error back where there is none.
    pub(crate) async fn after(&mut self, error: FetchError, config: &SourceConfig) -> Result<(), FetchError> {
        tokio::time::sleep(self.wait_after(error, config)?).await;
        Ok(())
    }

    /// How long to wait before the next try; the error, where there is none.
    pub(crate) fn wait_after(
        &mut self,
        error: FetchError,
        config: &SourceConfig,
    ) -> Result<Duration, FetchError> {
        if !error.is_transient() || self.failures >= config.retries {
            return Err(error);
        }
        let back_off = config.back_off.saturating_mul(1_u32 << self.failures.min(16));
        let wait = error.retry_after().unwrap_or_default().max(back_off).min(config.max_back_off);
        self.failures += 1;
        self.bytes_since = 0;
        tracing::debug!(%error, ?wait, failures = self.failures, "the fetch is tried again");
        Ok(wait)
    }

    /// Makes one request until it is answered.
    pub(crate) async fn until_answered<T, F: Future<Output = Result<T, FetchError>>>(
        &mut self,
        config: &SourceConfig,
        request: impl Fn() -> F,
    ) -> Result<T, FetchError> {
        loop {
            match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.after(error, config).await?,
            }
        }
    }
}
