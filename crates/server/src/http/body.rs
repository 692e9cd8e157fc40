//! A request's body, whole and bounded.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt as _;
use wire::{ErrorCode, RequestError};

use super::Api;
use super::refusal::Refusal;

/// All of a body.
pub(super) struct Whole(pub(super) Bytes);

impl FromRequest<Arc<Api>> for Whole {
    type Rejection = Refusal;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refusal> {
        read(request.into_body(), api.max_body_bytes).await.map(Self).map_err(Refusal::from)
    }
}

async fn read(mut body: Body, max_bytes: usize) -> Result<Bytes, RequestError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(RequestError::new(ErrorCode::InvalidRequest, "Send the whole request body."));
        };
        let data = frame.into_data().unwrap_or_default();
        if data.len() > max_bytes - whole.len() {
            return Err(RequestError::new(ErrorCode::PayloadTooLarge, "Send a smaller request body.")
                .with_details(format!("at most {max_bytes} bytes are taken")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_taken_up_to_its_bound_and_an_endless_one_is_left() {
        assert_eq!(
            read(Body::from("12345678"), 8).await.expect("as long as the bound").as_ref(),
            b"12345678"
        );
        assert_eq!(
            read(Body::from("123456789"), 8).await.expect_err("longer").code,
            ErrorCode::PayloadTooLarge
        );
        let piece = Bytes::from(vec![0; 1 << 20]);
        let endless = futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        let refused = read(Body::from_stream(endless), 8).await.expect_err("endless");
        assert_eq!(refused.code, ErrorCode::PayloadTooLarge);
    }
}
