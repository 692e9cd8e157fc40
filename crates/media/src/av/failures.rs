//! The failures that this room ends with, each with its sentence.

use domain::{Failure, FailureCode};

use super::ffi::AvError;

/// The parent answered that the source failed, or went away. It knows why and does not look at this.
pub(super) fn gone() -> Failure {
    Failure::transient(FailureCode::ExtractionFailed, "The source ended; submit the job again.")
}

/// Nothing that may be opened.
pub(super) fn not_media(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::InvalidVideo,
        "The source is not a video or audio file; check that the address leads to the file itself.",
    )
    .with_details(details)
}

/// Media once, but too much of it is missing or broken.
pub(super) fn damaged(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::InvalidVideo,
        "The file is damaged; upload it again and submit a new job.",
    )
    .with_details(details)
}

/// It stops before its own header says so.
pub(super) fn truncated(at_secs: f64, of_secs: f64) -> Failure {
    let said = |digits: usize| (format!("{at_secs:.digits$} s"), format!("{of_secs:.digits$} s"));
    // A tenth of a second hides what a few packets are.
    let (at, of) = Some(said(1)).filter(|(at, of)| at != of).unwrap_or_else(|| said(3));
    incomplete(format!("ends after {at} of {of}"))
}

/// It stops before anything could be read of it.
pub(super) fn incomplete(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::InvalidVideo,
        "The file is incomplete; upload it again and submit a new job.",
    )
    .with_details(details)
}

/// It stops in the middle of something, and nothing says where it should have ended.
pub(super) fn torn(at_secs: f64) -> Failure {
    incomplete(format!("ends after {at_secs:.1} s, in the middle of a packet"))
}

/// There is nothing to extract.
pub(super) fn no_audio(details: impl Into<String>) -> Failure {
    Failure::permanent(FailureCode::ExtractionFailed, "The file has no sound; send one with an audio track.")
        .with_details(details)
}

/// There is audio, but not the track that was asked for.
pub(super) fn no_such_track(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "The source has no such audio track; ask for one of those in the details, or leave `track` out.",
    )
    .with_details(details)
}

/// The part that was asked for begins where there is nothing.
pub(super) fn beyond_the_end(start_secs: f64, whole_secs: f64) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "The part that was asked for begins after the end of the source; give an earlier `start`.",
    )
    .with_details(format!("starts at {start_secs:.3} s, and the audio is {whole_secs:.3} s long"))
}

/// There is audio, but not for us.
pub(super) fn undecodable(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "The audio track cannot be decoded; convert it to a common codec or remove its protection.",
    )
    .with_details(details)
}

/// More than is allowed.
pub(super) fn over_limit(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "The audio is longer or larger than this service takes; send a shorter file.",
    )
    .with_details(details)
}

/// More parts than any real recording has.
pub(super) fn too_complex(details: impl Into<String>) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "The file has more parts than this service takes; send it with its picture and sound alone.",
    )
    .with_details(details)
}

/// libav was refused memory: what was asked for is beyond the limit, and will be the next time.
fn too_much_memory(what: &str) -> Failure {
    Failure::permanent(
        FailureCode::ExtractionFailed,
        "This video needs more memory than is allowed; send it in another container or codec.",
    )
    .with_details(format!("{what} needs more than is allowed"))
}

/// The result could not be made, and not for want of good input.
pub(super) fn internal(what: &str, cause: AvError) -> Failure {
    if cause == AvError::MEMORY {
        return too_much_memory(what);
    }
    Failure::transient(FailureCode::ExtractionFailed, "The audio could not be written; submit the job again.")
        .with_private(format!("{what}: {cause}"))
}

/// The result's file took no more: a full disk, most likely.
pub(super) fn unwritten(cause: &std::io::Error) -> Failure {
    Failure::transient(FailureCode::ExtractionFailed, "The audio could not be written; submit the job again.")
        .with_private(format!("the result's file: {cause}"))
}
