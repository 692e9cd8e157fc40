//! Kills the service at random under load and starts it again; then asks what became of every job it had accepted.
//!
//! The load goes through the real API: most jobs name a source that is not there, which makes an event for the price
//! of one request, every tenth a tiny recording that is really extracted. The database is the embedded one.
//!
//! Jobs are offered at a steady rate, but never more than [`MOST_WAITING`] beyond the events that have arrived: a machine
//! that is slower than the rate is asked for what it can do, and nothing piles up but what a kill has held up.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{DeliveryState, Disposition, KeyId};
use engine::random_id;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::client::{self, Accepted};
use crate::receiver::{Arrival, Manner, Receiver};
use crate::rows::Rows;
use crate::service::{self, Service, Setup};
use crate::sources::Sources;

/// The longest that the service runs before it is killed.
const LONGEST_LIFE: Duration = Duration::from_millis(1_500);
/// How long nothing may arrive while something is still to come; as long as something does, it is waited for.
const PATIENCE: Duration = Duration::from_secs(90);
/// Jobs whose event has not arrived, at most: few enough that who comes last of them is not late for the others' sake.
const MOST_WAITING: usize = 50;
/// How often it is looked at what has arrived.
const LOOKED_EVERY: Duration = Duration::from_millis(100);
/// What nobody may have to wait longer for than this, while the service runs.
const LATEST: Duration = Duration::from_secs(5);
/// One job in so many is a recording; the others have no source.
const RECORDINGS: usize = 10;

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) kills: usize,
    /// Jobs a second.
    pub(crate) per_second: u32,
}

/// When the service ran.
struct Life {
    from: Instant,
    to: Instant,
}

/// Runs the plan; whether nothing was lost, stuck, late or unexplained.
pub(crate) async fn run(plan: &Plan, say: fn(&str)) -> Outcome<bool> {
    let folder = crate::scratch()?;
    let setup = Setup {
        binary: service::binary(&plan.binary)?,
        data_dir: folder.path().canonicalize()?.join("data"),
        log: "error",
        settings: vec![("WORKERS", "4".to_owned())],
    };
    let receiver = Arc::new(Receiver::start(Manner::Quick).await?);
    let sources = Sources::start().await?;
    let mut service = Service::start(&setup, "127.0.0.1:0".parse()?).await?;
    let address = service.address;
    let arrived = Arrived::watch(Arc::clone(&receiver));
    let load = Load::start(address, &sources, &receiver.url(), plan.per_second, arrived.clone());

    let mut lives = Vec::new();
    let mut slowest_start = Duration::ZERO;
    for kill in 1..=plan.kills {
        tokio::time::sleep_until(service.ready_at + random_life()).await;
        let (from, to) = (service.ready_at, Instant::now());
        service.kill_9()?;
        lives.push(Life { from, to });
        service = Service::start(&setup, address).await?;
        slowest_start = slowest_start.max(service.ready_at - to);
        if kill % 20 == 0 {
            eprintln!("{kill} kills, {} POSTs", receiver.count());
        }
    }
    let last_start = service.ready_at;
    let (accepted, held_back) = load.stop().await?;
    let is_complete = arrived.wait_for(accepted.len()).await;
    lives.push(Life { from: last_start, to: Instant::now() });
    let complaints: Vec<String> = service.log();
    service.stop().await?;

    let rows = Rows::of_service(&setup.data_dir).await?;
    let arrivals = receiver.arrivals();
    let found = Found::of(&rows, &accepted, &arrivals, &lives).await?;
    rows.store.close().await;
    say(&found.report(plan, held_back, accepted.len(), arrivals.len(), slowest_start));
    let errors: Vec<&String> = complaints.iter().filter(|line| line.contains("ERROR")).collect();
    for line in errors.iter().take(5) {
        eprintln!("{line}");
    }
    Ok(is_complete && found.is_good())
}

