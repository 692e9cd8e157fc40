//! HTTP Live Streaming (RFC 8216): a master playlist names media playlists, a media playlist names segments.

mod attributes;
mod keys;
mod master;
mod media;

use domain::Failure;

use super::Reading;
use super::error::PlaylistError;
use super::listing::Listing;
use crate::source::error::FetchError;

/// Tags that are in master playlists alone.
const MASTER_TAGS: &[&str] = &["#EXT-X-STREAM-INF:", "#EXT-X-MEDIA:", "#EXT-X-I-FRAME-STREAM-INF:"];

/// The segments of the audio that is wanted. A master playlist leads to one media playlist, and no further.
pub(super) async fn resolve(reading: &Reading<'_>, text: &str) -> Result<Listing, Failure> {
    let told = |error: PlaylistError| FetchError::from(error).into_failure();
    let base = reading.fetcher.location();
    if !is_master(text) {
        return media::parse(text, &base, reading.bounds).map_err(told);
    }
    let chosen = master::parse(text).and_then(|master| master.choose(&base, reading.wanted)).map_err(told)?;
    let (text, base) = reading.follow(chosen.url).await?;
    if !text.starts_with("#EXTM3U") || is_master(&text) {
        return Err(told(PlaylistError::Malformed("what it names is no media playlist".to_owned())));
    }
    let listing = media::parse(&text, &base, reading.bounds).map_err(told)?;
    Ok(Listing { is_one_track: chosen.is_one_track, ..listing })
}

fn is_master(text: &str) -> bool {
    text.lines().any(|line| MASTER_TAGS.iter().any(|tag| line.starts_with(tag)))
}
