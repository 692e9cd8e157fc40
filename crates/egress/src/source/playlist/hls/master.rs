//! Master playlists: which media playlist has the sound.

use std::collections::HashSet;

use domain::TrackChoice;
use url::Url;

use super::super::codecs::{has_audio, is_audio_alone, is_decodable};
use super::super::error::PlaylistError;
use super::super::place::resolve;
use super::super::tracks::{Track, choose};
use super::attributes::Attributes;

/// Variants and renditions that one may name; the richest catalogues have a hundred.
const MOST_ENTRIES: usize = 1000;

/// A stream with all that belongs to it.
struct Variant<'a> {
    uri: &'a str,
    bandwidth: u64,
    codecs: Option<&'a str>,
    /// The group that has its sound, where that is apart or has a name.
    audio: Option<&'a str>,
}

/// Sound that may lie apart.
struct Rendition<'a> {
    group: &'a str,
    /// `None`: it comes with the variants of its group.
    uri: Option<&'a str>,
    language: Option<&'a str>,
    name: &'a str,
    is_default: bool,
    is_autoselect: bool,
    channels: u32,
}

/// A parsed master playlist.
pub(super) struct Master<'a> {
    variants: Vec<Variant<'a>>,
    renditions: Vec<Rendition<'a>>,
}

/// What is fetched of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) url: Url,
    /// Whether it has just the one track.
    pub(super) is_one_track: bool,
}

/// Reads one.
pub(super) fn parse(text: &str) -> Result<Master<'_>, PlaylistError> {
    let mut master = Master { variants: Vec::new(), renditions: Vec::new() };
    let mut next: Option<Attributes<'_>> = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            next = Some(Attributes::parse("#EXT-X-STREAM-INF", list)?);
        } else if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
            master.renditions.extend(rendition(&Attributes::parse("#EXT-X-MEDIA", list)?));
        } else if line.starts_with("#EXT-X-DEFINE") {
            return Err(PlaylistError::Unsupported("variables (#EXT-X-DEFINE)".to_owned()));
        } else if !line.starts_with('#')
            && let Some(attributes) = next.take()
        {
            master.variants.push(Variant {
                uri: line,
                bandwidth: attributes.number("BANDWIDTH"),
                codecs: attributes.get("CODECS"),
                audio: attributes.get("AUDIO"),
            });
        }
        if master.variants.len() + master.renditions.len() > MOST_ENTRIES {
            return Err(PlaylistError::TooMany { max: MOST_ENTRIES });
        }
    }
    Ok(master)
}

fn rendition<'a>(attributes: &Attributes<'a>) -> Option<Rendition<'a>> {
    let is_audio = attributes.get("TYPE") == Some("AUDIO");
    // `6/-/BINAURAL`: the number of channels comes first.
    let channels = attributes.get("CHANNELS").and_then(|channels| channels.split('/').next()?.parse().ok());
    is_audio.then(|| Rendition {
        group: attributes.get("GROUP-ID").unwrap_or_default(),
        uri: attributes.get("URI"),
        language: attributes.get("LANGUAGE"),
        name: attributes.get("NAME").unwrap_or_default(),
        is_default: attributes.says_yes("DEFAULT"),
        is_autoselect: attributes.says_yes("AUTOSELECT"),
        channels: channels.unwrap_or(0),
    })
}

impl<'a> Master<'a> {
    /// The rendition that is wanted; where none lies apart, a variant with sound.
    pub(super) fn choose(&self, base: &Url, wanted: Option<&TrackChoice>) -> Result<Chosen, PlaylistError> {
        let renditions = self.played();
        if renditions.is_empty() {
            let variant = self.variant(|_| true)?;
            return Ok(Chosen { url: resolve(base, variant.uri)?, is_one_track: false });
        }
        let tracks: Vec<Track<'a>> = renditions.iter().map(|rendition| self.track(rendition)).collect();
        let rendition = renditions[choose(&tracks, wanted)?];
        let uri = match rendition.uri {
            Some(uri) => uri,
            None => self.variant(|variant| variant.audio == Some(rendition.group))?.uri,
        };
        Ok(Chosen { url: resolve(base, uri)?, is_one_track: true })
    }

