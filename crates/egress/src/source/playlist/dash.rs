//! MPEG-DASH (ISO/IEC 23009-1): a manifest has periods, a period has adaptation sets (the tracks), a set has
//! representations (the qualities), and each says in one of four ways where its segments are.

mod choice;
mod manifest;
mod segments;
mod template;
mod time;

use quick_xml::Reader;
use quick_xml::events::Event;
use url::Url;

use self::choice::Chosen;
use self::manifest::{Manifest, Period};
use self::segments::Found;
use super::Reading;
use super::error::PlaylistError;
use super::listing::Listing;
use super::place::resolve as resolve_url;

/// Whether this is how a manifest begins; `None` while there is no element in it.
pub(super) fn is_manifest(head: &[u8]) -> Option<bool> {
    if !head.trim_ascii_start().starts_with(b"<") {
        return Some(false);
    }
    let mut reader = Reader::from_reader(head);
    loop {
        match reader.read_event() {
            Ok(Event::Start(root)) => return Some(root.local_name().as_ref() == b"MPD"),
            Ok(Event::Empty(_) | Event::End(_)) => return Some(false),
            // As a comment that is cut off reads.
            Ok(Event::Eof) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// What a manifest comes down to.
pub(super) enum Resolved {
    /// Segments.
    Listing(Listing),
    /// One whole file, with an index of its own.
    File { url: Url, listing: Listing },
}

/// The segments of the audio that is wanted, over all periods.
pub(super) async fn resolve(reading: &Reading<'_>, text: String) -> Result<Resolved, PlaylistError> {
    let bounds = reading.bounds;
    // A large one takes longer than others should have to wait.
    let parsing = tokio::task::spawn_blocking(move || manifest::parse(&text, bounds));
    let manifest = parsing.await.map_err(|_| manifest::unreadable())??;
    if manifest.is_dynamic() {
        return Err(PlaylistError::Live);
    }
    let base = beneath(&reading.fetcher.location(), &manifest.base_urls)?;
    let mut listing = Listing {
        segments: Vec::new(),
        duration_secs: 0.0,
        slack_secs: 0.0,
        has_breaks: manifest.periods.len() > 1,
        is_one_track: true,
    };
    let lengths = lengths(&manifest)?;
    let (mut codecs, mut file) = (None, None);
    for (period, secs) in manifest.periods.iter().zip(lengths) {
        let chosen = choice::choose(period, reading.wanted)?;
        if *codecs.get_or_insert(chosen.codecs()) != chosen.codecs() {
            return Err(PlaylistError::Recoded);
        }
        listing.is_one_track &= chosen.is_one_track;
        let base = address(&base, period, &chosen)?;
        match segments::find(&chosen.levels(period), &chosen.terms(), &base, secs, reading.bounds)? {
            Found::Segments { segments, secs, slack_secs } => {
                listing.segments.extend(segments);
                reading.bounds.check(listing.segments.len())?;
                listing.duration_secs += secs;
                listing.slack_secs += slack_secs;
            }
            Found::File => {
                listing.duration_secs += secs.unwrap_or(0.0);
                file = Some(base);
            }
        }
    }
    match file {
        None if listing.segments.is_empty() => Err(PlaylistError::Malformed("it has no segments".to_owned())),
        None => Ok(Resolved::Listing(listing)),
        Some(url) if manifest.periods.len() == 1 => Ok(Resolved::File { url, listing }),
        Some(_) => Err(PlaylistError::Unsupported("several periods of one file each".to_owned())),
    }
}

/// The first of the base addresses of each level (5.6.4), one beneath the other.
fn address(base: &Url, period: &Period, chosen: &Chosen<'_>) -> Result<Url, PlaylistError> {
    let base = beneath(base, &period.base_urls)?;
    let base = beneath(&base, &chosen.set.base_urls)?;
    beneath(&base, &chosen.representation.base_urls)
}

fn beneath(base: &Url, references: &[String]) -> Result<Url, PlaylistError> {
    references.first().map_or_else(|| Ok(base.clone()), |reference| resolve_url(base, reference.trim()))
}

/// Seconds of each period, where they can be known (5.3.2.1).
fn lengths(manifest: &Manifest) -> Result<Vec<Option<f64>>, PlaylistError> {
    let secs = |text: &Option<String>| text.as_deref().map(time::parse).transpose();
    let whole = secs(&manifest.duration)?;
    let mut lengths = Vec::new();
    let mut start = 0.0;
    for (index, period) in manifest.periods.iter().enumerate() {
        start = secs(&period.start)?.unwrap_or(start);
        let next = match manifest.periods.get(index + 1) {
            Some(next) => secs(&next.start)?,
            None => whole,
        };
        let length = secs(&period.duration)?.or(next.map(|next| next - start));
        let length = length.filter(|length| *length >= 0.0);
        start += length.unwrap_or(0.0);
        lengths.push(length);
    }
    Ok(lengths)
}
