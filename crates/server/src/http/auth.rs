//! Who asks, and whether they may. A handler names the permission that it needs by what it takes: a [`Reader`], a
//! [`Writer`] or a [`Manager`].

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::{KeyId, Scope, Secret};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use wire::ErrorCode;

use super::Api;
use super::refusal::Refusal;

/// No API key that we make is longer; what is longer is not looked up.
const MAX_KEY_BYTES: usize = 512;

/// A key that may look at jobs.
pub(super) struct Reader(pub(super) KeyId);

/// A key that may create jobs.
pub(super) struct Writer(pub(super) KeyId);

/// A key that may look at webhooks and send them again.
pub(super) struct Manager(pub(super) KeyId);

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        authenticate(parts, api, Scope::JobsRead).await.map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for Writer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        authenticate(parts, api, Scope::JobsWrite).await.map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for Manager {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        authenticate(parts, api, Scope::Webhooks).await.map(Self)
    }
}

async fn authenticate(parts: &Parts, api: &Api, scope: Scope) -> Result<KeyId, Refusal> {
    let unauthorized =
        || Refusal::new(ErrorCode::Unauthorized, "Send a valid API key in the `X-API-Key` header.");
    let presented = presented_key(parts).ok_or_else(unauthorized)?;
    let key = api.store.authenticate(&presented).await?.ok_or_else(unauthorized)?;
    if let Some(limits) = &api.limits {
        limits.check(&key.id)?;
    }
    if key.scopes.has(scope) {
        return Ok(key.id);
    }
    Err(Refusal::new(ErrorCode::Forbidden, "Use an API key that has the permission for this.")
        .with_details(format!("the key lacks the scope {}", scope.as_str())))
}

/// The key in `X-API-Key`, else in `Authorization: Bearer`.
fn presented_key(parts: &Parts) -> Option<Secret> {
    let text = |value: &axum::http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let own = parts.headers.get("x-api-key").and_then(text);
    let bearer = || {
        let header = parts.headers.get(AUTHORIZATION).and_then(text)?;
        let (scheme, key) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim().to_owned())
    };
    own.or_else(bearer).filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES).map(Secret::new)
}

/// How often each key may ask. Only keys that exist are counted, so it cannot be made to grow.
pub(crate) struct Limits {
    limiter: DefaultKeyedRateLimiter<KeyId>,
    clock: DefaultClock,
}

impl Limits {
    /// `per_second` for long and `burst` at once; none where `per_second` is 0.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        let burst = NonZeroU32::new(burst)?;
        let quota = Quota::per_second(NonZeroU32::new(per_second)?).allow_burst(burst);
        Some(Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default() })
    }

    fn check(&self, key: &KeyId) -> Result<(), Refusal> {
        self.limiter
            .check_key(key)
            .map_err(|until| Refusal::rate_limited(until.wait_time_from(self.clock.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn a_key_is_found_in_either_header() {
        let long = "k".repeat(513);
        for (headers, expected) in [
            (vec![("x-api-key", "k1")], Some("k1")),
            (vec![("authorization", "Bearer k2")], Some("k2")),
            (vec![("authorization", "bearer  k2 ")], Some("k2")),
            (vec![("x-api-key", "k1"), ("authorization", "Bearer k2")], Some("k1")),
            (vec![("authorization", "Basic k2")], None),
            (vec![("authorization", "k2")], None),
            (vec![("x-api-key", "")], None),
            (vec![("x-api-key", long.as_str())], None),
            (vec![], None),
        ] {
            let mut request = Request::builder();
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            let found = presented_key(&parts);
            assert_eq!(found.as_ref().map(Secret::expose), expected, "{headers:?}");
        }
    }
}
