//! Rows of jobs to domain and back. A row that this version cannot have written is named, never a panic.

use std::time::Duration;

use domain::{
    BatchId, Completed, Failed, FailureCode, Fetched, InputFile, Job, JobId, JobState, KeyId, Percent,
    Priority, Processing, Progress, PublicFailure, Queued, Step, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::result_row::result_from_text;
use crate::spec_row::{from_text, spec_from_text, to_text};
use crate::sql::{Row, Unreadable};
use crate::vault::Vault;

/// The columns that [`job_from_row`] reads, of `jobs j` joined with its lease `l`.
macro_rules! select_job {
    ($rest:literal) => {
        concat!(
            "SELECT j.id, j.key_id, j.batch_id, j.spec, j.created_at, j.state, j.attempts, j.percent, j.input, ",
            "j.outcome, j.finished_at, j.expires_at, ",
            "COALESCE(l.fetched_bytes, j.fetched_bytes) AS fetched_bytes, ",
            "COALESCE(l.fetched_requests, j.fetched_requests) AS fetched_requests, ",
            "l.started_at, l.step, l.percent AS lease_percent, l.remaining ",
            "FROM jobs j LEFT JOIN job_leases l ON l.job_id = j.id ",
            $rest
        )
    };
}
pub(crate) use select_job;

#[derive(Serialize, Deserialize)]
struct InputRow {
    name: String,
    size: Option<u64>,
    duration_secs: Option<f64>,
    format: String,
}

#[derive(Serialize, Deserialize)]
struct FailureRow {
    code: String,
    message: String,
    details: Option<String>,
}

pub(crate) fn priority_number(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    }
}

pub(crate) fn input_to_text(input: &InputFile) -> Result<String, StoreError> {
    let InputFile { name, size, duration_secs, format } = input.clone();
    to_text(&InputRow { name, size, duration_secs, format })
}

pub(crate) fn failure_to_text(failure: &PublicFailure) -> Result<String, StoreError> {
    let PublicFailure { code, message, details } = failure.clone();
    to_text(&FailureRow { code: code.as_str().to_owned(), message, details })
}

/// Reads a job that [`select_job`] found.
pub(crate) fn job_from_row(row: &Row, vault: &Vault) -> Result<Job, StoreError> {
    let id: String = row.get("id")?;
    read_job(row, &id, vault).map_err(|Unreadable(reason)| StoreError::corrupt("jobs", &id, reason))
}

fn read_job(row: &Row, id: &str, vault: &Vault) -> Result<Job, Unreadable> {
    let id = JobId::parse(id).map_err(|_| Unreadable("column `id`: no job id".to_owned()))?;
    let batch: Option<String> = row.get("batch_id")?;
    let batch = batch.map(|text| BatchId::parse(&text)).transpose();
    let spec: String = row.get("spec")?;
    let spec = spec_from_text(&spec, &id, vault)?;
    Ok(Job {
        key: row.parse("key_id", KeyId::parse)?,
        batch: batch.map_err(|_| Unreadable("column `batch_id`: no batch id".to_owned()))?,
        spec,
        created_at: Timestamp::from_millis(row.get("created_at")?),
        attempts: row.number("attempts")?,
        input: input_from_row(row)?,
        fetched: fetched_from_row(row)?,
        state: state_from_row(row)?,
        id,
    })
}

fn input_from_row(row: &Row) -> Result<Option<InputFile>, Unreadable> {
    let Some(text) = row.get::<Option<String>>("input")? else { return Ok(None) };
    let InputRow { name, size, duration_secs, format } = from_text("input", &text)?;
    Ok(Some(InputFile { name, size, duration_secs, format }))
}

pub(crate) fn fetched_from_row(row: &Row) -> Result<Fetched, Unreadable> {
    Ok(Fetched { bytes: row.number("fetched_bytes")?, requests: row.number("fetched_requests")? })
}

fn state_from_row(row: &Row) -> Result<JobState, Unreadable> {
    let state: String = row.get("state")?;
    let percent = Percent::new(row.number("percent")?);
    match state.as_str() {
        "queued" => Ok(JobState::Queued(Queued { percent })),
        "processing" => Ok(JobState::Processing(processing_from_row(row)?)),
        "completed" => Ok(JobState::Completed(Completed {
            at: Timestamp::from_millis(row.get("finished_at")?),
            result: result_from_text(&row.get::<String>("outcome")?)?,
            expires_at: Timestamp::from_millis(row.get("expires_at")?),
        })),
        "failed" => {
            let FailureRow { code, message, details } = from_text("outcome", &row.get::<String>("outcome")?)?;
            let code = FailureCode::parse(&code)
                .ok_or_else(|| Unreadable("column `outcome`: no such failure code".to_owned()))?;
            Ok(JobState::Failed(Failed {
                at: Timestamp::from_millis(row.get("finished_at")?),
                failure: PublicFailure { code, message, details },
                percent,
            }))
        }
        _ => Err(Unreadable("column `state`: no such state".to_owned())),
    }
}

fn processing_from_row(row: &Row) -> Result<Processing, Unreadable> {
    let step: String = row.get("step")?;
    let step = Step::parse(&step).ok_or_else(|| Unreadable("column `step`: no such step".to_owned()))?;
    let remaining = match row.get::<Option<i64>>("remaining")? {
        Some(_) => Some(Duration::from_millis(row.number("remaining")?)),
        None => None,
    };
    Ok(Processing {
        started_at: Timestamp::from_millis(row.get("started_at")?),
        progress: Progress { step, percent: Percent::new(row.number("lease_percent")?), remaining },
    })
}
