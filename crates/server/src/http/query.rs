//! A query string as its pairs, in their order.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::refusal::Refusal;

/// All pairs of a query.
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Pairs {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(_) => {
                Err(wire::query::wrong("the query is not made of `name=value`, percent-encoded").into())
            }
        }
    }
}
