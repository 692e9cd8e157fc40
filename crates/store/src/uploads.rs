//! Files that customers send: admitted and appended to. How long they stay is in `upload_retention`.
//!
//! Bytes are put into the file store first, under a name that nobody else uses, and count once they are appended here.
//! Of several that append at one place, one finds the upload where it left it; so nobody holds a lock while bytes
//! come, and any node goes on where another left off.

use domain::{FileId, Filename, KeyId, Timestamp, Upload, UploadState};

use crate::database::Tx;
use crate::error::StoreError;
use crate::sql::{Row, Unreadable, sql};
use crate::{Store, millis};

/// The most parts of one upload: with parts of 512 KiB still the 5 GB of the largest source.
const MAX_PARTS: u64 = 10_000;

/// What one key may hold in uploads, whole ones and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadBounds {
    /// How many.
    pub max_files: u64,
    /// Bytes together, those included that are announced and still to come.
    pub max_bytes: u64,
}

/// A part that the file store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPart {
    /// Where.
    pub location: String,
    /// Bytes.
    pub size: u64,
}

/// What is to be appended to an upload.
#[derive(Debug, Clone)]
pub struct Addition<'a> {
    /// Whose upload.
    pub key: &'a KeyId,
    /// Which.
    pub id: &'a FileId,
    /// Where it must stand: the bytes that it has.
    pub at: u64,
    /// The bytes from there on, in order.
    pub parts: &'a [UploadPart],
    /// The whole length, where it becomes known with this.
    pub length: Option<u64>,
    /// When it goes if nothing follows.
    pub expires_at: Timestamp,
}

/// What came of an addition; what is not [`Self::Accepted`] changed nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    /// The bytes are the upload's, which now is this.
    Accepted(Upload),
    /// It stands elsewhere: somebody else has appended, or it is complete.
    Moved(Upload),
    /// There are more bytes than its length, or another length is known.
    OtherLength(Upload),
    /// The key holds as much as it may.
    NoRoom,
    /// The upload would have more parts than one may.
    TooManyParts {
        /// How many that is.
        max: u64,
    },
    /// There is no such upload any more.
    Gone,
}

macro_rules! select_upload {
    ($rest:literal) => {
        concat!(
            "SELECT id, key_id, name, metadata, state, length, received, parts, expires_at, is_used FROM uploads ",
            $rest
        )
    };
}
pub(crate) use select_upload;

impl Store {
    /// Begins an upload, if its key may hold one more of its length. Uploads that begin at the same moment may each
    /// find room for themselves, so that the bounds may be passed by as many as a node has connections.
    pub async fn create_upload(
        &self,
        upload: &Upload,
        bounds: &UploadBounds,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin().await?;
        let (files, bytes) = held(&mut tx, &upload.key).await?;
        if files >= bounds.max_files
            || bytes.saturating_add(upload.length.unwrap_or_default()) > bounds.max_bytes
        {
            return Ok(false);
        }
        let state = if upload.length == Some(0) { "complete" } else { "receiving" };
        let insert = sql("INSERT INTO uploads (id, key_id, name, metadata, state, length, received, parts, \
             created_at, expires_at, is_used) VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7, $8, 0)")
        .bind(upload.id.as_str())
        .bind(upload.key.as_str())
        .bind(upload.name.as_ref().map(Filename::as_written))
        .bind(upload.metadata.as_deref())
        .bind(state)
        .bind(upload.length.map(number).transpose()?)
        .bind(millis(now))
        .bind(millis(upload.expires_at));
        tx.execute(insert).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// An upload of this key, also one that is remembered as gone.
    pub async fn upload(
        &self,
        key: &KeyId,
        id: &FileId,
        now: Timestamp,
    ) -> Result<Option<Upload>, StoreError> {
        let select = sql(select_upload!("WHERE id = $1 AND key_id = $2"));
        let row = self.database.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        row.map(|row| upload_from_row(&row, now)).transpose()
    }

    /// Appends what the file store has, if the upload still stands where it is to be appended.
    pub async fn append_upload(
        &self,
        addition: &Addition<'_>,
        bounds: &UploadBounds,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        let mut tx = self.database.begin().await?;
        let appended = try_append(&mut tx, addition, bounds, now).await?;
        match &appended {
            Appended::Accepted(_) => tx.commit().await?,
            _ => tx.undo().await?,
        }
        Ok(appended)
    }

    /// Where the bytes of a complete upload are, in order; `None` if it is not there or not complete.
    pub(crate) async fn upload_parts(&self, id: &FileId) -> Result<Option<Vec<UploadPart>>, StoreError> {
        let select =
            sql("SELECT p.location, p.size FROM uploads u LEFT JOIN upload_parts p ON p.upload_id = u.id \
             WHERE u.id = $1 AND u.state = 'complete' ORDER BY p.first_byte");
        let rows = self.database.fetch(select.bind(id.as_str())).await?;
        let mut parts = Vec::with_capacity(rows.len());
        for row in &rows {
            // An upload without bytes is a row without a part.
            if let Some(location) = row.get::<Option<String>>("location")? {
                parts.push(UploadPart { location, size: row.number("size")? });
            }
        }
        Ok((!rows.is_empty()).then_some(parts))
    }
}

async fn try_append(
    tx: &mut Tx,
    addition: &Addition<'_>,
    bounds: &UploadBounds,
    now: Timestamp,
) -> Result<Appended, StoreError> {
    let select = sql(select_upload!("WHERE id = $1 AND key_id = $2 {for_update}"));
    let select = select.bind(addition.id.as_str()).bind(addition.key.as_str());
    let Some(row) = tx.fetch_optional(select).await? else { return Ok(Appended::Gone) };
    let mut upload = upload_from_row(&row, now)?;
    match upload.state {
        UploadState::Gone => return Ok(Appended::Gone),
        UploadState::Complete => return Ok(Appended::Moved(upload)),
        UploadState::Receiving if upload.received != addition.at => return Ok(Appended::Moved(upload)),
        UploadState::Receiving => {}
    }
    let size: u64 = addition.parts.iter().map(|part| part.size).sum();
    let length = upload.length.or(addition.length);
    let received = upload.received.saturating_add(size);
    if length.is_some_and(|length| received > length)
        || addition.length.is_some_and(|given| length != Some(given))
    {
        return Ok(Appended::OtherLength(upload));
    }
    let parts: u64 = row.number("parts")?;
    let parts_after = parts.saturating_add(addition.parts.len() as u64);
    if parts_after > MAX_PARTS {
        return Ok(Appended::TooManyParts { max: MAX_PARTS });
    }
    // What was announced was reserved when it was.
    let unreserved = if upload.length.is_some() { 0 } else { length.unwrap_or(received) - upload.received };
    if unreserved > 0 && !has_room(tx, addition, unreserved, bounds).await? {
        return Ok(Appended::NoRoom);
    }
    insert_parts(tx, addition).await?;
    upload.state = if length == Some(received) { UploadState::Complete } else { UploadState::Receiving };
    (upload.length, upload.received, upload.expires_at) = (length, received, addition.expires_at);
    let update = sql("UPDATE uploads SET state = $1, length = $2, received = $3, parts = $4, \
             expires_at = $5 WHERE id = $6")
    .bind(if upload.state == UploadState::Complete { "complete" } else { "receiving" })
    .bind(length.map(number).transpose()?)
    .bind(number(received)?)
    .bind(number(parts_after)?)
    .bind(millis(addition.expires_at))
    .bind(addition.id.as_str());
    tx.execute(update).await?;
    Ok(Appended::Accepted(upload))
}

/// How many uploads a key has, and bytes in them.
async fn held(tx: &mut Tx, key: &KeyId) -> Result<(u64, u64), StoreError> {
    let select = sql("SELECT COUNT(*) AS files, \
         CAST(COALESCE(SUM(COALESCE(length, received)), 0) AS BIGINT) AS bytes FROM uploads \
         WHERE key_id = $1 AND state IN ('receiving', 'complete')");
    let row = tx.fetch_optional(select.bind(key.as_str())).await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.number("files")?, row.number("bytes")?)))
}

