//! How long an event that is committed waits for its receiver: alone, and beside receivers that are dead.
//!
//! Load is open-loop: an event ends at its time, however late the ones before are. One run has two windows, first
//! alone, then with the dead beside it, so that both are measured in the same process, minute and database.

use std::collections::HashMap;
use std::iter::repeat_n;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock as _, Job, Lease, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::delivering::Delivering;
use crate::memory::{Peak, private_bytes};
use crate::receiver::{Manner, Receiver};
use crate::rows::{Engine, Rows, Waiting};
use crate::{Outcome, stats};

/// Events a second of the healthy stream.
const PER_SECOND: u32 = 100;
/// How long the last events may take; what has not come by then is reported as lost.
const PATIENCE: Duration = Duration::from_secs(40);
/// Events a second that get into the tables at least, where each is put by itself.
const PUT_PER_SECOND: u64 = 100;
/// Of those that are put so, how many at once.
const PUT_AT_ONCE: usize = 8;

/// What stands beside the healthy stream in the second window.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Beside {
    Nothing,
    /// So many events, due at once, each to a receiver of its own that never answers.
    Mute(usize),
    /// So many events, due at once, each to a URL of its own of one such receiver.
    Urls(usize),
    /// So many events a second to one such receiver.
    Stream(u32),
    /// So many events that wait for one URL of it.
    Waiting(usize),
}

/// How long the two windows last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) alone: Duration,
    pub(crate) beside: Duration,
}

/// An event of the healthy stream.
struct Sent {
    event: String,
    /// When it was to be committed, from the start.
    due: Duration,
    committed: Instant,
}

pub(crate) async fn measure(engine: Engine, beside: Beside, windows: Windows) -> Outcome<Value> {
    let folder = crate::scratch()?;
    let rows = Arc::new(Rows::new(engine, folder.path()).await?);
    let healthy = Receiver::start(Manner::Quick).await?;
    let mute = Receiver::start(Manner::Mute).await?;
    let whole = windows.alone + windows.beside;
    let jobs = rows.processing(repeat_n(healthy.url(), events_in(whole, PER_SECOND))).await?;
    let dead_jobs = match beside {
        Beside::Stream(per_second) => {
            rows.processing(repeat_n(mute.url(), events_in(windows.beside, per_second))).await?
        }
        _ => Vec::new(),
    };
    // The dead's events are due when the second window begins, so that has to be known before they are there.
    let lead = time_to_put(beside);
    let begin = Instant::now() + lead;
    let due = rows.clock().now().plus(lead + windows.alone);
    put(&rows, beside, mute.address().port(), due).await?;
    if Instant::now() > begin {
        return Err("the rows took longer to put than was thought".into());
    }

    let delivering = Delivering::start(&rows)?;
    let alone_bytes = Peak::watch(begin, windows.alone);
    let beside_bytes = Peak::watch(begin + windows.alone, windows.beside);
    let per_second = if let Beside::Stream(per_second) = beside { per_second } else { 1 };
    let dead = tokio::spawn(commit(Arc::clone(&rows), dead_jobs, begin + windows.alone, per_second));
    let sent = commit(Arc::clone(&rows), jobs, begin, PER_SECOND).await?;
    dead.await??;
    healthy.wait_for(sent.len(), PATIENCE).await;
    delivering.stop().await?;
    let (alone_bytes, beside_bytes) = (alone_bytes.bytes().await?, beside_bytes.bytes().await?);
    rows.store.close().await;

    let first = first_arrivals(&healthy);
    let (alone, later): (Vec<_>, Vec<_>) = sent.iter().partition(|sent| sent.due < windows.alone);
    Ok(json!({
        "alone": waits(&alone, &first),
        "beside": waits(&later, &first),
        "aloneBytes": alone_bytes,
        "besideBytes": beside_bytes,
        "endBytes": private_bytes()?,
        "postsToMute": mute.count(),
    }))
}

fn events_in(window: Duration, per_second: u32) -> usize {
    (window.as_secs_f64() * f64::from(per_second)) as usize
}

