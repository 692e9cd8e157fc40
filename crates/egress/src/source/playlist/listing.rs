//! What a playlist comes down to: segments in order, and how long they are together.

use std::sync::Arc;

use domain::{Playlist, PlaylistKind};
use url::Url;

use super::super::SourceConfig;
use super::error::PlaylistError;
use super::place::Place;

/// What a segment is to the demuxer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What comes before the media: an mp4's or webm's header.
    Header,
    /// Media.
    Media,
}

/// What a segment is encrypted with: AES-128 in CBC, padded by PKCS #7 (RFC 8216, 4.3.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Most segments of a playlist share one.
    pub(super) url: Arc<Url>,
    pub(super) iv: [u8; 16],
}

/// Bytes that come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) role: Role,
    pub(super) place: Place,
    pub(super) key: Option<Key>,
    /// Whether it is only thought to be there: all is well if its host has none.
    pub(super) may_be_missing: bool,
}

/// A resolved playlist.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) segments: Vec<Segment>,
    pub(super) duration_secs: f64,
    /// By how much the sum may be too large: its numbers may be rounded, and gaps may leave no trace in the media.
    pub(super) slack_secs: f64,
    /// Whether the clock starts anew between two segments.
    pub(super) has_breaks: bool,
    /// Whether the track that is wanted was chosen by the playlist.
    pub(super) is_one_track: bool,
}

impl Listing {
    /// What the extractor is told of it.
    pub(super) fn playlist(&self, kind: PlaylistKind, is_stream: bool) -> Playlist {
        Playlist {
            kind,
            duration_secs: self.duration_secs,
            slack_secs: self.slack_secs,
            is_stream,
            has_breaks: self.has_breaks,
            is_one_track: self.is_one_track,
        }
    }
}

/// How much a playlist may list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_segments: usize,
}

impl Bounds {
    pub(super) fn of(config: &SourceConfig) -> Self {
        Self { max_segments: config.max_segments }
    }

    /// Whether there may be so many.
    pub(super) fn check(self, segments: usize) -> Result<(), PlaylistError> {
        let max = self.max_segments;
        if segments > max { Err(PlaylistError::TooMany { max }) } else { Ok(()) }
    }
}
