//! How the service starts, runs and stops.
//!
//! Started: the data folder is locked, the database migrated, every wall of the sandbox seen to stand, and only then
//! is anything claimed or answered. Stopped by SIGTERM or SIGINT: nothing new is taken, what runs may go on for
//! `drain_timeout`, the rest is handed back. A second signal ends the process at once; leases see to what it held.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock as _, NodeId, Scopes};
use engine::CancellationToken;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};

use crate::boot::{self, Node, Rows};
use crate::cli::Stop;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::http::serve::{ServeConfig, UnreadConfig};
use crate::http::{self};
use crate::keys::{self, ShownKey};

/// How much longer than `drain_timeout` the parts may take to hand back and close.
const CLOSING: Duration = Duration::from_secs(5);
/// How long the database's connections may take to close. One on which a statement hangs never does.
const CLOSING_STORE: Duration = Duration::from_secs(2);
/// How often metrics forget what nobody reads any more.
const METRICS_UPKEEP: Duration = Duration::from_secs(30);
/// The exit code of a process that was stopped by force, as a shell says it of SIGINT.
const FORCED: i32 = 130;

/// Runs the service until it is told to stop.
pub(crate) async fn serve(settings: Settings) -> Result<(), Stop> {
    let stop = CancellationToken::new();
    let signals = stop_on_signal(stop.clone())?;
    let cannot = |cause| Stop::Failed(format!("cannot listen on {}: {cause}", settings.listen));
    let listener = TcpListener::bind(settings.listen).await.map_err(cannot)?;
    let listening = listener.local_addr().map_err(cannot)?;
    let metrics = start_metrics()?;

    let (_lock, rows) = boot::lock_and_open_rows(&settings).await?;
    warn_of_what_is_not_shared(&settings, &rows);
    let scratch = rows.dir.fresh_scratch()?;
    let node = Node {
        files: boot::open_files(&settings, &rows.dir)?,
        egress: boot::egress(&settings, scratch.clone())?,
        links: boot::links(&settings, listening, &rows)?,
        id: NodeId::from_random(engine::random_id()),
        clock: Arc::new(SystemClock),
        scratch,
        rows,
        settings,
    };
    // After everything that the settings can get wrong: a start that fails leaves no key behind.
    prepare_keys(&node.settings, &node.rows).await?;

    let mut parts = JoinSet::new();
    if node.settings.role.has_worker() {
        start_worker(&node, &mut parts, &stop).await?;
    }
    start_http(&node, listener, metrics, &mut parts, &stop);
    tracing::info!(address = %listening, role = ?node.settings.role, node = %node.id, "listening");

    let outcome = run(&mut parts, &stop, node.settings.drain_timeout + CLOSING).await;
    if tokio::time::timeout(CLOSING_STORE, node.rows.store.close()).await.is_err() {
        tracing::warn!("the database does not answer; its connections are cut off");
    }
    signals.abort();
    outcome
}

/// Extraction, delivery and sweeping.
async fn start_worker(
    node: &Node,
    parts: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) -> Result<(), Stop> {
    let supervisor = boot::supervisor(&node.settings, boot::Extractions::Many).await?;
    let (extract, deliver, sweep) = (node.extract_loop(supervisor), node.deliver_loop(), node.sweep_loop());
    if node.rows.store.is_embedded() {
        // The data folder is locked, so whoever held a lease is gone. Nobody asks for a status before that shows.
        node.rows.store.release_everything().await?;
        sweep.leases().await?;
    }
    let stop = || stop.clone();
    let (for_extract, for_deliver, for_sweep) = (stop(), stop(), stop());
    parts.spawn(async move {
        extract.run(for_extract).await;
        "extraction"
    });
    parts.spawn(async move {
        deliver.run(for_deliver).await;
        "delivery"
    });
    parts.spawn(async move {
        sweep.run(for_sweep).await;
        "sweeping"
    });
    let (replay, for_replay) = (node.replay_loop(), stop());
    parts.spawn(async move {
        replay.run(for_replay).await;
        "replaying"
    });
    Ok(())
}