fn time_to_put(beside: Beside) -> Duration {
    Duration::from_secs(match beside {
        Beside::Nothing | Beside::Stream(_) => 1,
        Beside::Waiting(events) => 2 + events as u64 / 5_000,
        Beside::Mute(events) | Beside::Urls(events) => 2 + events as u64 / PUT_PER_SECOND,
    })
}

/// Makes what stands beside the healthy stream wait until `from`; the mute receivers are all behind this port.
async fn put(rows: &Arc<Rows>, beside: Beside, port: u16, from: Timestamp) -> Outcome<()> {
    match beside {
        Beside::Nothing | Beside::Stream(_) => Ok(()),
        Beside::Waiting(count) => {
            let webhook = format!("http://127.0.0.1:{port}/webhook");
            let waiting = Waiting { count, webhook: &webhook, from, over: Duration::ZERO, attempts: 0 };
            rows.put(waiting).await
        }
        // Host and port are what tells receivers apart, and 127.0.0.0/8 is all this machine.
        Beside::Mute(count) => {
            let host = |n: usize| format!("127.1.{}.{}", n / 250, n % 250 + 1);
            put_each(rows, (0..count).map(|n| format!("http://{}:{port}/webhook", host(n))), from).await
        }
        Beside::Urls(count) => {
            put_each(rows, (0..count).map(|n| format!("http://127.0.0.1:{port}/webhook?job={n}")), from).await
        }
    }
}

/// Puts one event in wait for each of these.
async fn put_each(rows: &Arc<Rows>, webhooks: impl Iterator<Item = String>, from: Timestamp) -> Outcome<()> {
    let mut putting = JoinSet::new();
    for job in rows.processing(webhooks).await? {
        if putting.len() == PUT_AT_ONCE {
            putting.join_next().await.ok_or("nothing is put")???;
        }
        let rows = Arc::clone(rows);
        putting.spawn(async move { rows.finish_at(&job, from).await.map(drop) });
    }
    while let Some(put) = putting.join_next().await {
        put??;
    }
    Ok(())
}

/// Ends a job at each of its times; none waits for the one before.
async fn commit(
    rows: Arc<Rows>,
    jobs: Vec<Lease<Job>>,
    begin: Instant,
    per_second: u32,
) -> Outcome<Vec<Sent>> {
    let (mut committing, mut sent) = (JoinSet::new(), Vec::with_capacity(jobs.len()));
    for (number, job) in jobs.into_iter().enumerate() {
        let due = Duration::from_secs_f64(number as f64 / f64::from(per_second));
        tokio::time::sleep_until(begin + due).await;
        let rows = Arc::clone(&rows);
        committing.spawn(async move {
            let event = rows.finish(&job).await?;
            Outcome::Ok(Sent { event: event.as_str().to_owned(), due, committed: Instant::now() })
        });
        // What has ended keeps its memory until somebody takes it, and would be counted as the engine's.
        while let Some(ended) = committing.try_join_next() {
            sent.push(ended??);
        }
    }
    while let Some(ended) = committing.join_next().await {
        sent.push(ended??);
    }
    Ok(sent)
}

fn first_arrivals(receiver: &Receiver) -> HashMap<String, Instant> {
    let mut first = HashMap::new();
    for arrival in receiver.arrivals() {
        first.entry(arrival.event).or_insert(arrival.at);
    }
    first
}

/// The waits of these events; one that never came waited as long as we did.
fn waits(sent: &[&Sent], first: &HashMap<String, Instant>) -> Value {
    let wait = |sent: &&Sent| match first.get(&sent.event) {
        // A receiver may have it before the committing task has heard of the commit.
        Some(at) => at.saturating_duration_since(sent.committed),
        None => PATIENCE,
    };
    let waits: Vec<Duration> = sent.iter().map(wait).collect();
    let lost = sent.iter().filter(|sent| !first.contains_key(&sent.event)).count();
    json!({
        "p50": stats::quantile_millis(&waits, 0.5),
        "p99": stats::quantile_millis(&waits, 0.99),
        "events": waits.len(),
        "lost": lost,
    })
}
