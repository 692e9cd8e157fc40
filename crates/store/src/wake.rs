//! Hints that there is work. A hint carries nothing and may be lost: whoever waits for one polls as well.
//!
//! Within a process a hint comes with the commit. Between processes it goes over PostgreSQL's NOTIFY, which takes
//! a lock at commit and so is not part of any transaction that matters: a task of its own sends at most one of a
//! kind each [`DEBOUNCE`].

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::database::Database;

const CHANNEL: &str = "audio_extract_wake";
const JOBS: &str = "jobs";
const DELIVERIES: &str = "deliveries";
const REPLAYS: &str = "replays";

/// The shortest time between two hints of one kind to other processes: well below what a person notices, and
/// at most 50 commits a second from each node.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// How long the listener waits before it tries again after its connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct Wake {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: Hints,
    deliveries: Hints,
    replays: Hints,
    tasks: Vec<AbortHandle>,
}

/// `here` wakes this process; `elsewhere` asks for the others to be told.
struct Hints {
    here: watch::Sender<()>,
    elsewhere: watch::Sender<()>,
}

impl Hints {
    fn new() -> Self {
        Self { here: watch::Sender::new(()), elsewhere: watch::Sender::new(()) }
    }

    fn send(&self) {
        self.here.send_modify(|()| {});
        self.elsewhere.send_modify(|()| {});
    }
}

impl Wake {
    /// Makes the hints; with PostgreSQL, begins to exchange them with other processes.
    pub(crate) fn start(database: &Database) -> Self {
        let (jobs, deliveries, replays) = (Hints::new(), Hints::new(), Hints::new());
        let mut tasks = Vec::new();
        if let Database::Postgres(pool) = database {
            let kinds = [(JOBS, &jobs), (DELIVERIES, &deliveries), (REPLAYS, &replays)];
            for (kind, hints) in kinds {
                let wanted = hints.elsewhere.subscribe();
                tasks.push(tokio::spawn(notify(pool.clone(), kind, wanted)).abort_handle());
            }
            let here = kinds.map(|(kind, hints)| (kind, hints.here.clone()));
            let listening = listen(pool.clone(), here);
            tasks.push(tokio::spawn(listening).abort_handle());
        }
        Self { inner: Arc::new(Inner { jobs, deliveries, replays, tasks }) }
    }

    pub(crate) fn hint_jobs(&self) {
        self.inner.jobs.send();
    }

    pub(crate) fn hint_deliveries(&self) {
        self.inner.deliveries.send();
    }

    pub(crate) fn hint_replays(&self) {
        self.inner.replays.send();
    }

    pub(crate) fn stop(&self) {
        self.inner.stop();
    }
}

impl Inner {
    fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells the other processes, for as long as this one lives.
async fn notify(pool: PgPool, kind: &'static str, mut wanted: watch::Receiver<()>) {
    while wanted.changed().await.is_ok() {
        let sent = sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(kind).execute(&pool).await;
        if let Err(error) = sent {
            tracing::debug!(%error, kind, "a wake-up was not sent; the others poll");
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Hears the other processes, for as long as this one lives; the connection is made again for ever.
async fn listen(pool: PgPool, here: [(&'static str, watch::Sender<()>); 3]) {
    loop {
        match hear(&pool, &here).await {
            Ok(()) => {}
            Err(error) if pool.is_closed() => {
                tracing::debug!(%error, "no longer listening for wake-ups");
                return;
            }
            Err(error) => tracing::debug!(%error, "not listening for wake-ups; polling meanwhile"),
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn hear(pool: &PgPool, here: &[(&'static str, watch::Sender<()>); 3]) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    // Else the listener would keep the pool from closing.
    listener.ignore_pool_close_event(false);
    listener.listen(CHANNEL).await?;
    loop {
        // What was sent while nobody listened is lost, so a new connection is itself a hint.
        here.iter().for_each(|(_, hint)| hint.send_modify(|()| {}));
        while let Some(notification) = listener.try_recv().await? {
            let heard = here.iter().filter(|(kind, _)| *kind == notification.payload());
            heard.for_each(|(_, hint)| hint.send_modify(|()| {}));
        }
    }
}

/// Where a loop waits for hints. Each clone hears every hint that comes after it last waited; hints that come
/// while it does not wait are one when it does.
#[derive(Clone)]
pub struct Wakes {
    jobs: watch::Receiver<()>,
    deliveries: watch::Receiver<()>,
    replays: watch::Receiver<()>,
}

impl Wakes {
    /// Waits for a hint that jobs can be claimed.
    pub async fn jobs(&mut self) {
        changed(&mut self.jobs).await;
    }

    /// Waits for a hint that deliveries can be claimed.
    pub async fn deliveries(&mut self) {
        changed(&mut self.deliveries).await;
    }

    /// Waits for a hint that there is a replay to do.
    pub async fn replays(&mut self) {
        changed(&mut self.replays).await;
    }
}

/// Once the store is gone no hint comes any more; to return at once for ever would make a busy loop of that.
async fn changed(hints: &mut watch::Receiver<()>) {
    if hints.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl crate::Store {
    /// Where to wait for hints of work. Losing one is harmless to whoever polls as well.
    pub fn wakes(&self) -> Wakes {
        let inner = &self.wake.inner;
        Wakes {
            jobs: inner.jobs.here.subscribe(),
            deliveries: inner.deliveries.here.subscribe(),
            replays: inner.replays.here.subscribe(),
        }
    }
}
