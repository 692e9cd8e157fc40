//! API keys. What their webhooks are signed with is in `signing`.

use std::time::Duration;

use domain::{ApiKey, KeyId, Scopes, Secret, Timestamp};
use sha2::{Digest, Sha256};

use crate::database::Tx;
use crate::error::StoreError;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, millis};

/// A key with its secrets, which are shown to nobody again.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What everybody may know of it.
    pub key: ApiKey,
    /// What a request carries; 256 random bits.
    pub api_key: Secret,
    /// What events are signed with: `whsec_…`.
    pub webhook_secret: Secret,
}

fn hash(api_key: &Secret) -> Vec<u8> {
    Sha256::digest(api_key.expose().as_bytes()).to_vec()
}

impl Store {
    /// Writes a new key.
    pub async fn create_key(&self, new: &NewKey) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        let insert = sql("INSERT INTO keys (id, name, scopes, api_key_hash, created_at, revoked_at) \
             VALUES ($1, $2, $3, $4, $5, $6)");
        write_key(&mut tx, new, insert).await?;
        self.insert_signing_secret(&mut tx, new.key.id.as_str(), 1, &new.webhook_secret).await?;
        tx.commit().await
    }

    /// Writes a key that the configuration gives, at each start: new, or over what it was before. If its signing
    /// secret is another than before, what signed by now does so beside it for `overlap`; whether that was so. A key
    /// that was revoked is one again.
    pub async fn put_key(&self, new: &NewKey, overlap: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let id = new.key.id.as_str();
        let mut tx = self.database.begin().await?;
        let upsert = sql("INSERT INTO keys (id, name, scopes, api_key_hash, created_at, revoked_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             scopes = excluded.scopes, api_key_hash = excluded.api_key_hash, revoked_at = excluded.revoked_at");
        write_key(&mut tx, new, upsert).await?;
        let is_other = self.follow_secret(&mut tx, id, &new.webhook_secret, overlap, now).await?;
        tx.commit().await?;
        Ok(is_other)
    }

    /// Every key, revoked ones too, the oldest first.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        let select = sql("SELECT id, name, scopes, created_at, revoked_at FROM keys ORDER BY created_at, id");
        self.database.fetch(select).await?.iter().map(key_from_row).collect()
    }

    /// Makes a key good for nothing from now on. `false` if there is no such key or it was revoked before.
    pub async fn revoke_key(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let update = sql("UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL");
        Ok(self.database.execute(update.bind(millis(now)).bind(id.as_str())).await? == 1)
    }

    /// The key that this is the secret of, unless it was revoked.
    pub async fn authenticate(&self, api_key: &Secret) -> Result<Option<ApiKey>, StoreError> {
        let select = sql("SELECT id, name, scopes, created_at, revoked_at FROM keys \
             WHERE api_key_hash = $1 AND revoked_at IS NULL");
        let row = self.database.fetch_optional(select.bind(hash(api_key))).await?;
        row.as_ref().map(key_from_row).transpose()
    }
}

/// Runs a statement that writes a key's row, and gives it the counter of its events.
async fn write_key(
    tx: &mut Tx,
    new: &NewKey,
    statement: crate::sql::Statement<'_>,
) -> Result<(), StoreError> {
    let key = &new.key;
    let statement = statement
        .bind(key.id.as_str())
        .bind(key.name.as_str())
        .bind(key.scopes.to_text())
        .bind(hash(&new.api_key))
        .bind(millis(key.created_at))
        .bind(key.revoked_at.map(millis));
    tx.execute(statement).await?;
    let counter = sql("INSERT INTO event_counters (key_id, last_sequence) VALUES ($1, 0) \
         ON CONFLICT (key_id) DO NOTHING");
    tx.execute(counter.bind(key.id.as_str())).await.map(drop)
}

fn key_from_row(row: &Row) -> Result<ApiKey, StoreError> {
    let id: String = row.get("id")?;
    let read = || {
        Ok(ApiKey {
            id: row.parse("id", KeyId::parse)?,
            name: row.get("name")?,
            scopes: row.parse("scopes", Scopes::parse)?,
            created_at: Timestamp::from_millis(row.get("created_at")?),
            revoked_at: row.get::<Option<i64>>("revoked_at")?.map(Timestamp::from_millis),
        })
    };
    read().map_err(|Unreadable(reason)| StoreError::corrupt("keys", &id, reason))
}
