//! What is written: the head of a webhook, and who may see what of it.

use bytes::Bytes;
use domain::{Notice, SecretHeader};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use url::{Position, Url};

use super::pool::authority;
use crate::client::{ClientError, add_credentials};
use crate::sign::{SignError, sign_with};

const TRUE: HeaderValue = HeaderValue::from_static("true");

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoticeError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a header cannot be written: {0}")]
    Header(#[from] http::header::InvalidHeaderValue),
    #[error("the secret header has a name that cannot be used")]
    SecretHeader,
    #[error("the URL cannot be requested: {0}")]
    Url(#[from] http::uri::InvalidUri),
}

/// The whole request, signed. Its sensitive headers are marked as such.
pub(super) fn request(notice: &Notice<'_>, agent: &HeaderValue) -> Result<Request<Full<Bytes>>, NoticeError> {
    let (event, url) = (notice.event, notice.url.url());
    let timestamp = notice.at.as_secs();
    let signature = sign_with(event.id.as_str(), timestamp, &event.body, notice.signing)?;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(&event.body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target(url).parse()?;
    let headers = request.headers_mut();
    headers.reserve(14);
    headers.insert(HOST, HeaderValue::from_str(authority(url))?);
    headers.insert(USER_AGENT, agent.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(event.body.len()));
    headers.insert("webhook-id", HeaderValue::from_str(event.id.as_str())?);
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
    headers.insert("webhook-signature", HeaderValue::try_from(signature)?);
    headers.insert("webhook-attempt", HeaderValue::from(notice.attempt));
    if let Some(sequence) = event.sequence {
        headers.insert("webhook-sequence", HeaderValue::from(sequence));
    }
    if notice.is_replay {
        headers.insert("webhook-replay", TRUE);
    }
    if notice.is_file_gone {
        headers.insert("webhook-file-expired", TRUE);
    }
    if let Some(header) = &notice.signing.header {
        add_secret(headers, header)?;
    }
    add_credentials(headers, url)?;
    Ok(request)
}

/// What is asked of the host: path and query.
fn target(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

fn add_secret(headers: &mut HeaderMap, header: &SecretHeader) -> Result<(), NoticeError> {
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| NoticeError::SecretHeader)?;
    let mut value = HeaderValue::from_str(header.value.expose())?;
    value.set_sensitive(true);
    // What webhooks say themselves is not for anybody to replace.
    if headers.contains_key(&name) {
        return Err(NoticeError::SecretHeader);
    }
    headers.insert(name, value);
    Ok(())
}