async fn has_room(
    tx: &mut Tx,
    addition: &Addition<'_>,
    bytes: u64,
    bounds: &UploadBounds,
) -> Result<bool, StoreError> {
    let (_, held) = held(tx, addition.key).await?;
    Ok(held.saturating_add(bytes) <= bounds.max_bytes)
}

async fn insert_parts(tx: &mut Tx, addition: &Addition<'_>) -> Result<(), StoreError> {
    let mut first_byte = addition.at;
    for part in addition.parts {
        let insert =
            sql("INSERT INTO upload_parts (upload_id, first_byte, size, location) VALUES ($1, $2, $3, $4)")
                .bind(addition.id.as_str())
                .bind(number(first_byte)?)
                .bind(number(part.size)?)
                .bind(part.location.as_str());
        tx.execute(insert).await?;
        first_byte += part.size;
    }
    Ok(())
}

fn number(count: u64) -> Result<i64, StoreError> {
    i64::try_from(count).map_err(|_| StoreError::Defect(format!("{count} bytes are beyond what a row takes")))
}

pub(crate) fn upload_from_row(row: &Row, now: Timestamp) -> Result<Upload, StoreError> {
    let id: String = row.get("id")?;
    read_upload(row, &id, now).map_err(|Unreadable(reason)| StoreError::corrupt("uploads", &id, reason))
}

fn read_upload(row: &Row, id: &str, now: Timestamp) -> Result<Upload, Unreadable> {
    let name = row.get::<Option<String>>("name")?.map(|name| Filename::parse(&name)).transpose();
    let expires_at = Timestamp::from_millis(row.get("expires_at")?);
    let is_used = row.get::<i64>("is_used")? == 1;
    let state = match row.get::<String>("state")?.as_str() {
        // The sweep comes later; that it will is enough.
        "receiving" | "complete" if !is_used && expires_at <= now => UploadState::Gone,
        "receiving" => UploadState::Receiving,
        "complete" => UploadState::Complete,
        "gone" | "swept" => UploadState::Gone,
        _ => return Err(Unreadable("column `state`: no such state".to_owned())),
    };
    let length = row.get::<Option<i64>>("length")?.map(|_| row.number("length")).transpose()?;
    Ok(Upload {
        id: FileId::parse(id).map_err(|_| Unreadable("column `id`: no file id".to_owned()))?,
        key: row.parse("key_id", KeyId::parse)?,
        name: name.map_err(|_| Unreadable("column `name`: no name".to_owned()))?,
        metadata: row.get("metadata")?,
        state,
        length,
        received: row.number("received")?,
        expires_at,
    })
}
