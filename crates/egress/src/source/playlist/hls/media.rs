//! Media playlists: the segments, one after another.

use std::ops::Range;
use std::sync::Arc;

use url::Url;

use super::super::error::PlaylistError;
use super::super::listing::{Bounds, Key, Listing, Role, Segment};
use super::super::place::{Place, resolve};
use super::attributes::Attributes;
use super::keys::{FetchedKey, Keys};

/// Lines that matter beside a segment's own, and of those before the first: more is not a playlist but a flood.
const MOST_LINES_A_SEGMENT: usize = 32;

/// What is in force for the segments that follow.
struct Reader<'a> {
    base: &'a Url,
    bounds: Bounds,
    segments: Vec<Segment>,
    duration_secs: f64,
    slack_secs: f64,
    has_breaks: bool,
    has_end: bool,
    /// The number of the next segment, from which comes its initialisation vector.
    sequence: u64,
    keys: Keys<'a>,
    header: Option<Segment>,
    /// Of the next segment alone.
    next: Next<'a>,
    /// Where the last part of a file ended.
    last_end: Option<(Url, u64)>,
}

/// What is said of the segment whose address follows.
#[derive(Default)]
struct Next<'a> {
    secs: Option<&'a str>,
    range: Option<&'a str>,
    is_gap: bool,
}

/// Reads a media playlist at `base`.
pub(super) fn parse(text: &str, base: &Url, bounds: Bounds) -> Result<Listing, PlaylistError> {
    let mut reader = Reader {
        base,
        bounds,
        segments: Vec::new(),
        duration_secs: 0.0,
        slack_secs: 0.0,
        has_breaks: false,
        has_end: false,
        sequence: 0,
        keys: Keys::default(),
        header: None,
        next: Next::default(),
        last_end: None,
    };
    let most_lines = bounds.max_segments.saturating_add(1).saturating_mul(MOST_LINES_A_SEGMENT);
    for (number, line) in text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        if number > most_lines {
            return Err(PlaylistError::Malformed("it has too many lines for its segments".to_owned()));
        }
        if line.starts_with('#') { reader.tag(line)? } else { reader.address(line)? }
    }
    if !reader.has_end {
        return Err(PlaylistError::Live);
    }
    if !reader.segments.iter().any(|segment| segment.role == Role::Media) {
        return Err(malformed("it has no segments"));
    }
    Ok(Listing {
        segments: reader.segments,
        duration_secs: reader.duration_secs,
        slack_secs: reader.slack_secs,
        has_breaks: reader.has_breaks,
        is_one_track: false,
    })
}

