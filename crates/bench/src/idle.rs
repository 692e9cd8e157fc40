//! What a service costs that has nothing to do: all its events wait for a retry in some hours.

use std::path::Path;
use std::time::Duration;

use domain::Clock as _;
use serde_json::{Value, json};

use crate::Outcome;
use crate::memory;
use crate::rows::{Rows, Waiting};
use crate::service::{self, Service, Setup};

/// Every statement is a line.
const LOG: &str = "sqlx::query=debug";
/// After the start, until what a start does is done.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

pub(crate) async fn measure(binary: &Path, retries: usize, during: Duration) -> Outcome<Value> {
    let folder = crate::scratch()?;
    let setup = Setup {
        binary: service::binary(binary)?,
        data_dir: folder.path().canonicalize()?.join("data"),
        log: LOG,
        settings: Vec::new(),
    };
    let listen = "127.0.0.1:0".parse()?;
    // The first start makes the folder, the tables and the master key.
    Service::start(&setup, listen).await?.stop().await?;
    let rows = Rows::of_service(&setup.data_dir).await?;
    let from = rows.clock().now().plus(Duration::from_secs(3600));
    let over = Duration::from_secs(20 * 3600);
    let webhook = "http://127.0.0.1:9876/webhook";
    rows.put(Waiting { count: retries, webhook, from, over, attempts: 1 }).await?;
    let pending = rows.pending().await?;
    rows.store.close().await;

    let service = Service::start(&setup, listen).await?;
    tokio::time::sleep(SETTLED_AFTER).await;
    let pid = service.pid().to_string();
    let family = memory::family_of(service.pid());
    let (sleeps, ticks, lines) =
        (sum(&family, memory::sleeps_of)?, memory::cpu_ticks_of(&pid)?, service.log().len());
    tokio::time::sleep(during).await;
    let log = service.log();
    let statements: Vec<&String> =
        log.iter().skip(lines).filter(|line| line.contains("sqlx::query")).collect();
    let of_deliveries = statements.iter().filter(|line| is_of_deliveries(line)).count();
    let seconds = during.as_secs_f64();
    let measured = json!({
        "pending": pending,
        "wakesPerSecond": (sum(&family, memory::sleeps_of)? - sleeps) as f64 / seconds,
        "queriesPerSecond": statements.len() as f64 / seconds,
        "deliveryQueriesPerSecond": of_deliveries as f64 / seconds,
        "cpuPercent": (memory::cpu_ticks_of(&pid)? - ticks) as f64 / seconds,
        "privateBytes": memory::private_bytes_of(&pid)?,
        "shareBytes": sum(&family, memory::share_of)?,
        "processes": family.len(),
    });
    service.stop().await?;
    Ok(measured)
}

fn is_of_deliveries(line: &str) -> bool {
    // The sweeper asks about deliveries too, but begins with jobs.
    (line.contains("FROM deliveries") || line.contains("endpoints")) && !line.contains("FROM jobs")
}

fn sum(family: &[String], of: impl Fn(&str) -> Outcome<u64>) -> Outcome<u64> {
    family.iter().map(|pid| of(pid)).sum()
}