/// The API, or on a node without it what the operator's probes need.
fn start_http(
    node: &Node,
    listener: TcpListener,
    metrics: PrometheusHandle,
    parts: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
) {
    let settings = &node.settings;
    let config = ServeConfig {
        max_connections: settings.max_connections,
        header_read_timeout: settings.header_read_timeout,
        write_stall_timeout: settings.write_stall_timeout,
        unread: UnreadConfig {
            rest_bytes: settings.rest_bytes,
            rest_timeout: settings.rest_timeout,
            linger_bytes: settings.linger_bytes,
            linger_pause: settings.linger_pause,
            linger_timeout: settings.linger_timeout,
        },
        drain_timeout: settings.drain_timeout,
    };
    let upkeep = metrics.clone();
    let api = Arc::new(node.api(metrics, stop.clone()));
    let router = if settings.role.has_api() { http::router(api) } else { http::operator_router(api) };
    let for_http = stop.clone();
    parts.spawn(async move {
        http::serve::serve(listener, router, config, for_http).await;
        "HTTP"
    });
    let for_upkeep = stop.clone();
    parts.spawn(async move {
        while tokio::time::timeout(METRICS_UPKEEP, for_upkeep.cancelled()).await.is_err() {
            upkeep.run_upkeep();
        }
        "metrics"
    });
}

/// Waits for the stop and then, for a bounded time, for the parts. A part that ends by itself is a defect: the
/// process ends too, so that whoever supervises it starts a whole one.
async fn run(
    parts: &mut JoinSet<&'static str>,
    stop: &CancellationToken,
    patience: Duration,
) -> Result<(), Stop> {
    let early = tokio::select! {
        // In this order: a part that ended because of the stop did not end by itself.
        biased;
        () = stop.cancelled() => None,
        ended = parts.join_next() => ended,
    };
    stop.cancel();
    let drained = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, drained).await.is_err() {
        tracing::warn!("not everything ended in time; its leases will run out");
    }
    match early {
        Some(Ok(part)) => Err(Stop::Failed(format!("{part} ended by itself"))),
        Some(Err(cause)) => Err(Stop::Failed(format!("a part of the service broke: {cause}"))),
        None => {
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// Cancels at the first SIGTERM or SIGINT; at the second, ends the process.
pub(crate) fn stop_on_signal(stop: CancellationToken) -> Result<JoinHandle<()>, Stop> {
    let cannot = |cause| Stop::Failed(format!("signals cannot be heard: {cause}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(tokio::spawn(async move {
        for is_first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_first {
                stop.cancel();
                tracing::info!("stopping; a second signal ends it at once");
            }
        }
        std::process::exit(FORCED);
    }))
}

fn start_metrics() -> Result<PrometheusHandle, Stop> {
    // From a status that was in memory to the extraction of a day-long recording.
    const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| builder.install_recorder())
        .map_err(|cause| Stop::Failed(format!("metrics: {cause}")))
}

/// What one node keeps in its own folder is not on the others, which then cannot read what it has sealed or stored.
fn warn_of_what_is_not_shared(settings: &Settings, rows: &Rows) {
    if rows.store.is_embedded() {
        return;
    }
    let folder = rows.dir.path().display();
    if settings.master_key.is_none() {
        tracing::warn!(%folder, "the master key is in this node's own folder; set master_key on all nodes");
    }
    if settings.storage_url.is_none() {
        tracing::warn!(%folder, "results are in this node's own folder; set storage_url on all nodes");
    }
}

/// Puts the key that the settings give in its place, and sees to it that there is a key at all.
async fn prepare_keys(settings: &Settings, rows: &Rows) -> Result<(), Stop> {
    if !settings.role.has_api() {
        return Ok(());
    }
    let (store, now) = (&rows.store, SystemClock.now());
    if let (Some(api_key), Some(secret)) = (&settings.api_key, &settings.webhook_secret) {
        let configured = keys::configured(api_key.clone(), secret.clone(), now)?;
        if store.put_key(&configured, keys::OVERLAP, now).await? {
            tracing::info!("webhook_secret has changed; for 24 h the one before signs beside it");
        }
        return Ok(());
    }
    // One that an earlier start was given, and this one is not, is no longer good.
    store.revoke_key(&keys::configured_id(), now).await?;
    if store.keys().await?.iter().all(|key| key.id == keys::configured_id()) {
        make_first_key(rows).await?;
    }
    Ok(())
}

async fn make_first_key(rows: &Rows) -> Result<(), Stop> {
    let new = keys::new_key("first", Scopes::all(), SystemClock.now())?;
    let shown = serde_json::to_string_pretty(&ShownKey::from(&new))
        .map_err(|cause| Stop::Failed(format!("first key: {cause}")))?;
    // First the file: a key in the database that nobody has seen would be the last one ever made here.
    let path = rows.dir.write_first_key(format!("{shown}\n").as_bytes())?;
    rows.store.create_key(&new).await?;
    tracing::info!(path = %path.display(), "made the first API key; it is in this file");
    if std::io::stderr().is_terminal() {
        eprintln!("\nYour first API key and its webhook secret, also in {}:\n{shown}\n", path.display());
    }
    Ok(())
}
