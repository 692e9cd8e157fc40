//! What a key's webhooks are signed with, sealed in the vault.

use std::time::Duration;

use domain::{KeyId, Secret, SecretHeader, SigningKeys, Timestamp};

use crate::database::Tx;
use crate::error::StoreError;
use crate::sql::{Row, sql};
use crate::{Store, millis};

/// Where a secret belongs, for the vault.
fn place(table: &str, key: &str, name: impl std::fmt::Display) -> String {
    format!("{table} {key} {name}")
}

impl Store {
    /// What a key's events are signed with by `now`: secrets that have expired are left out. That of a revoked key
    /// too: what it was promised is still delivered.
    pub async fn signing_keys(&self, key: &KeyId, now: Timestamp) -> Result<SigningKeys, StoreError> {
        let key = key.as_str();
        let secrets = sql("SELECT number, sealed FROM signing_secrets WHERE key_id = $1 \
             AND (expires_at IS NULL OR expires_at > $2) ORDER BY number DESC");
        let secrets = self.database.fetch(secrets.bind(key).bind(millis(now))).await?;
        let private =
            sql("SELECT number, sealed FROM private_keys WHERE key_id = $1 ORDER BY number DESC").bind(key);
        let private = self.database.fetch(private).await?;
        let header = sql("SELECT name, sealed FROM secret_headers WHERE key_id = $1").bind(key);
        let header = self.database.fetch_optional(header).await?;
        Ok(SigningKeys {
            secrets: self.open_numbered("signing_secrets", key, &secrets)?,
            private_keys: self.open_numbered("private_keys", key, &private)?,
            header: header.map(|row| self.open_header(key, &row)).transpose()?,
        })
    }

