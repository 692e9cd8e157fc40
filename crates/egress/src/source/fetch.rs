//! One source's requests: redirects by hand, the guard before each hop, credentials to the first host alone.

use std::sync::Arc;

use bytes::Bytes;
use domain::{AddressPolicy, Clock, SourceHeader, Tally};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE,
    USER_AGENT,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;
use url::{Origin, Url};

use super::SourceConfig;
use super::body::{Body, Meter, Pace};
use super::error::{FetchError, RedirectError};
use super::location::Location;
use crate::client::{HttpClient, add_credentials, request_uri};
use crate::guard::Guard;
use crate::retry_after::retry_after;

/// Headers that say how we speak, not who the customer is: a customer cannot set them.
const OURS: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "accept-encoding",
];

/// The final answer to a request: 200, 206 or 416.
pub(crate) struct Answer {
    /// Who gave it: scheme, host and port.
    pub(crate) host: Origin,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Answer {
    /// How long the body is, where that binds: a `Content-Length` beside chunks says nothing (RFC 9112, 6.3).
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.body.length()
    }
}

/// Makes the requests of one source.
pub(crate) struct Fetcher {
    pub(crate) client: HttpClient,
    pub(crate) guard: Arc<Guard>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<SourceConfig>,
    pub(crate) meter: Arc<Meter>,
    /// When the source's total time is over.
    pub(crate) deadline: Instant,
    /// What only the source's own host may see.
    private_headers: HeaderMap,
    /// That host: of the URL that the customer named.
    home: Origin,
    /// Where the redirects led, so that later requests go there at once.
    location: Location,
}

impl Fetcher {
    pub(crate) fn new(
        client: HttpClient,
        guard: Arc<Guard>,
        clock: Arc<dyn Clock>,
        config: Arc<SourceConfig>,
        original: Url,
        headers: &[SourceHeader],
        tally: Arc<Tally>,
    ) -> Result<Self, FetchError> {
        let mut private_headers = HeaderMap::new();
        for header in headers {
            let cannot = || FetchError::Header(header.name.clone());
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| cannot())?;
            let mut value = HeaderValue::from_str(header.value.expose()).map_err(|_| cannot())?;
            if OURS.contains(&name.as_str()) {
                return Err(cannot());
            }
            value.set_sensitive(true);
            private_headers.append(name, value);
        }
        add_credentials(&mut private_headers, &original)?;
        let meter = Arc::new(Meter::new(tally, config.max_fetched_bytes));
        let deadline = Instant::now() + config.total_timeout;
        let home = original.origin();
        let location = Location::new(original);
        Ok(Self { client, guard, clock, config, meter, deadline, private_headers, home, location })
    }

    /// For what else the source consists of, at this URL: counted, timed and bounded together.
    pub(crate) fn towards(&self, url: Url) -> Self {
        Self {
            client: self.client.clone(),
            guard: Arc::clone(&self.guard),
            clock: Arc::clone(&self.clock),
            config: Arc::clone(&self.config),
            meter: Arc::clone(&self.meter),
            deadline: self.deadline,
            private_headers: self.private_headers.clone(),
            home: self.home.clone(),
            location: Location::new(url),
        }
    }

    /// Where the last request was answered as it should be.
    pub(crate) fn location(&self) -> Url {
        self.location.target().url
    }

    /// Asks for these ranges (as a header has them), or for the whole file.
    ///
    /// A place to which a redirect led may have expired or closed since; then the original URL is asked once more. One that
    /// answers badly had its try; where it does so twice in a row, the next one begins at the original URL again.
    pub(crate) async fn get(
        &self,
        range: Option<&HeaderValue>,
        if_range: Option<&HeaderValue>,
    ) -> Result<Answer, FetchError> {
        let target = self.location.target();
        let is_redirected = target.url != *self.location.original();
        match self.follow(target.url.clone(), range, if_range).await {
            Err(error) if is_redirected && error.is_of_place() => {
                self.location.leave(&target);
                self.follow(self.location.original().clone(), range, if_range).await
            }
            Err(error) if is_redirected && error.is_transient() => {
                self.location.failed(&target);
                Err(error)
            }
            answer => answer,
        }
    }

    async fn follow(
        &self,
        mut url: Url,
        range: Option<&HeaderValue>,
        if_range: Option<&HeaderValue>,
    ) -> Result<Answer, FetchError> {
        let mut redirects = 0;
        loop {
            let response = self.request(&url, range, if_range).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                let answer = self.accept(&url, response)?;
                self.location.answered(url);
                return Ok(answer);
            }
            redirects += 1;
            if redirects > self.config.max_redirects {
                return Err(FetchError::Redirect(RedirectError::TooMany(self.config.max_redirects)));
            }
            url = next_hop(&url, response.headers())?;
        }
    }

    async fn request(
        &self,
        url: &Url,
        range: Option<&HeaderValue>,
        if_range: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, FetchError> {
        self.guard.check(url).map_err(FetchError::Refused)?;
        let mut request = Request::new(Full::<Bytes>::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = request_uri(url)?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, self.config.user_agent.clone());
        // Scheme, host and port: where the customer's credentials belong.
        if url.origin() == self.home {
            headers.extend(self.private_headers.clone());
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(range) = range {
            headers.insert(RANGE, range.clone());
        }
        if let Some(tag) = if_range {
            headers.insert(IF_RANGE, tag.clone());
        }
        self.meter.count_request();
        let patience = self.config.connect_timeout + self.config.first_byte_timeout;
        let answered = tokio::time::timeout(patience, self.client.request(request)).await;
        Ok(answered.map_err(|_| FetchError::NoAnswer(patience))??)
    }

    fn accept(&self, url: &Url, response: Response<Incoming>) -> Result<Answer, FetchError> {
        let (head, incoming) = response.into_parts();
        let status = head.status;
        if !matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE)
        {
            let retry_after = retry_after(&head.headers, self.clock.now());
            return Err(FetchError::Status { status: status.as_u16(), retry_after });
        }
        if !head.headers.get_all(CONTENT_ENCODING).iter().all(encodes_nothing) {
            return Err(FetchError::Encoded);
        }
        let pace =
            Pace { min_bytes_per_sec: self.config.min_bytes_per_sec, window: self.config.stall_window };
        let body = Body::new(incoming, Arc::clone(&self.meter), pace);
        Ok(Answer { host: url.origin(), status, headers: head.headers, body })
    }

    /// Runs work of this source until its total time is over.
    pub(crate) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        tokio::time::timeout_at(self.deadline, work).await.map_err(|_| self.out_of_time())?
    }

    /// What is said when the total time is over.
    pub(crate) fn out_of_time(&self) -> FetchError {
        FetchError::TotalTime(self.config.total_timeout)
    }
}

/// Whether this list of content codings leaves the file as it is. Beside `identity` hosts say so in ways of their own, and
/// object stores keep `aws-chunked`, which was how the file came to them.
fn encodes_nothing(list: &HeaderValue) -> bool {
    list.as_bytes().split(|byte| *byte == b',').all(|coding| {
        let is = |known: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(known);
        is(b"") || is(b"identity") || is(b"none") || is(b"aws-chunked")
    })
}

fn next_hop(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    // Also with letters beyond ASCII, which hosts send as they are: the URL has them encoded.
    let location = headers.get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
    let to = location.and_then(|location| from.join(location).ok());
    let to = to.ok_or(FetchError::Redirect(RedirectError::NoLocation))?;
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err(FetchError::Redirect(RedirectError::Downgrade));
    }
    Ok(to)
}
