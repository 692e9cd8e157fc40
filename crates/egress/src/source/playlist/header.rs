//! Headers of fragmented mp4: whether another one describes the sound in the same way as the first.
//!
//! A demuxer reads one header. What comes after a break may have its own, which differs in dates and names more often
//! than in what matters.

/// What a decoder needs to know of one track of sound.
#[derive(Debug, PartialEq, Eq)]
struct Sound<'a> {
    track: &'a [u8],
    timescale: &'a [u8],
    coding: &'a [u8],
}

/// Whether media that belongs to `other` can follow on `first`.
pub(super) fn is_same_sound(first: &[u8], other: &[u8]) -> bool {
    first == other || matches!((sound(first), sound(other)), (Some(first), Some(other)) if first == other)
}

/// The tracks of sound; `None` where it is no header of an mp4, or has none.
fn sound(header: &[u8]) -> Option<Vec<Sound<'_>>> {
    let movie = child(header, b"moov")?;
    let tracks = boxes(movie).filter(|(name, _)| name == b"trak").map(|(_, body)| body);
    let sound: Vec<Sound<'_>> = tracks.filter_map(track).collect();
    (!sound.is_empty()).then_some(sound)
}

fn track(body: &[u8]) -> Option<Sound<'_>> {
    let media = child(body, b"mdia")?;
    let is_sound = child(media, b"hdlr")?.get(8..12)? == b"soun";
    let coding = child(child(child(media, b"minf")?, b"stbl")?, b"stsd")?;
    // Version 1 has dates of 8 bytes instead of 4 (ISO/IEC 14496-12, 8.3.2 and 8.4.2).
    let at = |full: &[u8]| if full.first() == Some(&1) { 20 } else { 12 };
    let (head, media_head) = (child(body, b"tkhd")?, child(media, b"mdhd")?);
    let (track, timescale) = (at(head), at(media_head));
    is_sound.then_some(Sound {
        track: head.get(track..track + 4)?,
        timescale: media_head.get(timescale..timescale + 4)?,
        coding,
    })
}

fn child<'a>(parent: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(parent).find(|(name, _)| name == wanted).map(|(_, body)| body)
}

/// The boxes that lie in these bytes, as far as they make sense.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (name, body) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?.checked_sub(8)?;
        let (body, rest) = body.split_at_checked(size)?;
        bytes = rest;
        Some((*name, body))
    })
}
