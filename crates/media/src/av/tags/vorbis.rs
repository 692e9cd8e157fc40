//! Vorbis comments, and the picture block of FLAC that they carry too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Tags;
use super::cover::Cover;

/// The picture on the front of the cover, in FLAC's and ID3's list.
const FRONT_COVER: u32 = 3;

/// Names and texts; a chapter is two of them (the Chapter Extension: `CHAPTER001=00:00:00.000`, `CHAPTER001NAME=…`).
pub(super) fn comments(tags: &Tags) -> impl Iterator<Item = (String, String)> {
    let texts = tags.texts.iter().map(|(names, text)| (names.vorbis.to_owned(), text.clone()));
    let chapters = tags.chapters.iter().enumerate().flat_map(|(index, chapter)| {
        let name = format!("CHAPTER{:03}", index + 1);
        let title = (format!("{name}NAME"), chapter.title.clone());
        [(name, clock(chapter.start_millis)), title]
    });
    texts.chain(chapters)
}

fn clock(millis: u64) -> String {
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", millis / 1000 % 60, millis % 1000)
}

/// The body of a picture block (RFC 9639, 8.8).
pub(super) fn picture_block(cover: &Cover) -> Vec<u8> {
    // What is read is limited to far less than 32 bits.
    let counted = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes(), bytes].concat();
    let no_palette: u32 = 0;
    [
        FRONT_COVER.to_be_bytes().to_vec(),
        counted(cover.mime_type.as_bytes()),
        counted(b""),
        [cover.width, cover.height, cover.depth, no_palette].map(u32::to_be_bytes).concat(),
        counted(&cover.bytes),
    ]
    .concat()
}

/// The same as a comment.
pub(super) fn picture_comment(block: &[u8]) -> (String, String) {
    ("METADATA_BLOCK_PICTURE".to_owned(), STANDARD.encode(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_time_has_hours_and_milliseconds() {
        for (millis, text) in
            [(0, "00:00:00.000"), (3_723_004, "01:02:03.004"), (360_000_000, "100:00:00.000")]
        {
            assert_eq!(clock(millis), text);
        }
    }
}
