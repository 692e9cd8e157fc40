//! Where the segments of one representation are.

use std::ops::Range;

use url::Url;

use super::super::error::PlaylistError;
use super::super::listing::{Bounds, Role, Segment};
use super::super::place::{Place, resolve};
use super::manifest::{Piece, SegmentInfo, Timeline};
use super::template::{Terms, fill};

/// A hair: what binary fractions of a second may be off by.
const HAIR: f64 = 1e-6;

/// What there is.
pub(super) enum Found {
    /// Segments, how long they are together, and by how much that may be too long.
    Segments { segments: Vec<Segment>, secs: f64, slack_secs: f64 },
    /// The file at the base address, as it is.
    File,
}

/// What is said of the segments, at several levels.
struct Said<'a> {
    levels: &'a [&'a SegmentInfo],
    terms: &'a Terms<'a>,
    base: &'a Url,
    period_secs: Option<f64>,
    bounds: Bounds,
}

/// When a segment begins, as its address may say, and how long it is.
struct Moment {
    number: u64,
    time: u64,
    /// Whether it is there only if what is wanted is as long as its period, which the longest of all tracks is.
    is_doubtful: bool,
}

/// Finds them. `levels` are those of one kind, the nearest first; `period_secs` is how long the period is.
pub(super) fn find(
    levels: &[&SegmentInfo],
    terms: &Terms<'_>,
    base: &Url,
    period_secs: Option<f64>,
    bounds: Bounds,
) -> Result<Found, PlaylistError> {
    let said = Said { levels, terms, base, period_secs, bounds };
    let (moments, secs, slack_secs) = said.moments()?;
    let mut segments: Vec<Segment> = said.header()?.into_iter().collect();
    if let Some(media) = said.first(|info| info.media.as_deref()) {
        for Moment { number, time, is_doubtful } in moments {
            let url = resolve(base, &fill(media, terms, number, time)?)?;
            segments.push(Segment { may_be_missing: is_doubtful, ..media_at(Place { url, range: None }) });
        }
    } else if let Some(pieces) = said.first(|info| Some(&info.pieces).filter(|pieces| !pieces.is_empty())) {
        bounds.check(pieces.len())?;
        for piece in pieces {
            segments.push(media_at(said.place(piece)?));
        }
    } else if said.first(|info| info.timeline.as_ref()).is_some()
        || said.first(|info| info.duration).is_some()
    {
        return Err(malformed("it does not say where its segments are"));
    } else {
        return Ok(Found::File);
    }
    Ok(Found::Segments { segments, secs, slack_secs })
}

fn media_at(place: Place) -> Segment {
    Segment { role: Role::Media, place, key: None, may_be_missing: false }
}

impl<'a> Said<'a> {
    /// What the nearest level says of something.
    fn first<T>(&self, of: impl Fn(&'a SegmentInfo) -> Option<T>) -> Option<T> {
        self.levels.iter().find_map(|info| of(info))
    }

    fn timescale(&self) -> f64 {
        self.first(|info| info.timescale).filter(|scale| *scale > 0).unwrap_or(1) as f64
    }

    fn header(&self) -> Result<Option<Segment>, PlaylistError> {
        let place = if let Some(template) = self.first(|info| info.header_template.as_deref()) {
            Place { url: resolve(self.base, &fill(template, self.terms, 0, 0)?)?, range: None }
        } else if let Some(piece) = self.first(|info| info.header.as_ref()) {
            self.place(piece)?
        } else {
            return Ok(None);
        };
        Ok(Some(Segment { role: Role::Header, place, key: None, may_be_missing: false }))
    }

    fn place(&self, piece: &Piece) -> Result<Place, PlaylistError> {
        let url =
            piece.url.as_deref().map_or_else(|| Ok(self.base.clone()), |url| resolve(self.base, url))?;
        let range = piece
            .range
            .as_deref()
            .map(|range| parse_range(range).ok_or_else(|| malformed("a range in it cannot be read")));
        Ok(Place { url, range: range.transpose()? })
    }

    /// Number and time of each segment, as far as they can be told without a list; their length in seconds together, and
    /// by how much that may be too long.
    fn moments(&self) -> Result<(Vec<Moment>, f64, f64), PlaylistError> {
        let start = self.first(|info| info.start_number).unwrap_or(1);
        if let Some(timeline) = self.first(|info| info.timeline.as_ref()) {
            return self.timeline(timeline, start);
        }
        let period_secs = self.period_secs.unwrap_or(0.0);
        let Some(duration) = self.first(|info| info.duration).filter(|duration| *duration > 0) else {
            return Ok((Vec::new(), period_secs, 0.0));
        };
        let secs = duration as f64 / self.timescale();
        let end_number = self.first(|info| info.end_number);
        let count = match end_number {
            Some(end) => end.saturating_sub(start).saturating_add(1),
            // What a list has, it counts itself.
            None if self.first(|info| info.media.as_ref()).is_none() => 0,
            None if self.period_secs.is_none() => return Err(malformed("it does not say how long it is")),
            None => (period_secs / secs - HAIR).ceil().max(1.0) as u64,
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.bounds.check(count)?;
        let moment = |index: usize| {
            let is_doubtful = end_number.is_none() && index > 0 && index + 1 == count;
            let index = index as u64;
            let (number, time) = (start.saturating_add(index), index.saturating_mul(duration));
            Moment { number, time, is_doubtful }
        };
        // The last one may be of any length, and the sound may end with the one before.
        Ok(((0..count).map(moment).collect(), period_secs, secs))
    }

    /// 5.3.9.6
    fn timeline(&self, timeline: &Timeline, start: u64) -> Result<(Vec<Moment>, f64, f64), PlaylistError> {
        let offset = self.first(|info| info.time_offset).unwrap_or(0);
        let scale = self.timescale();
        let (mut moments, mut time, mut ticks) = (Vec::new(), 0_u64, 0_f64);
        for (index, run) in timeline.runs.iter().enumerate() {
            time = run.time.unwrap_or(time);
            if run.duration == 0 {
                return Err(malformed("a segment in it has no length"));
            }
            let count = match u64::try_from(run.repeats) {
                Ok(repeats) => repeats.saturating_add(1),
                Err(_) => {
                    let next = timeline.runs.get(index + 1).map(|next| next.time);
                    let end = match (next, self.period_secs) {
                        (Some(Some(next)), _) => next as f64,
                        (None, Some(secs)) => offset as f64 + secs * scale,
                        _ => return Err(malformed("it does not say how often a segment is repeated")),
                    };
                    ((end - time as f64) / run.duration as f64 - HAIR).ceil().max(0.0) as u64
                }
            };
            let more = usize::try_from(count).unwrap_or(usize::MAX);
            self.bounds.check(moments.len().saturating_add(more))?;
            for _ in 0..more {
                let number = start.saturating_add(moments.len() as u64);
                moments.push(Moment { number, time, is_doubtful: false });
                time = time.saturating_add(run.duration);
            }
            ticks += count as f64 * run.duration as f64;
        }
        Ok((moments, ticks / scale, 0.0))
    }
}

/// `first-last`
fn parse_range(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

fn malformed(what: &str) -> PlaylistError {
    PlaylistError::Malformed(what.to_owned())
}
