//! Which of a playlist's audio tracks is wanted.

use domain::{TrackChoice, closeness};

use super::error::PlaylistError;

/// A failure lists no more than so many; a hostile playlist has thousands.
const MOST_LISTED: usize = 24;
/// The longest language tag that makes sense (RFC 5646, 4.4.1).
const MOST_TAG_CHARS: usize = 35;

/// One way to get one audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track<'a> {
    pub(super) language: Option<&'a str>,
    /// What tells it from others of its language.
    pub(super) name: &'a str,
    /// How much its author wants it to be played unless told otherwise.
    pub(super) rank: u8,
    /// Whether it is coded in a way that can be decoded, as far as that is said.
    pub(super) is_decodable: bool,
    pub(super) channels: u32,
    /// Of it alone or with all that it comes with; only compared.
    pub(super) bandwidth: u64,
}

impl Track<'_> {
    /// Whether two are the same sound in another quality.
    fn is_same(&self, other: &Self) -> bool {
        (self.language, self.name) == (other.language, other.name)
    }
}

/// The index of the one to take: of those that were asked for one that can be decoded, then the one that its author
/// prefers, then the one with most
/// channels, then the best, then the first. Sound costs little beside a picture, and quality that was not fetched
/// cannot be had later.
pub(super) fn choose(tracks: &[Track<'_>], wanted: Option<&TrackChoice>) -> Result<usize, PlaylistError> {
    let mut distinct: Vec<&Track<'_>> = Vec::new();
    for track in tracks {
        if !distinct.iter().any(|known| known.is_same(track)) {
            distinct.push(track);
        }
    }
    let nearness = |track: &Track<'_>| match (wanted, track.language) {
        (Some(TrackChoice::Language(asked)), Some(said)) => closeness(asked, beginning(said)),
        _ => None,
    };
    let is_asked = |track: &Track<'_>| match wanted {
        None => true,
        Some(TrackChoice::Index(index)) => {
            distinct.get(*index as usize).is_some_and(|asked| asked.is_same(track))
        }
        Some(TrackChoice::Language(_)) => nearness(track).is_some(),
    };
    let best = tracks.iter().enumerate().filter(|(_, track)| is_asked(track)).max_by_key(|(index, track)| {
        let quality = (track.rank, track.channels, track.bandwidth);
        (track.is_decodable, nearness(track), quality, std::cmp::Reverse(*index))
    });
    best.map(|(index, _)| index).ok_or_else(|| PlaylistError::NoSuchTrack(listed(&distinct)))
}

/// As much of a tag as makes sense: a playlist may say one of megabytes for each of a thousand tracks.
fn beginning(tag: &str) -> &str {
    tag.char_indices().nth(MOST_TAG_CHARS).map_or(tag, |(end, _)| &tag[..end])
}

/// `0: en (English); 1: de (Deutsch)`.
fn listed(distinct: &[&Track<'_>]) -> String {
    let plain =
        |text: &str| text.chars().filter(|char| !char.is_control()).take(MOST_TAG_CHARS).collect::<String>();
    let one = |(index, track): (usize, &&Track<'_>)| {
        let language = track.language.map_or_else(|| "no language".to_owned(), plain);
        format!("{index}: {language} ({})", plain(track.name))
    };
    let mut tracks: Vec<String> = distinct.iter().enumerate().take(MOST_LISTED).map(one).collect();
    if distinct.len() > MOST_LISTED {
        tracks.push(format!("and {} more", distinct.len() - MOST_LISTED));
    }
    tracks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track<'a>(language: &'a str, name: &'a str, rank: u8, channels: u32, bandwidth: u64) -> Track<'a> {
        let language = Some(language).filter(|tag| !tag.is_empty());
        Track { language, name, rank, is_decodable: true, channels, bandwidth }
    }

    #[test]
    fn language_then_the_authors_wish_then_quality() {
        let tracks = [
            track("en", "English", 2, 2, 64),
            track("en", "English", 2, 2, 128),
            track("de", "Deutsch", 1, 2, 128),
            track("de", "Kommentar", 1, 2, 128),
            track("fr-CA", "Français", 0, 6, 384),
        ];
        let language = |tag: &str| TrackChoice::language(tag).expect("a language");
        for (wanted, expected) in [
            (None, Ok(1)),
            (Some(TrackChoice::Index(0)), Ok(1)),
            (Some(TrackChoice::Index(2)), Ok(3)),
            (Some(TrackChoice::Index(3)), Ok(4)),
            (Some(language("deu")), Ok(2)),
            (Some(language("fr")), Ok(4)),
        ] {
            assert_eq!(choose(&tracks, wanted.as_ref()), expected, "{wanted:?}");
        }
        let listed = "0: en (English); 1: de (Deutsch); 2: de (Kommentar); 3: fr-CA (Français)";
        for wanted in [TrackChoice::Index(4), language("it")] {
            assert_eq!(choose(&tracks, Some(&wanted)), Err(PlaylistError::NoSuchTrack(listed.to_owned())));
        }
        let best = [track("", "a", 0, 2, 1), track("", "b", 0, 6, 1), track("", "c", 0, 2, 9)];
        assert_eq!(choose(&best, None), Ok(1), "most channels");
        let coded = best.map(|track| Track { is_decodable: track.channels == 2, ..track });
        assert_eq!(choose(&coded, None), Ok(2), "what can be decoded");
        assert_eq!(choose(&coded, Some(&TrackChoice::Index(1))), Ok(1), "it is asked for");
        assert_eq!(choose(&coded[1..2], None), Ok(0), "there is no other");
    }

    #[test]
    fn a_listing_is_short_and_plain_whatever_the_playlist_says() {
        let long = "x\u{7}\n".repeat(100);
        let names: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let tracks: Vec<Track<'_>> = names.iter().map(|name| track(&long, name, 0, 2, 1)).collect();
        let Err(PlaylistError::NoSuchTrack(listed)) = choose(&tracks, Some(&TrackChoice::Index(1999))) else {
            panic!("there are a thousand")
        };
        assert!(
            listed.len() < 1500 && listed.ends_with("and 976 more") && !listed.contains('\n'),
            "{listed}"
        );
    }
}