    /// Signs with this secret from now on, and for `overlap` with what signed before as well, so that a receiver
    /// can change over in its own time. `false`: there is no such key.
    pub async fn rotate_secret(
        &self,
        key: &KeyId,
        new: &Secret,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        if !lock_key(&mut tx, key).await? {
            return Ok(false);
        }
        self.follow_secret(&mut tx, key.as_str(), new, overlap, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Makes this the newest of a key's secrets, and has those before expire in `overlap`; whether there were any. The
    /// key's row is locked.
    ///
    /// Nothing changes if it is the newest. If it is one of those before it becomes the newest again, and is not there
    /// twice: as long as nodes of an old and of a new configuration start in turn, both sign.
    pub(crate) async fn follow_secret(
        &self,
        tx: &mut Tx,
        key: &str,
        new: &Secret,
        overlap: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let select = sql("SELECT number, sealed FROM signing_secrets WHERE key_id = $1 ORDER BY number DESC");
        let mut secrets = Vec::new();
        for row in tx.fetch(select.bind(key)).await? {
            secrets.push((row.get::<i64>("number")?, self.open_secret("signing_secrets", key, &row)?));
        }
        if secrets.first().is_some_and(|(_, newest)| newest == new) {
            return Ok(false);
        }
        for (number, _) in secrets.iter().filter(|(_, secret)| secret == new) {
            let delete = sql("DELETE FROM signing_secrets WHERE key_id = $1 AND number = $2");
            tx.execute(delete.bind(key).bind(*number)).await?;
        }
        let expired = sql("DELETE FROM signing_secrets WHERE key_id = $1 AND expires_at <= $2");
        tx.execute(expired.bind(key).bind(millis(now))).await?;
        // One that was to expire sooner does.
        let expire = sql("UPDATE signing_secrets SET expires_at = $1 \
             WHERE key_id = $2 AND (expires_at IS NULL OR expires_at > $1)");
        tx.execute(expire.bind(millis(now.plus(overlap))).bind(key)).await?;
        let number = secrets.first().map_or(1, |(number, _)| number + 1);
        self.insert_signing_secret(tx, key, number, new).await?;
        Ok(!secrets.is_empty())
    }

    /// Signs with this ed25519 key (`whsk_…`) too from now on. `false`: there is no such key.
    pub async fn add_private_key(&self, key: &KeyId, private_key: &Secret) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        if !lock_key(&mut tx, key).await? {
            return Ok(false);
        }
        let newest =
            sql("SELECT MAX(number) AS number FROM private_keys WHERE key_id = $1").bind(key.as_str());
        let newest: Option<i64> = match tx.fetch_optional(newest).await? {
            Some(row) => row.get("number")?,
            None => None,
        };
        let number = newest.unwrap_or(0) + 1;
        let place = place("private_keys", key.as_str(), number);
        let sealed = self.vault.seal(&place, private_key.expose().as_bytes())?;
        let insert = sql("INSERT INTO private_keys (key_id, number, sealed) VALUES ($1, $2, $3)");
        tx.execute(insert.bind(key.as_str()).bind(number).bind(sealed)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Signs with this ed25519 key no more. `false`: there is no such key, or it has no such private key.
    pub async fn remove_private_key(&self, key: &KeyId, private_key: &Secret) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        if !lock_key(&mut tx, key).await? {
            return Ok(false);
        }
        let select = sql("SELECT number, sealed FROM private_keys WHERE key_id = $1").bind(key.as_str());
        for row in tx.fetch(select).await? {
            if self.open_secret("private_keys", key.as_str(), &row)?.expose() != private_key.expose() {
                continue;
            }
            let delete = sql("DELETE FROM private_keys WHERE key_id = $1 AND number = $2");
            tx.execute(delete.bind(key.as_str()).bind(row.get::<i64>("number")?)).await?;
            tx.commit().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Sends this header with the key's webhooks, in place of the one from before, or none. `false`: there is no
    /// such key.
    pub async fn set_header(&self, key: &KeyId, header: Option<&SecretHeader>) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        if !lock_key(&mut tx, key).await? {
            return Ok(false);
        }
        tx.execute(sql("DELETE FROM secret_headers WHERE key_id = $1").bind(key.as_str())).await?;
        if let Some(header) = header {
            let place = place("secret_headers", key.as_str(), &header.name);
            let sealed = self.vault.seal(&place, header.value.expose().as_bytes())?;
            let insert = sql("INSERT INTO secret_headers (key_id, name, sealed) VALUES ($1, $2, $3)");
            tx.execute(insert.bind(key.as_str()).bind(header.name.as_str()).bind(sealed)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(crate) async fn insert_signing_secret(
        &self,
        tx: &mut Tx,
        key: &str,
        number: i64,
        secret: &Secret,
    ) -> Result<(), StoreError> {
        let sealed = self.vault.seal(&place("signing_secrets", key, number), secret.expose().as_bytes())?;
        let insert = sql("INSERT INTO signing_secrets (key_id, number, sealed) VALUES ($1, $2, $3)");
        tx.execute(insert.bind(key).bind(number).bind(sealed)).await.map(drop)
    }

    fn open_numbered(&self, table: &str, key: &str, rows: &[Row]) -> Result<Vec<Secret>, StoreError> {
        rows.iter().map(|row| self.open_secret(table, key, row)).collect()
    }

    fn open_secret(&self, table: &str, key: &str, row: &Row) -> Result<Secret, StoreError> {
        let number: i64 = row.get("number")?;
        self.open_sealed(table, key, &number.to_string(), row)
    }

    fn open_header(&self, key: &str, row: &Row) -> Result<SecretHeader, StoreError> {
        let name: String = row.get("name")?;
        Ok(SecretHeader { value: self.open_sealed("secret_headers", key, &name, row)?, name })
    }

    fn open_sealed(&self, table: &str, key: &str, name: &str, row: &Row) -> Result<Secret, StoreError> {
        let sealed: Vec<u8> = row.get("sealed")?;
        self.vault
            .open_text(&place(table, key, name), &sealed)
            .ok_or_else(|| StoreError::corrupt(table, &format!("{key} {name}"), "it does not open here"))
    }
}

/// Locks a key's row, so that two changes of its secrets follow each other; whether there is such a key.
async fn lock_key(tx: &mut Tx, key: &KeyId) -> Result<bool, StoreError> {
    let select = sql("SELECT id FROM keys WHERE id = $1 {for_update}").bind(key.as_str());
    Ok(tx.fetch_optional(select).await?.is_some())
}
