//! What can be wrong with a playlist, and what the customer is told about it.

use domain::FailureCode;

/// Why a playlist makes no source. Texts are the customer's details; they quote nothing of the playlist at length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaylistError {
    #[error("the playlist makes no sense: {0}")]
    Malformed(String),
    #[error("the playlist uses {0}, which is not taken")]
    Unsupported(String),
    #[error("the playlist is of a live stream, which has no end")]
    Live,
    #[error("the playlist is encrypted by {0}")]
    Encrypted(String),
    #[error("the playlist has more than {max_bytes} bytes")]
    TooLong { max_bytes: u64 },
    #[error("the playlist has more than {max} segments")]
    TooMany { max: usize },
    #[error("the playlist names an address of the scheme `{0}`; only http and https are reached")]
    Scheme(String),
    #[error("the playlist, which is on https, names an address on http")]
    Downgrade,
    #[error("the playlist has no audio")]
    NoAudio,
    #[error("the audio tracks are {0}")]
    NoSuchTrack(String),
    #[error("its key has not 16 bytes")]
    KeyLength,
    #[error("it cannot be decrypted by its key")]
    Undecryptable,
    #[error("its sound is coded in another way than before")]
    Recoded,
}

impl PlaylistError {
    pub(crate) fn code(&self) -> FailureCode {
        match self {
            Self::Malformed(_) | Self::Live | Self::KeyLength | Self::Undecryptable => {
                FailureCode::InvalidVideo
            }
            Self::Unsupported(_)
            | Self::Encrypted(_)
            | Self::NoAudio
            | Self::NoSuchTrack(_)
            | Self::Recoded => FailureCode::ExtractionFailed,
            Self::TooLong { .. } | Self::TooMany { .. } | Self::Scheme(_) | Self::Downgrade => {
                FailureCode::DownloadFailed
            }
        }
    }

    /// What to do.
    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "Check that the playlist plays, and submit the job again.",
            Self::Unsupported(_) => "Use a plainer playlist, or the video itself.",
            Self::Live => "Live streams are not taken; use the recording when it is complete.",
            Self::Encrypted(_) => "Use a source without protection.",
            Self::TooLong { .. } | Self::TooMany { .. } => "Use a shorter playlist, or the video itself.",
            Self::Scheme(_) | Self::Downgrade => "Use a playlist whose segments are reachable as it is.",
            Self::NoAudio => "The playlist has no sound; use one with audio.",
            Self::NoSuchTrack(_) => {
                "The source has no such audio track; ask for one of those in the details, or leave `track` out."
            }
            Self::KeyLength | Self::Undecryptable => {
                "Check that the playlist plays with its key, and submit the job again."
            }
            Self::Recoded => "Use a playlist whose sound is coded in one way throughout.",
        }
    }
}