/// Spread evenly from nothing to the longest.
fn random_life() -> Duration {
    let random = u64::from_be_bytes(random_id()) % 1_000;
    LONGEST_LIFE.mul_f64(random as f64 / 1_000.0)
}

/// How many events have arrived, however often.
#[derive(Clone)]
struct Arrived(watch::Receiver<usize>);

impl Arrived {
    fn watch(receiver: Arc<Receiver>) -> Self {
        let (tell, count) = watch::channel(0);
        tokio::spawn(async move {
            let (mut seen, mut events) = (0, HashSet::new());
            while !tell.is_closed() {
                let more = receiver.arrivals_after(seen);
                seen += more.len();
                events.extend(more.into_iter().map(|arrival| arrival.event));
                tell.send_if_modified(|count| std::mem::replace(count, events.len()) != events.len());
                tokio::time::sleep(LOOKED_EVERY).await;
            }
        });
        Self(count)
    }

    fn count(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits for so many, as long as they keep coming; whether they came.
    async fn wait_for(mut self, events: usize) -> bool {
        while self.count() < events {
            match tokio::time::timeout(PATIENCE, self.0.changed()).await {
                Ok(Ok(())) => {}
                _ => return false,
            }
        }
        true
    }
}

fn by_event(arrivals: &[Arrival]) -> HashMap<&str, Vec<Instant>> {
    let mut events: HashMap<&str, Vec<Instant>> = HashMap::new();
    for arrival in arrivals {
        events.entry(&arrival.event).or_default().push(arrival.at);
    }
    events
}

/// Jobs that are submitted at a steady rate, or as fast as their events arrive if that is slower; each until it is
/// accepted.
struct Load {
    accepted: Arc<Mutex<Vec<Accepted>>>,
    /// Ends with the submissions under way, and how many were not made at their time.
    submitting: tokio::task::JoinHandle<(JoinSet<()>, usize)>,
    stop: engine::CancellationToken,
}

impl Load {
    fn start(to: SocketAddr, sources: &Sources, webhook: &str, per_second: u32, arrived: Arrived) -> Self {
        let (missing, recording) = (sources.missing(), sources.recording());
        let webhook = webhook.to_owned();
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let stop = engine::CancellationToken::new();
        let (kept, until) = (Arc::clone(&accepted), stop.clone());
        let submitting = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            let begun = Instant::now();
            let (mut number, mut held_back) = (0_usize, 0);
            for place in 0_usize.. {
                let due = begun + Duration::from_secs_f64(place as f64 / f64::from(per_second));
                if tokio::time::timeout_at(due, until.cancelled()).await.is_ok() {
                    break;
                }
                while under_way.try_join_next().is_some() {}
                if number.saturating_sub(arrived.count()) >= MOST_WAITING {
                    held_back += 1;
                    continue;
                }
                let source = if number % RECORDINGS == 0 { &recording } else { &missing };
                let body = client::job(source, &webhook);
                let kept = Arc::clone(&kept);
                under_way.spawn(async move {
                    let job = client::submit(to, number, body).await;
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                });
                number += 1;
            }
            (under_way, held_back)
        });
        Self { accepted, submitting, stop }
    }

    /// No more; what is under way is still accepted. What was accepted, and how many were not submitted at their time.
    async fn stop(self) -> Outcome<(Vec<Accepted>, usize)> {
        self.stop.cancel();
        let (mut under_way, held_back) = self.submitting.await?;
        let ending = async { while under_way.join_next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, ending).await.map_err(|_| "jobs are still not accepted")?;
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((accepted, held_back))
    }
}

/// What became of the accepted jobs.
#[derive(Default)]
struct Found {
    lost: usize,
    stuck: usize,
    /// POSTs of an event beyond its first.
    duplicates: usize,
    /// Those for which no recorded attempt says that it may have arrived.
    unexplained: usize,
    /// POSTs of events that the database does not have.
    foreign: usize,
    /// Missing numbers among the key's events.
    gaps: u64,
    /// Events that a kill fell between acceptance and arrival of.
    interrupted: usize,
    /// The longest that the service ran before one of those arrived.
    latest: Duration,
    /// The longest from acceptance to arrival where no kill fell between.
    slowest: Duration,
}

