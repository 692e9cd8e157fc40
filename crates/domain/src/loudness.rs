//! Loudness (EBU R 128, ITU-R BS.1770): what is asked for, and what came of it.

use crate::spec::{SpecError, SpecPart};

/// The target of loudness normalisation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Integrated loudness, LUFS (EBU R 128, ITU-R BS.1770).
    pub integrated_lufs: f64,
    /// The ceiling of the true peak, dBTP.
    pub true_peak_dbtp: f64,
}

impl Default for Loudness {
    /// -16 LUFS with a ceiling of -1 dBTP: what podcasts and streaming of speech use (AES TD1008).
    fn default() -> Self {
        Self { integrated_lufs: -16.0, true_peak_dbtp: -1.0 }
    }
}

impl Loudness {
    /// Checks a target; what is left out is the default's. The range is what libav's loudnorm and EBU R 128 tools have, with
    /// true peaks up to full scale.
    pub fn parse(integrated_lufs: Option<f64>, true_peak_dbtp: Option<f64>) -> Result<Self, SpecError> {
        let default = Self::default();
        let refuse = |field: &str, reason: &str| {
            Err(SpecError::new(SpecPart::Output, format!("output.normalize.{field}"), reason))
        };
        let integrated_lufs = integrated_lufs.unwrap_or(default.integrated_lufs);
        let true_peak_dbtp = true_peak_dbtp.unwrap_or(default.true_peak_dbtp);
        if !(-70.0..=-5.0).contains(&integrated_lufs) {
            return refuse("loudness", "takes -70 to -5 LUFS");
        }
        if !(-9.0..=0.0).contains(&true_peak_dbtp) {
            return refuse("truePeak", "takes -9 to 0 dBTP");
        }
        Ok(Self { integrated_lufs, true_peak_dbtp })
    }
}

/// How loud some sound is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredLoudness {
    /// Integrated loudness, LUFS.
    pub integrated_lufs: f64,
    /// The highest true peak of any channel, dBTP.
    pub true_peak_dbtp: f64,
}

/// What normalising did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoudnessReport {
    /// It cannot be measured (silence, or less than the 400 ms of one block), so it was left as it is.
    Unmeasurable,
    /// One gain for all of it, and a limiter where that would have passed the ceiling.
    Normalized {
        /// The source.
        before: MeasuredLoudness,
        /// The samples that the result was made of, before a lossy codec.
        after: MeasuredLoudness,
        /// The gain, dB.
        gain_db: f64,
        /// The most that the limiter took off at any place, dB; 0 where it had nothing to do.
        limited_db: f64,
        /// By how much the target was missed, LU; 0 where it was reached.
        shortfall_lu: f64,
        /// The true peak of a lossy result as a player decodes it, dBTP, where it was measured: codecs overshoot.
        decoded_peak_dbtp: Option<f64>,
    },
}
