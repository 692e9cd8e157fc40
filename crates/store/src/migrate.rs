//! Brings the tables to this version's shape, in one transaction that only one node runs at a time.

use domain::{EndpointId, KeyId, Receiver, WebUrl};

use crate::database::{Database, Tx};
use crate::error::StoreError;
use crate::sql::sql;
use crate::vault::Vault;

/// What was ever released, in order; a file that was released is never changed, only followed by another.
const MIGRATIONS: [&str; 15] = [
    include_str!("../migrations/0001_start.sql"),
    include_str!("../migrations/0002_endpoints.sql"),
    include_str!("../migrations/0003_sweeping.sql"),
    include_str!("../migrations/0004_uploads.sql"),
    include_str!("../migrations/0005_live.sql"),
    include_str!("../migrations/0006_fetched.sql"),
    include_str!("../migrations/0007_delivery_leases.sql"),
    include_str!("../migrations/0008_attempts.sql"),
    include_str!("../migrations/0009_pauses.sql"),
    include_str!("../migrations/0010_skipped.sql"),
    include_str!("../migrations/0011_replay_turns.sql"),
    include_str!("../migrations/0012_lines.sql"),
    include_str!("../migrations/0013_recovery.sql"),
    include_str!("../migrations/0014_probes.sql"),
    include_str!("../migrations/0015_delivery_queue.sql"),
];

/// The version that has endpoints: what there was before gets its own.
const ENDPOINTS: u32 = 2;

/// The lock's number among PostgreSQL's advisory locks: `audioext` in ASCII.
const LOCK: i64 = i64::from_be_bytes(*b"audioext");

/// Where in the `service` table the sealed word is by which a master key is recognised.
const MASTER_KEY_PROOF: &str = "service master_key_proof";

pub(crate) async fn migrate(database: &Database, vault: &Vault) -> Result<(), StoreError> {
    let mut tx = database.begin().await?;
    if let Tx::Postgres(_) = tx {
        tx.fetch(sql("SELECT pg_advisory_xact_lock($1)").bind(LOCK)).await?;
    }
    tx.script(sql(
        "CREATE TABLE IF NOT EXISTS service (version BIGINT NOT NULL, master_key_proof {bytes} NOT NULL)",
    ))
    .await?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = match tx.fetch_optional(sql("SELECT version, master_key_proof FROM service")).await? {
        Some(row) => {
            let proof: Vec<u8> = row.get("master_key_proof")?;
            vault.open(MASTER_KEY_PROOF, &proof).ok_or(StoreError::WrongMasterKey)?;
            row.number("version")?
        }
        None => {
            let proof = vault.seal(MASTER_KEY_PROOF, b"")?;
            let insert = sql("INSERT INTO service (version, master_key_proof) VALUES (0, $1)").bind(proof);
            tx.execute(insert).await?;
            0
        }
    };
    if found > known {
        return Err(StoreError::SchemaTooNew { found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        tx.script(sql(migration)).await?;
        if version == ENDPOINTS {
            fill_endpoints(&mut tx).await?;
        }
    }
    if found < known {
        tx.execute(sql("UPDATE service SET version = $1").bind(known)).await?;
    }
    tx.commit().await
}

/// Gives every delivery that was made before there were endpoints its own, on the tables of that version. Each may have
/// something due, as far as is known.
async fn fill_endpoints(tx: &mut Tx) -> Result<(), StoreError> {
    let select = sql("SELECT key_id, url, MIN(created_at) AS since FROM deliveries \
         WHERE endpoint_id IS NULL GROUP BY key_id, url");
    for row in tx.fetch(select).await? {
        let (key, url) = (row.parse("key_id", KeyId::parse)?, row.parse("url", WebUrl::parse)?);
        let id = EndpointId::of(&key, &url);
        let insert = sql("INSERT INTO endpoints \
             (id, key_id, receiver, url, state, changed_at, failures, is_probing, due_at) \
             VALUES ($1, $2, $3, $4, 'healthy', $5, 0, 0, $5)")
        .bind(id.as_str())
        .bind(key.as_str())
        .bind(Receiver::of(url.url()).as_str())
        .bind(url.as_written())
        .bind(row.get::<i64>("since")?);
        tx.execute(insert).await?;
        let update = sql("UPDATE deliveries SET endpoint_id = $1 WHERE key_id = $2 AND url = $3");
        tx.execute(update.bind(id.as_str()).bind(key.as_str()).bind(url.as_written())).await?;
    }
    Ok(())
}
