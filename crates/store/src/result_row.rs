//! What a job made, as JSON in a column. Rows of our own, as in `spec_row`: a field that is added later is optional.

use domain::{LoudnessReport, MeasuredLoudness, MetadataPart, Method, ResultFile};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::spec_row::{from_text, to_text};
use crate::sql::Unreadable;

#[derive(Serialize, Deserialize)]
struct ResultRow {
    filename: String,
    location: String,
    size: u64,
    duration_secs: f64,
    bitrate_kbps: u32,
    method: String,
    sha256: String,
    #[serde(default)]
    sample_rate: u32,
    #[serde(default)]
    channels: u16,
    #[serde(default)]
    damaged_packets: u64,
    loudness: Option<ReportRow>,
    #[serde(default)]
    metadata_left_out: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReportRow {
    Unmeasurable,
    Normalized {
        before: MeasuredRow,
        after: MeasuredRow,
        gain_db: f64,
        limited_db: f64,
        shortfall_lu: f64,
        decoded_peak_dbtp: Option<f64>,
    },
}

#[derive(Serialize, Deserialize)]
struct MeasuredRow {
    integrated_lufs: f64,
    true_peak_dbtp: f64,
}

impl From<MeasuredLoudness> for MeasuredRow {
    fn from(measured: MeasuredLoudness) -> Self {
        let MeasuredLoudness { integrated_lufs, true_peak_dbtp } = measured;
        Self { integrated_lufs, true_peak_dbtp }
    }
}

impl From<MeasuredRow> for MeasuredLoudness {
    fn from(row: MeasuredRow) -> Self {
        let MeasuredRow { integrated_lufs, true_peak_dbtp } = row;
        Self { integrated_lufs, true_peak_dbtp }
    }
}

impl From<LoudnessReport> for ReportRow {
    fn from(report: LoudnessReport) -> Self {
        match report {
            LoudnessReport::Unmeasurable => Self::Unmeasurable,
            LoudnessReport::Normalized {
                before,
                after,
                gain_db,
                limited_db,
                shortfall_lu,
                decoded_peak_dbtp,
            } => Self::Normalized {
                before: before.into(),
                after: after.into(),
                gain_db,
                limited_db,
                shortfall_lu,
                decoded_peak_dbtp,
            },
        }
    }
}

impl From<ReportRow> for LoudnessReport {
    fn from(row: ReportRow) -> Self {
        match row {
            ReportRow::Unmeasurable => Self::Unmeasurable,
            ReportRow::Normalized { before, after, gain_db, limited_db, shortfall_lu, decoded_peak_dbtp } => {
                Self::Normalized {
                    before: before.into(),
                    after: after.into(),
                    gain_db,
                    limited_db,
                    shortfall_lu,
                    decoded_peak_dbtp,
                }
            }
        }
    }
}

/// Writes a result.
pub(crate) fn result_to_text(result: &ResultFile) -> Result<String, StoreError> {
    let result = result.clone();
    to_text(&ResultRow {
        filename: result.filename,
        location: result.location,
        size: result.size,
        duration_secs: result.duration_secs,
        bitrate_kbps: result.bitrate_kbps,
        method: result.method.as_str().to_owned(),
        sha256: result.sha256,
        sample_rate: result.sample_rate,
        channels: result.channels,
        damaged_packets: result.damaged_packets,
        loudness: result.loudness.map(ReportRow::from),
        metadata_left_out: result.metadata_left_out.iter().map(|part| part.as_str().to_owned()).collect(),
    })
}

/// Reads what [`result_to_text`] wrote.
pub(crate) fn result_from_text(text: &str) -> Result<ResultFile, Unreadable> {
    let row: ResultRow = from_text("outcome", text)?;
    let method = Method::parse(&row.method);
    Ok(ResultFile {
        filename: row.filename,
        location: row.location,
        size: row.size,
        duration_secs: row.duration_secs,
        bitrate_kbps: row.bitrate_kbps,
        method: method.ok_or_else(|| Unreadable("column `outcome`: no such method".to_owned()))?,
        sha256: row.sha256,
        sample_rate: row.sample_rate,
        channels: row.channels,
        damaged_packets: row.damaged_packets,
        loudness: row.loudness.map(LoudnessReport::from),
        metadata_left_out: row
            .metadata_left_out
            .iter()
            .filter_map(|part| MetadataPart::parse(part))
            .collect(),
    })
}
