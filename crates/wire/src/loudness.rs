//! What normalising did, as status and the command line show it.

use domain::{LoudnessReport, MeasuredLoudness};
use serde::Serialize;

/// `outputFile.loudness`: LUFS, dBTP, dB and LU, each to a hundredth. A field that does not apply is absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoudnessResponse {
    /// False where it could not be measured and was left as it is.
    normalized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Measured>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gain: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shortfall: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decoded_true_peak: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    loudness: f64,
    true_peak: f64,
}

impl From<MeasuredLoudness> for Measured {
    fn from(measured: MeasuredLoudness) -> Self {
        Self {
            loudness: hundredths(measured.integrated_lufs),
            true_peak: hundredths(measured.true_peak_dbtp),
        }
    }
}

impl From<LoudnessReport> for LoudnessResponse {
    fn from(report: LoudnessReport) -> Self {
        match report {
            LoudnessReport::Unmeasurable => Self {
                normalized: false,
                before: None,
                after: None,
                gain: None,
                limited: None,
                shortfall: None,
                decoded_true_peak: None,
                reason: Some("silence, or less than 400 ms of sound, has no loudness; it was left as it is"),
            },
            LoudnessReport::Normalized {
                before,
                after,
                gain_db,
                limited_db,
                shortfall_lu,
                decoded_peak_dbtp,
            } => Self {
                normalized: true,
                before: Some(before.into()),
                after: Some(after.into()),
                gain: Some(hundredths(gain_db)),
                limited: Some(hundredths(limited_db)),
                shortfall: Some(hundredths(shortfall_lu)),
                decoded_true_peak: decoded_peak_dbtp.map(hundredths),
                reason: None,
            },
        }
    }
}

/// Also turns -0 into 0.
fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0 + 0.0
}
