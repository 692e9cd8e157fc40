//! Sources over HTTP: random access where the host serves ranges, a spool where it does not.
//!
//! Opening is one GET of the first bytes, because presigned links answer GET alone; its body is used, not thrown away.
//! Start with [`HttpSources`], then `ranged` and `prefetch` (how reads become requests ahead of the reader), or `spool`.
//! The rules are apart from all IO: `plan` (what will be read), `batch` (what one request asks for), `run` (what is at
//! hand), `link` (what is learnt of the host). A source may turn out to be a `playlist`.

mod answer;
mod batch;
mod body;
mod budget;
mod config;
mod error;
mod fetch;
mod kept;
mod link;
mod location;
mod multipart;
mod part;
mod patience;
mod plan;
mod playlist;
mod prefetch;
mod ranged;
mod run;
mod spool;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use domain::{
    BoxFuture, Clock, Failure, FailureCode, Source, SourceHeader, SourceOpener, SourceSpec, SourceUrl, Tally,
    TrackChoice,
};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use self::answer::{ContentRange, Version};
use self::batch::{Batch, Policy};
use self::budget::SpoolBudget;
pub use self::config::SourceConfig;
use self::error::FetchError;
use self::fetch::{Answer, Fetcher};
use self::kept::Kept;
use self::link::Link;
use self::part::{Accepted, Pinned, accept};
use self::patience::Patience;
use self::plan::Plan;
use self::prefetch::Prefetch;
use self::ranged::Ranged;
use self::spool::{Spooled, Supply};
use crate::client::HttpClient;
use crate::dial::Dialer;
use crate::guard::Guard;

/// Bytes of the first request: enough for a container's marks, little enough to wait for.
const FIRST_BYTES: u64 = 64 << 10;
const FIRST_RANGE: &str = "bytes=0-65535";

/// What the first answer is.
enum First {
    /// The first bytes of a file that is served by ranges.
    Part { pinned: Pinned, head: Vec<u8>, link: Link },
    /// Bytes of a file whose length is not said.
    Lengthless,
    /// 200 or 416.
    Other(Answer),
}

/// What lies at one URL.
struct Opened {
    source: Arc<dyn Source>,
    /// What came of its first bytes while it was opened; nothing, where they are still to come.
    head: Bytes,
}

/// Opens what comes out of a pipe, at most so many bytes: a file without a name in `scratch` keeps it, so that a demuxer
/// can go back. Needs a tokio runtime around it.
pub fn open_pipe(
    pipe: impl Read + Send + 'static,
    scratch: &Path,
    max_bytes: u64,
) -> io::Result<Arc<dyn Source>> {
    Ok(Arc::new(Spooled::of_pipe(pipe, tempfile::tempfile_in(scratch)?, max_bytes)))
}

/// Opens sources over HTTP.
pub struct HttpSources {
    dialer: Dialer,
    guard: Arc<Guard>,
    clock: Arc<dyn Clock>,
    config: Arc<SourceConfig>,
    budget: Arc<SpoolBudget>,
}

impl HttpSources {
    pub(crate) fn new(
        dialer: Dialer,
        guard: Arc<Guard>,
        clock: Arc<dyn Clock>,
        config: SourceConfig,
    ) -> Self {
        let budget = Arc::new(SpoolBudget::new(config.max_spooled_bytes));
        Self { dialer, guard, clock, config: Arc::new(config), budget }
    }

    async fn open_url(
        &self,
        url: &SourceUrl,
        headers: &[SourceHeader],
        wanted: Option<&TrackChoice>,
        tally: Arc<Tally>,
    ) -> Result<Arc<dyn Source>, Failure> {
        let fetcher = Fetcher::new(
            HttpClient::new(self.dialer.clone(), &self.config),
            Arc::clone(&self.guard),
            Arc::clone(&self.clock),
            Arc::clone(&self.config),
            url.url().clone(),
            headers,
            tally,
        );
        let fetcher = Arc::new(fetcher.map_err(FetchError::into_failure)?);
        let opened = self.open_file(&fetcher).await.map_err(FetchError::into_failure)?;
        playlist::open(self, &fetcher, opened, wanted).await
    }

