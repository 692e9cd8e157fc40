//! Texts, chapters and the cover of a source, within bounds. What is beyond them is left out, and said.
#![allow(unsafe_code)] // libav's dictionaries, chapters and pictures are looked at through raw pointers.

use std::ffi::CStr;
use std::ptr;

use domain::{MetadataPart, OutputSpec};
use ffmpeg_sys_next as sys;

use super::super::AvLimits;
use super::super::demux::Demux;
use super::super::ffi::{NO_TIME, TimeBase};
use super::super::input::Input;
use super::chapters::{Chapter, Cut, Mark, millis, within};
use super::cover::Cover;
use super::{FIELDS, Field, Tags};

impl Tags {
    /// Those of the track and of the file, for the part that was asked for; none unless they were asked for.
    pub(in super::super) fn read(demux: &mut Demux<'_>, output: &OutputSpec, limits: &AvLimits) -> Self {
        let mut tags = Self::default();
        if !output.preserve_metadata {
            return tags;
        }
        let from_secs = demux.start_secs() + output.span.start_secs;
        let end_secs = output.span.end_secs.or(demux.duration_secs());
        let cut = Cut { from_secs, to_secs: end_secs.map(|end| demux.start_secs() + end) };
        let stream = demux.track().index;
        let mut budget = Budget(limits.max_tag_bytes);
        tags.read_texts(demux.input(), stream, &mut budget);
        tags.read_chapters(demux.input(), cut, limits, &mut budget);
        tags.read_cover(demux.input(), limits);
        tags
    }

    /// The file's own come first, but for the language: that is the track's. Ogg has them on the stream alone.
    fn read_texts(&mut self, input: &Input<'_>, stream: usize, budget: &mut Budget) {
        let file = input.format_context().metadata;
        let track = input.stream(stream).map_or(ptr::null_mut(), |stream| stream.metadata);
        for names in &FIELDS {
            let places = if names.field == Field::Language { [track, file] } else { [file, track] };
            let mut all =
                places.into_iter().flat_map(|tags| names.source.iter().map(move |name| (tags, *name)));
            // SAFETY: both dictionaries are null or alive as long as the input.
            let Some(bytes) = all.find_map(|(tags, name)| unsafe { value(tags, name) }) else { continue };
            match budget.text(bytes, names.field == Field::Comment) {
                Some(text) if text.is_empty() || (names.field == Field::Language && text == "und") => {}
                Some(text) => self.texts.push((names, text)),
                None => self.leave_out(MetadataPart::Tags),
            }
        }
    }

    fn read_chapters(&mut self, input: &Input<'_>, cut: Cut, limits: &AvLimits, budget: &mut Budget) {
        let chapters = chapters(input);
        let marks = chapters.iter().enumerate().map(|(index, chapter)| mark(chapter, index)).collect();
        let marks = within(marks, cut);
        let most = limits.max_chapters as usize;
        if marks.len() > most {
            self.leave_out(MetadataPart::Chapters);
        }
        for mark in marks.into_iter().take(most) {
            // SAFETY: the dictionary is null or alive as long as the input.
            let title =
                chapters.get(mark.index).and_then(|chapter| unsafe { value(chapter.metadata, c"title") });
            let Some(title) = budget.text(title.unwrap_or_default(), false) else {
                return self.leave_out(MetadataPart::Chapters);
            };
            let (start_millis, end_millis) = (millis(mark.start_secs), mark.end_secs.map(millis));
            self.chapters.push(Chapter { start_millis, end_millis, title });
        }
    }

