//! What a query string may say. As with bodies, an unknown name is an error, so that no filter is silently dropped.

use std::collections::HashSet;

use domain::{DeliveryState, EndpointState, JobId, Receiver, Timestamp};

use crate::error::{ErrorCode, RequestError};

/// The items of a page where none is asked for.
pub const DEFAULT_LIMIT: usize = 50;
/// The most items of a page.
pub const MAX_LIMIT: usize = 200;

/// `GET /v1/webhooks/deliveries`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveriesQuery {
    /// Those of this job.
    pub job: Option<JobId>,
    /// Those that stand so.
    pub state: Option<DeliveryState>,
    /// Those to this host and port.
    pub receiver: Option<Receiver>,
    /// Those made at this time or later.
    pub after: Option<Timestamp>,
    /// Those made before this time.
    pub before: Option<Timestamp>,
    /// Where the page before ended, as its answer said.
    pub cursor: Option<String>,
    /// How many, at most.
    pub limit: usize,
}

/// `GET /v1/webhooks/endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsQuery {
    /// Those that stand so.
    pub state: Option<EndpointState>,
    /// Where the page before ended, as its answer said.
    pub cursor: Option<String>,
    /// How many, at most.
    pub limit: usize,
}

/// `GET /v1/events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsQuery {
    /// Those numbered higher.
    pub after_sequence: u64,
    /// How many, at most.
    pub limit: usize,
}

/// Reads the query of `GET /v1/webhooks/deliveries`.
pub fn parse_deliveries(pairs: &[(String, String)]) -> Result<DeliveriesQuery, RequestError> {
    each_once(pairs)?;
    let mut query = DeliveriesQuery {
        job: None,
        state: None,
        receiver: None,
        after: None,
        before: None,
        cursor: None,
        limit: DEFAULT_LIMIT,
    };
    for (name, value) in pairs {
        match name.as_str() {
            "jobId" => query.job = Some(job(value)?),
            "state" => query.state = Some(state(value)?),
            "receiver" => query.receiver = Some(receiver(value)?),
            "after" => query.after = Some(time("after", value)?),
            "before" => query.before = Some(time("before", value)?),
            "cursor" => query.cursor = Some(value.clone()),
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(name, "jobId, state, receiver, after, before, cursor and limit")),
        }
    }
    Ok(query)
}

/// Reads the query of `GET /v1/webhooks/endpoints`.
pub fn parse_endpoints(pairs: &[(String, String)]) -> Result<EndpointsQuery, RequestError> {
    each_once(pairs)?;
    let mut query = EndpointsQuery { state: None, cursor: None, limit: DEFAULT_LIMIT };
    for (name, value) in pairs {
        match name.as_str() {
            "state" => query.state = Some(endpoint_state(value)?),
            "cursor" => query.cursor = Some(value.clone()),
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(name, "state, cursor and limit")),
        }
    }
    Ok(query)
}

/// Reads the query of `GET /v1/events`.
pub fn parse_events(pairs: &[(String, String)]) -> Result<EventsQuery, RequestError> {
    each_once(pairs)?;
    let mut query = EventsQuery { after_sequence: 0, limit: DEFAULT_LIMIT };
    for (name, value) in pairs {
        match name.as_str() {
            "afterSequence" => {
                query.after_sequence =
                    value.parse().map_err(|_| wrong("`afterSequence`: takes a whole number from 0"))?;
            }
            "limit" => query.limit = limit(value)?,
            _ => return Err(unknown(name, "afterSequence and limit")),
        }
    }
    Ok(query)
}

/// What is wrong with a query or one of its values.
pub fn wrong(details: impl Into<String>) -> RequestError {
    RequestError::new(ErrorCode::InvalidRequest, "Correct what `details` names and ask again.")
        .with_details(details)
}

/// Of a name that is given twice one value would be dropped.
fn each_once(pairs: &[(String, String)]) -> Result<(), RequestError> {
    let mut names = HashSet::new();
    match pairs.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(wrong(format!("`{}`: is given more than once", shown(name)))),
        None => Ok(()),
    }
}

/// As much of a name as is shown of one that may be anything.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

fn unknown(name: &str, known: &str) -> RequestError {
    wrong(format!("`{}` is no parameter of this; there are {known}", shown(name)))
}

