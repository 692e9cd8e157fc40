//! How long an upload stays: used by jobs, deleted by its owner, swept, and forgotten.
//!
//! Whoever ends an upload locks it first and asks then whether a job needs it; whoever submits such a job locks it too.
//! So a job gets its file or is refused, whenever the sweep comes.

use std::time::Duration;

use domain::{FileId, KeyId, SourceSpec, Timestamp, UploadState};

use crate::database::Tx;
use crate::error::StoreError;
use crate::jobs::{Submission, Submitted};
use crate::sql::sql;
use crate::uploads::{select_upload, upload_from_row};
use crate::{Store, millis};

/// What came of deleting an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone for everybody, and its files go at the next sweep.
    Deleted,
    /// A job that has not ended names it.
    InUse,
    /// There is none, or none any more.
    NotThere,
}

impl Store {
    /// Deletes an upload of this key that no job needs any more.
    pub async fn delete_upload(
        &self,
        key: &KeyId,
        id: &FileId,
        now: Timestamp,
    ) -> Result<Deletion, StoreError> {
        let mut tx = self.database.begin().await?;
        let select = sql(select_upload!("WHERE id = $1 AND key_id = $2 {for_update}"));
        let found = tx.fetch_optional(select.bind(id.as_str()).bind(key.as_str())).await?;
        let found = found.map(|row| upload_from_row(&row, now)).transpose()?;
        if found.is_none_or(|upload| upload.state == UploadState::Gone) {
            tx.undo().await?;
            return Ok(Deletion::NotThere);
        }
        if begin_end(&mut tx, id.as_str(), now).await? {
            tx.commit().await?;
            return Ok(Deletion::Deleted);
        }
        tx.undo().await?;
        Ok(Deletion::InUse)
    }

    /// Uploads whose files are to be deleted now: those that expired unused, those whose last job has ended, and
    /// those that are gone already. From here on no job can name them; what a crash leaves in between is taken again.
    pub async fn take_uploads(&self, now: Timestamp, limit: usize) -> Result<Vec<FileId>, StoreError> {
        let mut tx = self.database.begin().await?;
        let select = sql("SELECT u.id, u.state FROM uploads u \
             WHERE (u.is_used = 1 OR (u.is_used = 0 AND u.expires_at <= $1)) AND NOT EXISTS \
                 (SELECT 1 FROM jobs j WHERE j.upload_id = u.id AND j.finished_at IS NULL) \
             ORDER BY u.expires_at LIMIT $2 {skip_locked}");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut taken = Vec::new();
        for row in tx.fetch(select.bind(millis(now)).bind(limit)).await? {
            let state: String = row.get("state")?;
            let id = row.parse("id", FileId::parse)?;
            // Asked again under the lock: a job may have named it since the statement above began.
            if matches!(state.as_str(), "gone" | "swept") || begin_end(&mut tx, id.as_str(), now).await? {
                taken.push(id);
            }
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Notes that the files of these uploads are deleted. That they were there is remembered for `keep`. Their files
    /// are then deleted once more, for the sake of a part that was on its way the first time, and they are forgotten.
    pub async fn mark_uploads_swept(
        &self,
        uploads: &[FileId],
        now: Timestamp,
        keep: Duration,
    ) -> Result<(), StoreError> {
        if uploads.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for id in uploads {
            // Another node may have noted it for the first time a moment ago: that is remembered.
            let forget = sql("DELETE FROM uploads WHERE id = $1 AND state = 'swept' AND expires_at <= $2");
            tx.execute(forget.bind(id.as_str()).bind(millis(now))).await?;
            tx.execute(sql("DELETE FROM upload_parts WHERE upload_id = $1").bind(id.as_str())).await?;
            let update = sql("UPDATE uploads SET state = 'swept', expires_at = $1 WHERE id = $2");
            tx.execute(update.bind(millis(now.plus(keep))).bind(id.as_str())).await?;
        }
        tx.commit().await
    }
}

/// Marks the uploads that these jobs name as used, so that they stay until the last of the jobs has ended. What came
/// of the submission, if one cannot be used.
pub(crate) async fn use_uploads(
    tx: &mut Tx,
    key: &KeyId,
    submission: &Submission,
    now: Timestamp,
) -> Result<Option<Submitted>, StoreError> {
    let named = submission.jobs.iter().enumerate().filter_map(|(position, job)| match &job.spec.source {
        SourceSpec::Upload { file, .. } => Some((file, position)),
        SourceSpec::Url { .. } => None,
    });
    let mut named: Vec<_> = named.collect();
    // In the order of their names, so that two submissions never wait for each other.
    named.sort();
    for (file, position) in named {
        let update = sql("UPDATE uploads SET is_used = 1 WHERE id = $1 AND key_id = $2 \
             AND state = 'complete' AND (is_used = 1 OR expires_at > $3)");
        let update = update.bind(file.as_str()).bind(key.as_str()).bind(millis(now));
        if tx.execute(update).await? == 0 {
            let select = sql(select_upload!("WHERE id = $1 AND key_id = $2"));
            let row = tx.fetch_optional(select.bind(file.as_str()).bind(key.as_str())).await?;
            let upload = row.map(|row| upload_from_row(&row, now)).transpose()?;
            return Ok(Some(Submitted::Unusable { position, upload }));
        }
    }
    Ok(None)
}

/// Begins the end of an upload that the transaction has locked, unless a job that has not ended names it.
async fn begin_end(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let update = sql("UPDATE uploads SET state = 'gone', expires_at = $1, is_used = 0 WHERE id = $2 \
         AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.upload_id = uploads.id AND j.finished_at IS NULL)");
    Ok(tx.execute(update.bind(millis(now)).bind(id)).await? == 1)
}
