//! An ID3v2.3 tag: the version that every player reads.

use domain::language;
use id3::frame::{Chapter, Comment, Picture, PictureType, TableOfContents};
use id3::{Content, Encoder, Frame, Tag, TagLike as _, Version};

use super::super::ffi::AvError;
use super::{Field, Tags};

/// A byte offset that is not given (ID3v2 Chapter Frame Addendum, 3.1).
const NO_OFFSET: u32 = u32::MAX;
/// A language that is not known (ID3v2.3, 4.11).
const NO_LANGUAGE: &str = "XXX";

/// The whole tag.
pub(super) fn encode(tags: &Tags) -> Result<Vec<u8>, AvError> {
    let mut tag = Tag::new();
    let language = tags.texts.iter().find(|(names, _)| names.field == Field::Language);
    let language = language.and_then(|(_, said)| language::three_letters(said));
    for (names, text) in &tags.texts {
        match names.field {
            Field::Date => dates(text).into_iter().for_each(|(id, text)| tag.set_text(id, text)),
            Field::Comment => {
                let lang = language.as_deref().unwrap_or(NO_LANGUAGE).to_owned();
                tag.add_frame(Comment { lang, description: String::new(), text: text.clone() });
            }
            // It takes ISO 639-2 alone.
            Field::Language => language.iter().for_each(|language| tag.set_text(names.id3, language)),
            _ => tag.set_text(names.id3, text),
        }
    }
    if let Some(cover) = &tags.cover {
        tag.add_frame(Picture {
            mime_type: cover.mime_type.to_owned(),
            picture_type: PictureType::CoverFront,
            description: String::new(),
            data: cover.bytes.clone(),
        });
    }
    add_chapters(&mut tag, tags);
    let mut bytes = Vec::new();
    let encoded = Encoder::new().version(Version::Id3v23).encode(&tag, &mut bytes);
    encoded.map(|()| bytes).map_err(|_| AvError::STOP)
}

/// The year, the day and the minute have a frame each, in digits; any other date is a text.
fn dates(text: &str) -> Vec<(&'static str, String)> {
    let digits =
        |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let parts: Vec<&str> = day.split('-').collect();
    match parts[..] {
        [year] if digits(year, 4) => vec![("TYER", year.to_owned())],
        [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2) => {
            let minute = match time.split(':').collect::<Vec<_>>()[..] {
                [hour, minute, ..] => [hour, minute.get(..2).unwrap_or_default()].concat(),
                _ => String::new(),
            };
            let minute = Some(("TIME", minute)).filter(|(_, minute)| digits(minute, 4));
            [("TYER", year.to_owned()), ("TDAT", format!("{day}{month}"))].into_iter().chain(minute).collect()
        }
        [year, ..] if digits(year, 4) => vec![("TYER", year.to_owned()), ("TRDA", text.to_owned())],
        _ => vec![("TRDA", text.to_owned())],
    }
}

fn add_chapters(tag: &mut Tag, tags: &Tags) {
    let time = |millis: u64| u32::try_from(millis).unwrap_or(u32::MAX);
    let name = |index: usize| format!("chp{}", index + 1);
    for (index, chapter) in tags.chapters.iter().enumerate() {
        let title = Frame::with_content("TIT2", Content::Text(chapter.title.clone()));
        tag.add_frame(Chapter {
            element_id: name(index),
            start_time: time(chapter.start_millis),
            end_time: time(chapter.end_millis.unwrap_or(chapter.start_millis)),
            start_offset: NO_OFFSET,
            end_offset: NO_OFFSET,
            frames: if chapter.title.is_empty() { Vec::new() } else { vec![title] },
        });
    }
    if !tags.chapters.is_empty() {
        tag.add_frame(TableOfContents {
            element_id: "toc".to_owned(),
            top_level: true,
            ordered: true,
            elements: (0..tags.chapters.len()).map(name).collect(),
            frames: Vec::new(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_year_a_day_a_minute_or_a_text() {
        let both = |year: &str, day: &str| vec![("TYER", year.to_owned()), ("TDAT", day.to_owned())];
        assert_eq!(dates("2024-05-17"), both("2024", "1705"));
        for (text, minute) in
            [("2024-05-17T10:09:58Z", "1009"), ("2024-05-17 23:04", "2304"), ("2024-05-17T07:30Z", "0730")]
        {
            let expected = [both("2024", "1705"), vec![("TIME", minute.to_owned())]].concat();
            assert_eq!(dates(text), expected, "{text}");
        }
        for odd in ["2024-05-17T", "2024-05-17 noon", "2024-05-17T1:2", "2024-05-17Tab:cd", "2024-05-17T10:é"]
        {
            assert_eq!(dates(odd), both("2024", "1705"), "{odd}");
        }
        assert_eq!(dates("2024"), [("TYER", "2024".to_owned())]);
        assert_eq!(dates("2024-05"), [("TYER", "2024".to_owned()), ("TRDA", "2024-05".to_owned())]);
        assert_eq!(dates("May 2024"), [("TRDA", "May 2024".to_owned())]);
    }
}
