//! Loudness (EBU R 128, ITU-R BS.1770): what is asked for, and what came of it.

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