    /// The renditions that a player would come upon: where variants name groups, those of these groups. Others are left
    /// from variants that are gone, and their files may be too.
    fn played(&self) -> Vec<&Rendition<'a>> {
        let groups: HashSet<&str> = self.variants.iter().filter_map(|variant| variant.audio).collect();
        let is_played = |rendition: &&Rendition<'_>| groups.is_empty() || groups.contains(rendition.group);
        self.renditions.iter().filter(is_played).collect()
    }

    fn track(&self, rendition: &Rendition<'a>) -> Track<'a> {
        let of_group = || self.variants.iter().filter(|variant| variant.audio == Some(rendition.group));
        Track {
            language: rendition.language,
            name: rendition.name,
            rank: 2 * u8::from(rendition.is_default) + u8::from(rendition.is_autoselect),
            is_decodable: of_group().all(|variant| variant.codecs.is_none_or(is_decodable)),
            channels: rendition.channels,
            // The better the picture, the better the sound that was made for it.
            bandwidth: of_group().map(|variant| variant.bandwidth).max().unwrap_or(0),
        }
    }

    /// Of the variants with nothing but sound the best; else of those with sound the cheapest, as all the rest of it is
    /// picture. Where codecs are not said, there may be sound.
    fn variant(&self, is_among: impl Fn(&Variant<'a>) -> bool) -> Result<&Variant<'a>, PlaylistError> {
        let among = || self.variants.iter().filter(|variant| is_among(variant));
        let alone = among().filter(|variant| variant.codecs.is_some_and(is_audio_alone));
        let with_sound = || among().filter(|variant| variant.codecs.is_none_or(has_audio));
        let best = alone.max_by_key(|variant| variant.bandwidth);
        best.or_else(|| with_sound().min_by_key(|variant| variant.bandwidth)).ok_or(PlaylistError::NoAudio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=3000000,CODECS=\"avc1.64001f,mp4a.40.2\"
high.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=200000,CODECS=\"avc1.64001f\"
mute.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1.64001f,mp4a.40.2\"
low.m3u8
";

    const GROUPS: &str = "#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"lo\",NAME=\"English\",LANGUAGE=\"en\",AUTOSELECT=YES,DEFAULT=YES,CHANNELS=\"2\",URI=\"lo/en.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"lo\",NAME=\"Deutsch\",LANGUAGE=\"de\",AUTOSELECT=YES,CHANNELS=\"2\",URI=\"lo/de.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"hi\",NAME=\"English\",LANGUAGE=\"en\",AUTOSELECT=YES,DEFAULT=YES,CHANNELS=\"2\",URI=\"hi/en.m3u8\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"hi\",NAME=\"Deutsch\",LANGUAGE=\"de\",AUTOSELECT=YES,CHANNELS=\"2\",URI=\"hi/de.m3u8\"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\",URI=\"subs.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=500000,AUDIO=\"lo\"
v0.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5000000,AUDIO=\"hi\"
v1.m3u8
";

    fn chosen(text: &str, wanted: Option<&TrackChoice>) -> Result<(String, bool), PlaylistError> {
        let base = Url::parse("http://h.example/v/").expect("a URL");
        let chosen = parse(text)?.choose(&base, wanted)?;
        Ok((chosen.url.path().trim_start_matches("/v/").to_owned(), chosen.is_one_track))
    }

    #[test]
    fn the_least_picture_comes_along_with_the_sound() {
        assert_eq!(chosen(PLAIN, None), Ok(("low.m3u8".to_owned(), false)));
        let radio =
            |kbps: u32| format!("#EXT-X-STREAM-INF:BANDWIDTH={kbps},CODECS=\"mp4a.40.2\"\n{kbps}.m3u8\n");
        let with_radio = format!("{PLAIN}{}{}", radio(64_000), radio(128_000));
        assert_eq!(chosen(&with_radio, None), Ok(("128000.m3u8".to_owned(), false)));
        assert_eq!(chosen("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nx", None), Ok(("x".to_owned(), false)));
        let mute = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64\"\nx\n";
        assert_eq!(chosen(mute, None), Err(PlaylistError::NoAudio));
        assert_eq!(chosen("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", None), Err(PlaylistError::NoAudio));
    }

    #[test]
    fn renditions_are_chosen_by_wish_then_default_then_quality() {
        let language = |tag: &str| TrackChoice::language(tag).expect("a language");
        for (wanted, expected) in [
            (None, "hi/en.m3u8"),
            (Some(language("ger")), "hi/de.m3u8"),
            (Some(TrackChoice::Index(1)), "hi/de.m3u8"),
        ] {
            assert_eq!(chosen(GROUPS, wanted.as_ref()), Ok((expected.to_owned(), true)), "{wanted:?}");
        }
        let none = chosen(GROUPS, Some(&TrackChoice::Index(2)));
        assert_eq!(none, Err(PlaylistError::NoSuchTrack("0: en (English); 1: de (Deutsch)".to_owned())));
    }

    #[test]
    fn a_rendition_without_an_address_comes_with_its_variants() {
        let text = "#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"main\",DEFAULT=YES
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"comment\",URI=\"comment.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=9,AUDIO=\"a\"
nine.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5,AUDIO=\"a\"
five.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1
one.m3u8
";
        assert_eq!(chosen(text, None), Ok(("five.m3u8".to_owned(), true)));
        assert_eq!(chosen(text, Some(&TrackChoice::Index(1))), Ok(("comment.m3u8".to_owned(), true)));
    }

    #[test]
    fn a_rendition_that_no_variant_plays_is_not_there() {
        let left = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"old\",NAME=\"Old\",LANGUAGE=\"en\",DEFAULT=YES,CHANNELS=\"6\",URI=\"old.m3u8\"\n";
        let played = GROUPS.replacen('\n', &format!("\n{left}"), 1);
        assert_eq!(chosen(&played, None), Ok(("hi/en.m3u8".to_owned(), true)));
        assert_eq!(chosen(&format!("{PLAIN}{left}"), None), Ok(("old.m3u8".to_owned(), true)), "no groups");
        let gone = format!("#EXTM3U\n{left}#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"new\"\nx.m3u8\n");
        assert_eq!(chosen(&gone, None), Ok(("x.m3u8".to_owned(), false)), "no such group");
    }

    #[test]
    fn what_could_not_be_told_apart_is_refused() {
        let many = "#EXT-X-STREAM-INF:BANDWIDTH=1\nx\n".repeat(MOST_ENTRIES + 1);
        assert_eq!(chosen(&many, None), Err(PlaylistError::TooMany { max: MOST_ENTRIES }));
        let defined = format!("{PLAIN}#EXT-X-DEFINE:NAME=\"a\",VALUE=\"b\"\n");
        assert!(matches!(chosen(&defined, None), Err(PlaylistError::Unsupported(_))));
    }
}