impl<'a> Reader<'a> {
    /// Tags that change nothing about the bytes are passed over, as RFC 8216, 6.3.1 has it.
    fn tag(&mut self, line: &'a str) -> Result<(), PlaylistError> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "#EXTINF" => self.next.secs = Some(value.split(',').next().unwrap_or_default().trim()),
            "#EXT-X-BYTERANGE" => self.next.range = Some(value.trim()),
            "#EXT-X-GAP" => self.next.is_gap = true,
            "#EXT-X-MEDIA-SEQUENCE" => {
                self.sequence = value.trim().parse().map_err(|_| unreadable("#EXT-X-MEDIA-SEQUENCE"))?;
            }
            "#EXT-X-DISCONTINUITY" => self.has_breaks |= !self.segments.is_empty(),
            "#EXT-X-ENDLIST" => self.has_end = true,
            "#EXT-X-KEY" => self.keys.put(&Attributes::parse(name, value)?, self.base)?,
            "#EXT-X-MAP" => self.header = Some(self.header_of(&Attributes::parse(name, value)?)?),
            "#EXT-X-I-FRAMES-ONLY" => return Err(PlaylistError::NoAudio),
            "#EXT-X-DEFINE" => {
                return Err(PlaylistError::Unsupported("variables (#EXT-X-DEFINE)".to_owned()));
            }
            "#EXT-X-SKIP" => {
                return Err(PlaylistError::Unsupported("delta updates (#EXT-X-SKIP)".to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    fn header_of(&self, attributes: &Attributes<'_>) -> Result<Segment, PlaylistError> {
        let unreadable = || unreadable("#EXT-X-MAP");
        let url = resolve(self.base, attributes.get("URI").ok_or_else(unreadable)?)?;
        let range = match attributes.get("BYTERANGE") {
            None => None,
            // Without an offset it begins where the file does.
            Some(range) => {
                let (length, offset) = parse_range(range).ok_or_else(unreadable)?;
                Some(span(offset.unwrap_or(0), length).ok_or_else(unreadable)?)
            }
        };
        let key = match self.keys.in_force()? {
            None => None,
            // A header has no number to take it from.
            Some(FetchedKey { iv: None, .. }) => {
                return Err(malformed("its header is encrypted without an initialisation vector"));
            }
            Some(FetchedKey { url, iv: Some(iv) }) => Some(Key { url: Arc::clone(url), iv: *iv }),
        };
        Ok(Segment { role: Role::Header, place: Place { url, range }, key, may_be_missing: false })
    }

    fn address(&mut self, line: &str) -> Result<(), PlaylistError> {
        let next = std::mem::take(&mut self.next);
        let secs = next.secs.ok_or_else(|| malformed("a segment has no duration"))?;
        let url = resolve(self.base, line)?;
        let range = next.range.map(|range| self.range_of(&url, range)).transpose()?;
        let sequence = self.sequence;
        self.sequence = sequence.saturating_add(1);
        self.count(secs, next.is_gap)?;
        if next.is_gap {
            return Ok(());
        }
        if let Some(header) = self.header.take() {
            // Many say it again after each break.
            let last = self.segments.iter().rev().find(|segment| segment.role == Role::Header);
            if last != Some(&header) {
                self.segments.push(header);
            }
        }
        let key = self.keys.in_force()?.map(|FetchedKey { url, iv }| {
            let iv = iv.unwrap_or(u128::from(sequence).to_be_bytes());
            Key { url: Arc::clone(url), iv }
        });
        self.segments.push(Segment {
            role: Role::Media,
            place: Place { url, range },
            key,
            may_be_missing: false,
        });
        self.bounds.check(self.segments.len())
    }

    fn range_of(&mut self, url: &Url, range: &str) -> Result<Range<u64>, PlaylistError> {
        let unreadable = || unreadable("#EXT-X-BYTERANGE");
        let (length, offset) = parse_range(range).ok_or_else(unreadable)?;
        let after = self.last_end.as_ref().filter(|(last, _)| last == url).map(|(_, end)| *end);
        let start = offset.or(after).ok_or_else(|| malformed("a byte range does not say where it begins"))?;
        let range = span(start, length).ok_or_else(unreadable)?;
        self.last_end = Some((url.clone(), range.end));
        Ok(range)
    }

    fn count(&mut self, secs: &str, is_gap: bool) -> Result<(), PlaylistError> {
        let duration: f64 = secs.parse().map_err(|_| unreadable("#EXTINF"))?;
        // A day in one segment is more than anybody cuts.
        if !(0.0..=86_400.0).contains(&duration) {
            return Err(unreadable("#EXTINF"));
        }
        self.duration_secs += duration;
        if is_gap {
            // It is not there, and says so. Its time is, unless the list begins, ends or breaks with it.
            self.slack_secs += duration;
        } else if !secs.contains('.') {
            // Before version 3 of the protocol durations are rounded to whole seconds.
            self.slack_secs += duration.min(0.5);
        }
        Ok(())
    }
}

/// `length[@offset]`
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.split_once('@') {
        None => Some((text.parse().ok()?, None)),
        Some((length, offset)) => Some((length.parse().ok()?, Some(offset.parse().ok()?))),
    }
}

fn span(start: u64, length: u64) -> Option<Range<u64>> {
    let end = start.checked_add(length)?;
    (length > 0).then_some(start..end)
}

fn malformed(what: &str) -> PlaylistError {
    PlaylistError::Malformed(what.to_owned())
}

fn unreadable(tag: &str) -> PlaylistError {
    PlaylistError::Malformed(format!("its tag {tag} cannot be read"))
}

#[cfg(test)]
mod tests;