fn job(text: &str) -> Result<JobId, RequestError> {
    JobId::parse(text).map_err(|malformed| {
        RequestError::new(ErrorCode::InvalidJobId, "Use the `jobId` that creating the job answered.")
            .with_details(malformed.to_string())
    })
}

pub(crate) fn state(text: &str) -> Result<DeliveryState, RequestError> {
    DeliveryState::parse(text).ok_or_else(|| wrong("`state`: there are pending, delivered and exhausted"))
}

fn endpoint_state(text: &str) -> Result<EndpointState, RequestError> {
    EndpointState::parse(text).ok_or_else(|| wrong("`state`: there are healthy, failing and disabled"))
}

/// `host:port`, as deliveries show it.
fn receiver(text: &str) -> Result<Receiver, RequestError> {
    let is_whole =
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if is_whole {
        Ok(Receiver::from_stored(text.to_ascii_lowercase()))
    } else {
        Err(wrong("`receiver`: takes a host and port, like `hooks.example.com:443`"))
    }
}

pub(crate) fn time(name: &str, text: &str) -> Result<Timestamp, RequestError> {
    crate::text::parse_timestamp(text)
        .ok_or_else(|| wrong(format!("`{name}`: takes a time with its zone, like `2026-01-21T12:34:56Z`")))
}

fn limit(text: &str) -> Result<usize, RequestError> {
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| wrong(format!("`limit`: takes 1 to {MAX_LIMIT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn every_filter_is_read() {
        let query = parse_deliveries(&pairs(&[
            ("jobId", "job_a1b2c3d4e5f6g7h8"),
            ("state", "exhausted"),
            ("receiver", "Hooks.example.com:443"),
            ("after", "1970-01-01T00:00:01Z"),
            ("before", "1970-01-01T01:00:02+01:00"),
            ("cursor", "x"),
            ("limit", "200"),
        ]));
        let expected = DeliveriesQuery {
            job: JobId::parse("job_a1b2c3d4e5f6g7h8").ok(),
            state: Some(DeliveryState::Exhausted),
            receiver: Some(Receiver::from_stored("hooks.example.com:443".to_owned())),
            after: Some(Timestamp::from_millis(1000)),
            before: Some(Timestamp::from_millis(2000)),
            cursor: Some("x".to_owned()),
            limit: 200,
        };
        assert_eq!(query, Ok(expected));
        let endpoints = parse_endpoints(&pairs(&[("state", "disabled"), ("cursor", "x"), ("limit", "1")]));
        let expected =
            EndpointsQuery { state: Some(EndpointState::Disabled), cursor: Some("x".to_owned()), limit: 1 };
        assert_eq!(endpoints, Ok(expected));
        let events = parse_events(&pairs(&[("afterSequence", "17")]));
        assert_eq!(events, Ok(EventsQuery { after_sequence: 17, limit: DEFAULT_LIMIT }));
    }

    #[test]
    fn a_name_is_given_once() {
        let twice = pairs(&[("limit", "1"), ("state", "failing"), ("limit", "1")]);
        let errors = [
            parse_deliveries(&twice).map(drop),
            parse_endpoints(&twice).map(drop),
            parse_events(&twice).map(drop),
        ];
        for error in errors {
            let details = error.expect_err("it is given twice").details.expect("details");
            assert!(details.contains("`limit`"), "{details}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, named) in [
            ("jobId", "17", "job_"),
            ("state", "lost", "pending"),
            ("receiver", "example.com", "receiver"),
            ("receiver", ":443", "receiver"),
            ("after", "now", "after"),
            ("before", "2026-01-21", "before"),
            ("limit", "0", "1 to 200"),
            ("limit", "201", "1 to 200"),
            ("limit", "-1", "1 to 200"),
            ("status", "pending", "`status`"),
        ] {
            let error = parse_deliveries(&pairs(&[(name, value)])).expect_err(value);
            assert!(error.details.as_ref().is_some_and(|details| details.contains(named)), "{error:?}");
        }
        for (name, value) in [("state", "pending"), ("limit", "0"), ("receiver", "h.example:443")] {
            assert!(parse_endpoints(&pairs(&[(name, value)])).is_err(), "{name}={value} was taken");
        }
        for (name, value) in [("afterSequence", "-1"), ("afterSequence", "x"), ("after", "1"), ("limit", "x")]
        {
            assert!(parse_events(&pairs(&[(name, value)])).is_err(), "{name}={value} was taken");
        }
    }
}
