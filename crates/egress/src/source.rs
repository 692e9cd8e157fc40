//! Sources over HTTP: random access where the host serves ranges, a spool where it does not.
//!
//! Opening is one GET with `Range: bytes=0-`, because presigned links answer GET alone; its body is used, not
//! thrown away. Start with [`HttpSources`], then `ranged` and `cursor` (how reads become requests) or `spool`.

mod answer;
mod body;
mod config;
mod cursor;
mod error;
mod fetch;
mod patience;
mod ranged;
mod spool;

use std::sync::Arc;

use domain::{BoxFuture, Clock, Failure, Source, SourceOpener, SourceSpec};
use http::StatusCode;
use http::header::CONTENT_LENGTH;

use self::answer::{ContentRange, Version};
pub use self::config::SourceConfig;
use self::cursor::{Pinned, RangeBody};
use self::error::FetchError;
use self::fetch::{Answer, Fetcher};
use self::patience::Patience;
use self::ranged::Ranged;
use self::spool::{SpoolBudget, Spooled};
use crate::client::HttpClient;
use crate::guard::Guard;

/// Opens sources over HTTP.
pub struct HttpSources {
    client: HttpClient,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    config: Arc<SourceConfig>,
    budget: Arc<SpoolBudget>,
}

impl HttpSources {
    pub(crate) fn new(
        client: HttpClient,
        guard: Arc<Guard>,
        clock: Arc<dyn Clock>,
        config: SourceConfig,
    ) -> Self {
        let budget = Arc::new(SpoolBudget::new(config.max_spooled_bytes));
        Self { client, guard, clock, config: Arc::new(config), budget }
    }

    async fn open_url(&self, source: &SourceSpec) -> Result<Arc<dyn Source>, FetchError> {
        let SourceSpec::Url { url, headers } = source;
        let fetcher = Fetcher::new(
            self.client.clone(),
            Arc::clone(&self.guard),
            Arc::clone(&self.clock),
            Arc::clone(&self.config),
            url.url().clone(),
            headers,
        )?;
        let mut patience = Patience::default();
        let asking = patience.until_answered(&self.config, || fetcher.get(Some(0), None));
        let answer = fetcher.in_time(asking).await?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => self.open_partial(fetcher, answer).await,
            StatusCode::OK => self.open_whole(fetcher, answer).await,
            _ => match ContentRange::of(&answer.headers) {
                // No first byte can be served of a file without bytes.
                Some(ContentRange::Unsatisfied { length: 0 }) => {
                    let pinned = Pinned { version: Version::Unknown, length: 0 };
                    Ok(Arc::new(Ranged::new(fetcher, pinned, None)))
                }
                _ => self.open_without_range(fetcher).await,
            },
        }
    }

    async fn open_partial(&self, fetcher: Fetcher, answer: Answer) -> Result<Arc<dyn Source>, FetchError> {
        match ContentRange::of(&answer.headers) {
            Some(ContentRange::Part { first: 0, length: Some(length), .. }) => {
                self.check_length(length)?;
                let pinned = Pinned { version: Version::of(&answer.headers), length };
                let body = RangeBody::accept(answer, 0, &pinned)?;
                Ok(Arc::new(Ranged::new(fetcher, pinned, Some(body))))
            }
            // Ranges of a file whose length nobody says cannot be checked; some hosts give an empty file the range
            // `0-0/0`, which is none. Such a file is asked for whole.
            None | Some(ContentRange::Part { first: 0, length: None, .. }) => {
                self.open_without_range(fetcher).await
            }
            Some(_) => Err(FetchError::WrongRange),
        }
    }

    /// For hosts that serve the file, but not by range.
    async fn open_without_range(&self, fetcher: Fetcher) -> Result<Arc<dyn Source>, FetchError> {
        let mut patience = Patience::default();
        let asking = patience.until_answered(&self.config, || fetcher.get(None, None));
        let answer = fetcher.in_time(asking).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status { status: answer.status.as_u16(), retry_after: None });
        }
        self.open_whole(fetcher, answer).await
    }

    async fn open_whole(&self, fetcher: Fetcher, answer: Answer) -> Result<Arc<dyn Source>, FetchError> {
        let length = answer.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok());
        length.map_or(Ok(()), |length| self.check_length(length))?;
        let budget = Arc::clone(&self.budget);
        let scratch = &self.config.scratch_dir;
        Ok(Arc::new(Spooled::start(fetcher, answer.body, length, scratch, budget).await?))
    }

    fn check_length(&self, length: u64) -> Result<(), FetchError> {
        let max_bytes = self.config.max_bytes;
        if length > max_bytes { Err(FetchError::TooLarge { max_bytes }) } else { Ok(()) }
    }
}

impl SourceOpener for HttpSources {
    fn open<'a>(&'a self, source: &'a SourceSpec) -> BoxFuture<'a, Result<Arc<dyn Source>, Failure>> {
        Box::pin(async move { self.open_url(source).await.map_err(FetchError::into_failure) })
    }
}
