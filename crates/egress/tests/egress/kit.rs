//! What these tests share: an egress that may reach loopback, with short deadlines.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use domain::{
    BoxFuture, Clock, Event, EventId, EventKind, Failure, FailureCode, JobId, KeyId, Notice, Notifier as _,
    Secret, SendOutcome, SigningKeys, Source, SourceHeader, SourceOpener, SourceSpec, SourceUrl, Timestamp,
    WebhookUrl,
};
use egress::{Egress, EgressConfig, Resolve, ResolveError};

/// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Answers look-ups by list: each look-up of a name takes the next answer, the last one stays.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
}

impl Names {
    pub(crate) fn of(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().expect(ip)).collect();
        let answers = names
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().map(parse).collect()))
            .collect();
        Arc::new(Self { answers: Mutex::new(answers) })
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        let mut answers = self.answers.lock().expect("no test panics in here");
        let found = match answers.get_mut(name) {
            Some(list) if list.len() > 1 => Ok(list.remove(0)),
            Some(list) => list.first().cloned().ok_or_else(|| ResolveError::NotFound(name.to_owned())),
            None => Err(ResolveError::NotFound(name.to_owned())),
        };
        Box::pin(async move { found })
    }
}

/// Loopback is open, back-offs are short; the rest is as in production.
pub(crate) fn config() -> EgressConfig {
    let mut config = EgressConfig::default();
    config.guard.allow_networks =
        vec!["127.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")];
    config.source.back_off = Duration::from_millis(1);
    config.source.max_back_off = Duration::from_millis(20);
    config
}

/// Webhooks whose deadline is short enough to wait for.
pub(crate) fn hurried() -> EgressConfig {
    let mut config = config();
    config.notify.total_timeout = Duration::from_millis(500);
    config
}

pub(crate) fn egress(config: EgressConfig) -> Egress {
    egress_with(config, Names::of(&[]))
}

pub(crate) fn egress_with(config: EgressConfig, names: Arc<Names>) -> Egress {
    Egress::with_resolver(config, clock(), names).expect("egress")
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Stopped)
}

pub(crate) fn spec(url: &str) -> SourceSpec {
    SourceSpec::Url { url: SourceUrl::parse(url).expect(url), headers: Vec::new() }
}

pub(crate) fn spec_with(url: &str, headers: &[(&str, &str)]) -> SourceSpec {
    let header =
        |(name, value): &(&str, &str)| SourceHeader { name: (*name).to_owned(), value: Secret::new(*value) };
    SourceSpec::Url { url: SourceUrl::parse(url).expect(url), headers: headers.iter().map(header).collect() }
}

/// Opens with [`config`].
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Source>, Failure> {
    open_with(config(), url).await
}

pub(crate) async fn open_with(config: EgressConfig, url: &str) -> Result<Arc<dyn Source>, Failure> {
    egress(config).sources.open(&spec(url), None, Arc::default()).await
}

/// The failure of opening, or else of reading to the end.
pub(crate) async fn failure_of(config: EgressConfig, url: &str) -> Failure {
    let failure = match open_with(config, url).await {
        Err(failure) => failure,
        Ok(source) => read_all(&*source).await.expect_err("a failure"),
    };
    assert_eq!(failure.public.code, FailureCode::DownloadFailed);
    let told = failure.to_string();
    assert!(!told.contains("127.0.0.1"), "an address is told: {told}");
    failure
}

pub(crate) fn details(failure: &Failure) -> &str {
    failure.public.details.as_deref().unwrap_or_default()
}

/// Reads in pieces as a demuxer does, to the end.
pub(crate) async fn read_all(source: &dyn Source) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    loop {
        let piece = source.read_at(all.len() as u64, 32 * 1024).await?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend(piece);
    }
}

/// Exactly so many bytes from there, in as many reads as it takes.
pub(crate) async fn read_exact(source: &dyn Source, offset: usize, count: usize) -> Result<Vec<u8>, Failure> {
    let mut read = Vec::new();
    while read.len() < count {
        let piece = source.read_at((offset + read.len()) as u64, count - read.len()).await?;
        assert!(!piece.is_empty(), "the end came early");
        read.extend(piece);
    }
    Ok(read)
}

/// Bytes of which no two stretches are alike.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(crate) const BODY: &[u8] = br#"{"event":"job.completed","jobId":"job_0000000000000001"}"#;

pub(crate) fn event() -> Event {
    Event {
        id: EventId::from_random([1; 8]),
        key: KeyId::from_random([2; 8]),
        sequence: Some(42),
        job: JobId::from_random([3; 8]),
        kind: EventKind::Completed,
        body: BODY.to_vec(),
        created_at: NOW,
    }
}

/// One webhook to send.
pub(crate) struct Sending {
    pub(crate) attempt: u32,
    pub(crate) at: Timestamp,
    pub(crate) signing: SigningKeys,
    pub(crate) is_replay: bool,
    pub(crate) is_file_gone: bool,
    pub(crate) at_most: Option<Duration>,
}

impl Default for Sending {
    fn default() -> Self {
        let signing =
            SigningKeys { secrets: vec![Secret::new(SECRET)], private_keys: Vec::new(), header: None };
        Self { attempt: 1, at: NOW, signing, is_replay: false, is_file_gone: false, at_most: None }
    }
}

impl Sending {
    pub(crate) async fn to(&self, egress: &Egress, url: &str) -> SendOutcome {
        let (event, url) = (event(), WebhookUrl::parse(url).expect(url));
        let notice = Notice {
            event: &event,
            url: &url,
            attempt: self.attempt,
            at: self.at,
            signing: &self.signing,
            is_replay: self.is_replay,
            is_file_gone: self.is_file_gone,
            at_most: self.at_most,
        };
        egress.webhooks.send(notice).await
    }
}