    /// The front cover, else the first picture.
    fn read_cover(&mut self, input: &Input<'_>, limits: &AvLimits) {
        let count = input.format_context().nb_streams as usize;
        let streams = (0..count).filter_map(|index| input.stream(index));
        let pictures = streams.filter(|stream| stream.disposition & sys::AV_DISPOSITION_ATTACHED_PIC != 0);
        let Some(stream) = pictures.min_by_key(|stream| !is_front(stream)) else { return };
        let packet = &stream.attached_pic;
        let bytes = match usize::try_from(packet.size) {
            // SAFETY: the packet is alive as long as the stream, and has so many bytes.
            Ok(size) if !packet.data.is_null() => unsafe {
                std::slice::from_raw_parts(packet.data.cast_const(), size)
            },
            _ => &[],
        };
        self.cover = (bytes.len() as u64 <= limits.max_cover_bytes).then(|| Cover::parse(bytes)).flatten();
        if self.cover.is_none() {
            self.leave_out(MetadataPart::Cover);
        }
    }
}

/// By ID3's name for it, or Matroska's.
fn is_front(stream: &sys::AVStream) -> bool {
    // SAFETY: the dictionary is null or alive as long as the stream.
    let says = |name: &CStr| unsafe { value(stream.metadata, name) }.unwrap_or_default();
    says(c"comment").eq_ignore_ascii_case(b"Cover (front)") || says(c"filename").starts_with(b"cover.")
}

fn chapters<'a>(input: &'a Input<'_>) -> Vec<&'a sys::AVChapter> {
    let context = input.format_context();
    // SAFETY: libav keeps `nb_chapters` valid pointers there.
    (0..context.nb_chapters as usize)
        .filter_map(|at| unsafe { (*context.chapters.add(at)).as_ref() })
        .collect()
}

fn mark(chapter: &sys::AVChapter, index: usize) -> Mark {
    let time_base = TimeBase::new(chapter.time_base);
    let end_secs = (chapter.end != NO_TIME).then(|| time_base.secs(chapter.end));
    Mark { start_secs: time_base.secs(chapter.start), end_secs, index }
}

/// The bytes of a text, without the zero at its end.
///
/// # Safety
/// The dictionary is null or alive as long as the answer is used.
unsafe fn value<'a>(tags: *mut sys::AVDictionary, name: &CStr) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise; an entry lives as long as its dictionary, and its value ends with a zero.
    unsafe {
        let entry = sys::av_dict_get(tags, name.as_ptr(), ptr::null(), 0).as_ref()?;
        (!entry.value.is_null()).then(|| CStr::from_ptr(entry.value).to_bytes())
    }
}

/// Bytes of text that may still be taken.
struct Budget(u64);

impl Budget {
    /// The text, if there is room for it. Line breaks are kept in `lines` alone, other control characters nowhere.
    fn text(&mut self, bytes: &[u8], lines: bool) -> Option<String> {
        self.0 = self.0.checked_sub(bytes.len() as u64)?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // Old RIFF and ID3 tags say nothing of their encoding.
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        let text = text.replace("\r\n", "\n");
        let kept = text.chars().filter_map(|char| match char {
            '\n' | '\t' if !lines => Some(' '),
            '\n' | '\t' => Some(char),
            char => (!char.is_control()).then_some(char),
        });
        Some(kept.collect::<String>().trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_control_characters_and_is_always_unicode() {
        let text = |bytes: &[u8], lines| Budget(100).text(bytes, lines).expect("room");
        assert_eq!(text("Grüße \u{1f3b5}\r\n".as_bytes(), false), "Grüße \u{1f3b5}");
        assert_eq!(text(b"Gr\xfc\xdfe", false), "Grüße");
        assert_eq!(text(b"one\r\ntwo\x07\tthree\x1b[2J", false), "one two three[2J");
        assert_eq!(text(b"one\r\ntwo\x07\tthree", true), "one\ntwo\tthree");
    }

    #[test]
    fn texts_share_their_room() {
        let mut budget = Budget(10);
        assert_eq!(budget.text(b"1234567", false).as_deref(), Some("1234567"));
        assert_eq!(budget.text(b"1234", false), None);
        assert_eq!(budget.text(b"123", false).as_deref(), Some("123"));
    }
}
