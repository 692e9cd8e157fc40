//! What the source says of its sound in words and pictures, and how each format of a result says it.
//!
//! `read` takes it from the source, within bounds; `chapters` and `cover` are what is not plain text. `id3`, `vorbis`
//! and the table here are how it is written: mp3 and aac have an ID3v2.3 tag before the sound; ogg, opus and flac have
//! Vorbis comments and a picture block; wav has a LIST of INFO and, for what that cannot say, an `id3 ` chunk.

mod chapters;
mod cover;
mod id3;
mod read;
mod vorbis;

use std::ffi::{CStr, CString};

use domain::{AudioFormat, MetadataPart};

use self::chapters::Chapter;
use self::cover::Cover;
use super::ffi::AvError;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Title,
    Artist,
    Album,
    AlbumArtist,
    Composer,
    Genre,
    Track,
    Disc,
    Date,
    Comment,
    Language,
    Copyright,
}

/// What a text is called.
struct Names {
    field: Field,
    /// By libav, whichever the container; the first that is there counts.
    source: &'static [&'static CStr],
    /// The frame of ID3v2.3; dates and comments have more to them.
    id3: &'static str,
    vorbis: &'static str,
    /// In a LIST of INFO, where that has a name for it.
    riff: Option<&'static str>,
}

/// libav's names are those of the most common container each, so that some tags keep the name that theirs gave them.
#[rustfmt::skip] // a table is read by its columns
const FIELDS: [Names; 12] = [
    Names { field: Field::Title, source: &[c"title"], id3: "TIT2", vorbis: "TITLE", riff: Some("INAM") },
    Names { field: Field::Artist, source: &[c"artist", c"performer"], id3: "TPE1", vorbis: "ARTIST", riff: Some("IART") },
    Names { field: Field::Album, source: &[c"album", c"album/title"], id3: "TALB", vorbis: "ALBUM", riff: Some("IPRD") },
    Names { field: Field::AlbumArtist, source: &[c"album_artist", c"album/artist"], id3: "TPE2", vorbis: "ALBUMARTIST", riff: None },
    Names { field: Field::Composer, source: &[c"composer"], id3: "TCOM", vorbis: "COMPOSER", riff: None },
    Names { field: Field::Genre, source: &[c"genre"], id3: "TCON", vorbis: "GENRE", riff: Some("IGNR") },
    Names { field: Field::Track, source: &[c"track", c"part_number"], id3: "TRCK", vorbis: "TRACKNUMBER", riff: Some("IPRT") },
    Names { field: Field::Disc, source: &[c"disc"], id3: "TPOS", vorbis: "DISCNUMBER", riff: None },
    Names { field: Field::Date, source: &[c"date", c"date_released", c"date_recorded", c"year"], id3: "TRDA", vorbis: "DATE", riff: Some("ICRD") },
    Names { field: Field::Comment, source: &[c"comment", c"description"], id3: "COMM", vorbis: "DESCRIPTION", riff: Some("ICMT") },
    Names { field: Field::Language, source: &[c"language"], id3: "TLAN", vorbis: "LANGUAGE", riff: Some("ILNG") },
    Names { field: Field::Copyright, source: &[c"copyright"], id3: "TCOP", vorbis: "COPYRIGHT", riff: Some("ICOP") },
];

/// What is carried over.
#[derive(Default)]
pub(super) struct Tags {
    /// At most one of each field.
    texts: Vec<(&'static Names, String)>,
    chapters: Vec<Chapter>,
    cover: Option<Cover>,
    /// What was there, and is beyond a limit or of no kind that can be carried.
    left_out: Vec<MetadataPart>,
}

/// The same, where a format's file has it.
#[derive(Default)]
pub(super) struct Placed {
    /// Before the first byte of the muxer.
    pub(super) before: Vec<u8>,
    /// What the muxer writes: names and texts.
    pub(super) pairs: Vec<(CString, CString)>,
    /// The body of a FLAC metadata block.
    pub(super) picture_block: Option<Vec<u8>>,
    /// The body of a RIFF chunk of the name `id3 `, after the muxer's last.
    pub(super) id3_chunk: Option<Vec<u8>>,
}

impl Tags {
    /// How this format says it.
    pub(super) fn placed(&self, format: AudioFormat) -> Result<Placed, AvError> {
        if self.texts.is_empty() && self.chapters.is_empty() && self.cover.is_none() {
            return Ok(Placed::default());
        }
        let picture_block = self.cover.as_ref().map(vorbis::picture_block);
        Ok(match format {
            AudioFormat::Mp3 | AudioFormat::Aac => Placed { before: id3::encode(self)?, ..Placed::default() },
            AudioFormat::Wav => Placed {
                pairs: pairs(
                    self.texts.iter().filter_map(|(names, text)| Some((names.riff?, text.clone()))),
                )?,
                id3_chunk: Some(id3::encode(self)?),
                ..Placed::default()
            },
            AudioFormat::Flac => {
                Placed { pairs: pairs(vorbis::comments(self))?, picture_block, ..Placed::default() }
            }
            AudioFormat::Ogg | AudioFormat::Opus => {
                let picture = picture_block.map(|block| vorbis::picture_comment(&block));
                Placed { pairs: pairs(vorbis::comments(self).chain(picture))?, ..Placed::default() }
            }
        })
    }

    /// What could not be carried over.
    pub(super) fn left_out(&self) -> Vec<MetadataPart> {
        self.left_out.clone()
    }

    /// What the `id3 ` chunk of a wav says beside its INFO.
    pub(super) fn beside_info(&self) -> Vec<MetadataPart> {
        let has = [
            (MetadataPart::Tags, self.texts.iter().any(|(names, _)| names.riff.is_none())),
            (MetadataPart::Chapters, !self.chapters.is_empty()),
            (MetadataPart::Cover, self.cover.is_some()),
        ];
        has.into_iter().filter_map(|(part, is_there)| is_there.then_some(part)).collect()
    }

    fn leave_out(&mut self, part: MetadataPart) {
        if !self.left_out.contains(&part) {
            self.left_out.push(part);
        }
    }
}

/// As libav takes them. No text has a zero in it: see `read`.
fn pairs(
    texts: impl Iterator<Item = (impl Into<Vec<u8>>, String)>,
) -> Result<Vec<(CString, CString)>, AvError> {
    let pair = |(name, text): (_, String)| Ok((CString::new(name)?, CString::new(text)?));
    let pairs: Result<Vec<_>, std::ffi::NulError> = texts.map(pair).collect();
    pairs.map_err(|_| AvError::STOP)
}
