//! `audio-extract doctor`: whether this machine can run the service, and what to do where it cannot.

use std::path::Path;

use clap::Args;
use domain::Clock as _;

use super::{Stop, block_on, print};
use crate::boot::{self, Rows};
use crate::clock::SystemClock;
use crate::config::{Flags, Settings, for_serving};

/// 2026-01-01T00:00:00Z in milliseconds: before this program was written, so no right clock shows it.
const CLOCK_FLOOR_MILLIS: i64 = 1_767_225_600_000;

#[derive(Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    flags: Flags,
}

/// Prints each finding and counts what is wrong.
#[derive(Default)]
struct Findings {
    wrong: usize,
}

impl Findings {
    fn good(&mut self, what: &str, detail: &str) -> Result<(), Stop> {
        print(&format!("ok     {what}: {detail}"))
    }

    fn bad(&mut self, what: &str, reason: &str, remedy: &str) -> Result<(), Stop> {
        self.wrong += 1;
        print(&format!("WRONG  {what}: {reason}. {remedy}"))
    }
}

pub(super) fn run(args: DoctorArgs) -> Result<(), Stop> {
    let settings = Settings::load(&args.flags)?;
    block_on(async move {
        let mut findings = Findings::default();
        configuration(&settings, &mut findings)?;
        clock(&mut findings)?;
        sandbox(&settings, &mut findings).await?;
        if let Some(rows) = database(&settings, &mut findings).await? {
            file_store(&settings, &rows, &mut findings).await?;
            disk(&settings, rows.dir.path(), &mut findings)?;
            rows.store.close().await;
        }
        match findings.wrong {
            0 => Ok(()),
            1 => Err(Stop::Failed("one thing is wrong".to_owned())),
            wrong => Err(Stop::Failed(format!("{wrong} things are wrong"))),
        }
    })
}

fn configuration(settings: &Settings, findings: &mut Findings) -> Result<(), Stop> {
    match for_serving(settings) {
        Ok(()) => findings.good("configuration", "serve would take it"),
        Err(cause) => findings.bad("configuration", &cause.to_string(), "Correct the setting"),
    }
}

fn clock(findings: &mut Findings) -> Result<(), Stop> {
    if SystemClock.now().as_millis() >= CLOCK_FLOOR_MILLIS {
        return findings.good("clock", "plausible");
    }
    let remedy = "Set it, and keep it right with NTP: webhook signatures carry the time";
    findings.bad("clock", "it shows a time before this program was made", remedy)
}

/// That libav can be loaded at all is seen by the zygote having started.
async fn sandbox(settings: &Settings, findings: &mut Findings) -> Result<(), Stop> {
    let supervisor = match boot::supervisor(settings, boot::Extractions::One).await {
        Ok(supervisor) => supervisor,
        Err(Stop::Failed(reason) | Stop::Usage(reason)) => {
            let remedy = "Run on Linux 5.13 or later, with Landlock and seccomp not switched off by a container profile";
            return findings.bad("sandbox", &reason, remedy);
        }
    };
    findings.good("libraries", "libav is loaded and the sandbox has all its walls")?;
    for check in media::checks(&supervisor).await {
        let what = format!("sandbox, {}", check.name);
        if check.holds {
            findings.good(&what, &check.detail)?;
        } else {
            findings.bad(&what, &check.detail, "Do not run jobs of strangers here")?;
        }
    }
    Ok(())
}

async fn database(settings: &Settings, findings: &mut Findings) -> Result<Option<Rows>, Stop> {
    let opened = match boot::open_rows(settings).await {
        Ok(rows) => rows.store.ping().await.map(|()| rows).map_err(Stop::from),
        Err(stop) => Err(stop),
    };
    match opened {
        Ok(rows) => {
            let kind = if rows.store.is_embedded() { "SQLite in the data folder" } else { "PostgreSQL" };
            findings.good("database", &format!("{kind} answers and has this version's schema"))?;
            Ok(Some(rows))
        }
        Err(Stop::Failed(reason) | Stop::Usage(reason)) => {
            findings.bad("database", &reason, "Check database_url, data_dir and master_key")?;
            Ok(None)
        }
    }
}

/// Writes, reads and deletes a real file: permissions often differ between the three.
async fn file_store(settings: &Settings, rows: &Rows, findings: &mut Findings) -> Result<(), Stop> {
    const PROBE: &str = "doctor";
    let tried = async {
        let files = boot::open_files(settings, &rows.dir)?;
        files.ping().await?;
        let local = rows.dir.path().join(format!(".doctor-{}", std::process::id()));
        std::fs::write(&local, b"probe").map_err(|cause| Stop::Failed(cause.to_string()))?;
        let put = files.put(&format!("{PROBE}/probe"), &local).await;
        std::fs::remove_file(&local).map_err(|cause| Stop::Failed(cause.to_string()))?;
        put?;
        let size = files.head(&format!("{PROBE}/probe")).await?;
        files.delete_prefix(PROBE).await?;
        if size == 5 { Ok(()) } else { Err(Stop::Failed(format!("5 bytes were put, {size} are there"))) }
    };
    match tried.await {
        Ok(()) => findings.good("file store", "a file was put, found and deleted"),
        Err(Stop::Failed(reason) | Stop::Usage(reason)) => findings.bad(
            "file store",
            &reason,
            "Check storage_url, its credentials and the folder's permissions",
        ),
    }
}

fn disk(settings: &Settings, folder: &Path, findings: &mut Findings) -> Result<(), Stop> {
    match store::free_bytes(folder) {
        Ok(free) if free >= settings.min_free_bytes => {
            findings.good("disk", &format!("{} MB free in the data folder", free / 1_000_000))
        }
        Ok(free) => findings.bad(
            "disk",
            &format!("{} MB free in the data folder, less than min_free_bytes", free / 1_000_000),
            "Free some, or new work waits",
        ),
        Err(cause) => findings.bad("disk", &cause.to_string(), "Check data_dir"),
    }
}