impl Found {
    async fn of(rows: &Rows, accepted: &[Accepted], arrivals: &[Arrival], lives: &[Life]) -> Outcome<Self> {
        let key = KeyId::from_random([0; 8]);
        let mut arrived = by_event(arrivals);
        let mut found = Self { gaps: gaps(rows, &key).await?, ..Self::default() };
        for accepted in accepted {
            let deliveries = rows.store.deliveries_of(&key, &accepted.job).await?;
            let [recorded] = deliveries.as_slice() else {
                found.stuck += 1;
                continue;
            };
            found.stuck += usize::from(recorded.state != DeliveryState::Delivered);
            let Some(times) = arrived.remove(recorded.delivery.event.id.as_str()) else {
                found.lost += 1;
                continue;
            };
            let unsure = recorded
                .attempts
                .iter()
                .filter(|attempt| attempt.outcome.disposition() == Disposition::MaybeDelivered);
            let again = times.len() - 1;
            found.duplicates += again;
            found.unexplained += again.saturating_sub(unsure.count());
            found.reckon(accepted.at, times[0], lives);
        }
        found.foreign = arrived.len();
        Ok(found)
    }

    fn reckon(&mut self, accepted: Instant, arrived: Instant, lives: &[Life]) {
        if lives.iter().any(|life| accepted <= life.to && life.to < arrived) {
            let ran = |life: &Life| life.to.min(arrived).saturating_duration_since(life.from.max(accepted));
            self.interrupted += 1;
            self.latest = self.latest.max(lives.iter().map(ran).sum());
        } else {
            self.slowest = self.slowest.max(arrived.saturating_duration_since(accepted));
        }
    }

    fn is_good(&self) -> bool {
        let wrong = self.lost + self.stuck + self.unexplained + self.foreign;
        wrong == 0 && self.gaps == 0 && self.latest <= LATEST
    }

    fn report(
        &self,
        plan: &Plan,
        held_back: usize,
        accepted: usize,
        posts: usize,
        slowest_start: Duration,
    ) -> String {
        let secs = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
        let lines = [
            ("kills", plan.kills.to_string()),
            ("jobs offered a second, at most", plan.per_second.to_string()),
            ("not offered because too many events were still to come", held_back.to_string()),
            ("jobs accepted", accepted.to_string()),
            ("POSTs received", posts.to_string()),
            ("lost", self.lost.to_string()),
            ("stuck", self.stuck.to_string()),
            ("duplicates", self.duplicates.to_string()),
            ("duplicates that no recorded attempt explains", self.unexplained.to_string()),
            ("events that the database does not have", self.foreign.to_string()),
            ("gaps in the key's sequence", self.gaps.to_string()),
            ("events with a kill between acceptance and arrival", self.interrupted.to_string()),
            ("latest of these, in time that the service ran", secs(self.latest)),
            ("slowest of the others", secs(self.slowest)),
            ("slowest start", secs(slowest_start)),
        ];
        let rows = lines.iter().map(|(name, value)| format!("| {name} | {value} |"));
        ["| kill run | |".to_owned(), "|---|---|".to_owned()]
            .into_iter()
            .chain(rows)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// How many numbers are missing among a key's events.
async fn gaps(rows: &Rows, key: &KeyId) -> Outcome<u64> {
    let (mut last, mut count) = (0, 0);
    loop {
        let page = rows.store.events_after(key, last, 1_000).await?;
        let Some(event) = page.last() else { return Ok(last - count) };
        // Without a number it would not be listed.
        last = event.sequence.unwrap_or(last);
        count += page.len() as u64;
    }
}
