//! What is asked about webhooks: a replay of many, and a try.

use domain::{DeliveryState, Timestamp, WebhookUrl};
use serde::Deserialize;

use super::{parse_webhook, whole};
use crate::error::RequestError;
use crate::query;

/// Which deliveries are sent again: those that satisfy all that is given. At least one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    /// That stand so.
    pub state: Option<DeliveryState>,
    /// Made at this time or later.
    pub after: Option<Timestamp>,
    /// Made before this time.
    pub before: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    state: Option<String>,
    after: Option<String>,
    before: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestBody {
    url: String,
}

/// Reads the body of `POST /v1/webhooks/replay`. One that names nothing is refused: it would send everything that
/// there ever was, which is likelier a mistake than a wish.
pub fn parse_replay(body: &[u8]) -> Result<ReplayRequest, RequestError> {
    let body: ReplayBody = whole(body)?;
    let request = ReplayRequest {
        state: body.state.map(|text| query::state(&text)).transpose()?,
        after: body.after.map(|text| query::time("after", &text)).transpose()?,
        before: body.before.map(|text| query::time("before", &text)).transpose()?,
    };
    if request.state.is_none() && request.after.is_none() && request.before.is_none() {
        return Err(RequestError::body("give `state`, `after` or `before`, or several of them"));
    }
    Ok(request)
}

/// Reads the body of `POST /v1/webhooks/test`.
pub fn parse_test(body: &[u8]) -> Result<WebhookUrl, RequestError> {
    let body: TestBody = whole(body)?;
    Ok(parse_webhook("url", &body.url)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_names_something() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        let whole =
            br#"{"state":"exhausted","after":"1970-01-01T00:00:01Z","before":"1970-01-01T00:00:02Z"}"#;
        let expected =
            ReplayRequest { state: Some(DeliveryState::Exhausted), after: at(1000), before: at(2000) };
        assert_eq!(parse_replay(whole), Ok(expected));
        for (body, named) in [
            ("{}", "`state`, `after` or `before`"),
            (r#"{"state":"lost"}"#, "pending, delivered and exhausted"),
            (r#"{"after":"yesterday"}"#, "`after`"),
            (r#"{"befor":"1970-01-01T00:00:01Z"}"#, "befor"),
            (r#"{"state":"pending"} x"#, "trailing"),
        ] {
            let details = parse_replay(body.as_bytes()).expect_err(body).details.expect("details");
            assert!(details.contains(named), "{body}: {details}");
        }
    }

    #[test]
    fn a_try_names_a_url() {
        assert_eq!(
            parse_test(br#"{"url":"https://a.example/x"}"#).map(|url| url.to_string()).as_deref(),
            Ok("https://a.example/x")
        );
        for body in [r#"{"url":"ftp://a.example"}"#, "{}", r#"{"url":"https://a.example","x":1}"#] {
            assert!(parse_test(body.as_bytes()).is_err(), "{body} was taken");
        }
    }
}
