//! What lasts: rows in SQLite or PostgreSQL, and files in a folder or an object store.
//!
//! Each operation is one method of [`Store`] and, where it writes, one transaction; it is written once for both
//! databases, in SQL that both understand (`sql` names the few places where they differ). No transaction waits for
//! anything but the database. Secrets are sealed before they reach a row (`vault`).
//!
//! Never in here: HTTP servers, libav, the JSON of the API, decisions about what should happen next.
//!
//! Start with `migrations/` (the tables), then [`queue`] (who works on what) and [`finish`] (the
//! transaction in which a job ends), then [`endpoints`], [`due`] and [`deliveries`]; [`uploads`] stand by
//! themselves.

pub mod database;
pub mod deliveries;
mod delivery_queue;
pub mod due;
pub mod endpoints;
pub mod error;
pub mod files;
pub mod finish;
pub mod folder;
mod health;
mod interrupted;
mod job_leases;
pub mod jobs;
pub mod keys;
pub mod listing;
pub mod live;
mod migrate;
pub mod page;
pub mod queue;
mod record;
pub mod replays;
pub mod result_row;
mod retention;
mod row;
mod rows;
pub mod signing;
mod spec_row;
mod sql;
pub mod upload_retention;
pub mod upload_source;
pub mod uploads;
pub mod vault;
pub mod wake;

use domain::Timestamp;

pub use database::{DatabaseLimits, DatabaseUrl, MalformedDatabaseUrl};
pub use due::{Due, DueEndpoint, Line};
pub use error::StoreError;
pub use files::{FileBody, FileStore};
pub use finish::{Ending, EventDraft, Finish};
pub use folder::{DataDirLock, free_bytes};
pub use jobs::{Idempotency, QueueDepth, Submission, Submitted};
pub use keys::NewKey;
pub use listing::{DeliveryFilter, DeliverySummary, RecordedDelivery};
pub use live::Announced;
pub use page::{Cursor, MalformedCursor, Page};
pub use record::Next;
pub use replays::{MAX_REPLAYS, ReplayFilter, ReplayProgress, Replayed};
pub use upload_retention::Deletion;
pub use upload_source::UploadSources;
pub use uploads::{Addition, Appended, UploadBounds, UploadPart};
pub use vault::{MalformedMasterKey, MasterKey};
pub use wake::Wakes;

use database::Database;
use sql::sql;
use vault::Vault;
use wake::Wake;

/// The rows. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    database: Database,
    vault: Vault,
    wake: Wake,
}

impl Store {
    /// Opens the database with the default [`DatabaseLimits`]. Call [`Store::migrate`] before anything else.
    pub async fn connect(url: &DatabaseUrl, master_key: MasterKey) -> Result<Self, StoreError> {
        Self::connect_with(url, master_key, &DatabaseLimits::default()).await
    }

    /// Opens the database. On SQLite the file is made if it is not there.
    pub async fn connect_with(
        url: &DatabaseUrl,
        master_key: MasterKey,
        limits: &DatabaseLimits,
    ) -> Result<Self, StoreError> {
        let database = Database::connect(url, limits).await?;
        let wake = Wake::start(&database);
        Ok(Self { database, vault: Vault::new(&master_key), wake })
    }

    /// Brings the tables to this version's shape and checks that the master key is the one that the secrets in
    /// the database were sealed with. Any number of nodes may do this at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::migrate(&self.database, &self.vault).await
    }

    /// Asks the database for a sign of life: an error is what `/readyz` should show.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database.fetch(sql("SELECT 1 AS one")).await.map(drop)
    }

    /// Waits for the statements under way and closes the connections. Everything after that is
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.wake.stop();
        self.database.close().await;
    }

    /// Whether this is the embedded database, of which one process is the only user.
    pub fn is_embedded(&self) -> bool {
        matches!(self.database, Database::Sqlite { .. })
    }
}

/// A time as a column has it: milliseconds since the epoch.
fn millis(at: Timestamp) -> i64 {
    at.as_millis()
}

/// A duration as a column has it: milliseconds, saturating.
fn duration_millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