    /// Opens what lies at one URL, whatever it is.
    async fn open_file(&self, fetcher: &Arc<Fetcher>) -> Result<Opened, FetchError> {
        let asking = async {
            let mut patience = Patience::default();
            let first = HeaderValue::from_static(FIRST_RANGE);
            let mut link = Link::new(&self.config);
            loop {
                let asked = Instant::now();
                let answer = match fetcher.get(Some(&first), None).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        patience.after(error, &self.config).await?;
                        continue;
                    }
                };
                link.answered(asked.elapsed());
                if answer.status != StatusCode::PARTIAL_CONTENT {
                    return Ok(First::Other(answer));
                }
                match self.first_part(answer, &mut link).await {
                    Ok(Some((pinned, head))) => return Ok(First::Part { pinned, head, link }),
                    Ok(None) => return Ok(First::Lengthless),
                    Err(error) => patience.after(error, &self.config).await?,
                }
            }
        };
        match fetcher.in_time(asking).await? {
            First::Part { pinned, head, link } => Ok(self.ranged(fetcher, pinned, link, head).await),
            First::Lengthless => self.open_without_range(fetcher).await,
            First::Other(answer) if answer.status == StatusCode::OK => self.open_whole(fetcher, answer).await,
            First::Other(answer) => match ContentRange::of(&answer.headers) {
                // No first byte can be served of a file without bytes.
                Some(ContentRange::Unsatisfied { length: 0 }) => {
                    let pinned = Pinned { host: answer.host, version: Version::Unknown, length: 0 };
                    Ok(self.ranged(fetcher, pinned, Link::new(&self.config), Vec::new()).await)
                }
                _ => self.open_without_range(fetcher).await,
            },
        }
    }

    async fn ranged(&self, fetcher: &Arc<Fetcher>, pinned: Pinned, link: Link, head: Vec<u8>) -> Opened {
        let kept = Kept::new(self.config.scratch_dir.clone(), Arc::clone(&self.budget));
        let head = Bytes::from(head);
        kept.keep(vec![(0, head.clone())]).await;
        let prefetch = Prefetch::new(Arc::clone(fetcher), pinned, link, &head, kept);
        let source = Arc::new(Ranged::new(prefetch, Arc::clone(&self.budget)));
        Opened { source, head }
    }

    /// The version, the length and the first bytes of a file; `None` where nobody says the length: then ranges cannot
    /// be checked. (Some hosts give an empty file the range `0-0/0`, which is none.) Such a file is asked for whole.
    async fn first_part(
        &self,
        answer: Answer,
        link: &mut Link,
    ) -> Result<Option<(Pinned, Vec<u8>)>, FetchError> {
        let length = match ContentRange::of(&answer.headers) {
            Some(ContentRange::Part { first: 0, length: Some(length), .. }) => length,
            None | Some(ContentRange::Part { first: 0, length: None, .. }) => return Ok(None),
            Some(_) => return Err(FetchError::WrongRange),
        };
        self.check_length(length)?;
        let pinned = Pinned { host: answer.host.clone(), version: Version::of(&answer.headers), length };
        let plan = Plan::whole(length.min(FIRST_BYTES));
        let (mut head, began) = (Vec::new(), Instant::now());
        let batch = Batch::first(&plan, 0..plan.len(), &Policy::ALL);
        if let Accepted::Range(mut body) = accept(answer, &batch, &pinned)? {
            loop {
                match body.next().await {
                    Ok(Some((_, bytes))) => head.extend_from_slice(&bytes),
                    Ok(None) => break,
                    // The rest is asked for when it is read.
                    Err(error) if error.is_transient() && !head.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
        }
        link.streamed(head.len() as u64, began.elapsed());
        Ok(Some((pinned, head)))
    }

    /// For hosts that serve the file, but not by range.
    async fn open_without_range(&self, fetcher: &Arc<Fetcher>) -> Result<Opened, FetchError> {
        let mut patience = Patience::default();
        let asking = patience.until_answered(&self.config, || fetcher.get(None, None));
        let answer = fetcher.in_time(asking).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status { status: answer.status.as_u16(), retry_after: None });
        }
        self.open_whole(fetcher, answer).await
    }

    async fn open_whole(&self, fetcher: &Arc<Fetcher>, answer: Answer) -> Result<Opened, FetchError> {
        let length = answer.content_length();
        length.map_or(Ok(()), |length| self.check_length(length))?;
        let budget = Arc::clone(&self.budget);
        let supply = Supply::Body(answer.body);
        let spooled = Spooled::start(Arc::clone(fetcher), supply, length, budget).await?;
        Ok(Opened { source: Arc::new(spooled), head: Bytes::new() })
    }

    fn check_length(&self, length: u64) -> Result<(), FetchError> {
        let max_bytes = self.config.max_bytes;
        if length > max_bytes { Err(FetchError::TooLarge { max_bytes }) } else { Ok(()) }
    }
}

impl SourceOpener for HttpSources {
    fn open<'a>(
        &'a self,
        source: &'a SourceSpec,
        wanted: Option<&'a TrackChoice>,
        tally: Arc<Tally>,
    ) -> BoxFuture<'a, Result<Arc<dyn Source>, Failure>> {
        Box::pin(async move {
            let SourceSpec::Url { url, headers } = source else {
                let message = "Submit the job again with a URL.";
                return Err(Failure::permanent(FailureCode::InternalError, message)
                    .with_private("a source without a URL was opened over HTTP"));
            };
            self.open_url(url, headers, wanted, tally).await
        })
    }
}
