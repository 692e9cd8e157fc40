//! Which representation of a period has the sound that is wanted.

use domain::TrackChoice;

use super::super::codecs::{has_audio, is_audio_alone, is_decodable};
use super::super::error::PlaylistError;
use super::super::tracks::{self, Track};
use super::manifest::{AdaptationSet, Period, Representation, SegmentInfo};
use super::template::Terms;

/// What is fetched of a period.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) set: &'a AdaptationSet,
    pub(super) representation: &'a Representation,
    /// Whether it has just the one track.
    pub(super) is_one_track: bool,
}

impl<'a> Chosen<'a> {
    pub(super) fn codecs(&self) -> &'a str {
        let Self { set, representation, .. } = self;
        representation.codecs.as_deref().or(set.codecs.as_deref()).unwrap_or_default()
    }

    fn mime_type(&self) -> &'a str {
        let Self { set, representation, .. } = self;
        representation.mime_type.as_deref().or(set.mime_type.as_deref()).unwrap_or_default()
    }

    fn is_protected(&self) -> bool {
        !self.set.protections.is_empty() || !self.representation.protections.is_empty()
    }

    fn is_sound_alone(&self) -> bool {
        self.set.content_type.as_deref() == Some("audio")
            || self.mime_type().starts_with("audio/")
            || is_audio_alone(self.codecs())
    }

    pub(super) fn terms(&self) -> Terms<'a> {
        Terms { id: &self.representation.id, bandwidth: self.representation.bandwidth }
    }

    /// What says where its segments are, the nearest first, and of the levels the kind that is nearest.
    pub(super) fn levels(&self, period: &'a Period) -> Vec<&'a SegmentInfo> {
        let Self { set, representation, .. } = self;
        let kinds = [
            [&representation.template, &set.template, &period.template],
            [&representation.list, &set.list, &period.list],
            [&representation.base, &set.base, &period.base],
        ];
        let levels = kinds.into_iter().map(|levels| levels.into_iter().flatten().collect::<Vec<_>>());
        levels.into_iter().find(|levels| !levels.is_empty()).unwrap_or_default()
    }

    fn track(&self) -> Track<'a> {
        let Self { set, representation, .. } = self;
        let configuration = representation.channels.first().or(set.channels.first());
        // The commonest schemes write a number; others, as Dolby's, bits.
        let channels =
            configuration.and_then(|channels| channels.value.parse().ok()).filter(|count| *count <= 64);
        let role = set.roles.first().map(|role| role.value.as_str());
        Track {
            language: set.language.as_deref().filter(|language| *language != "und"),
            name: set.labels.first().map(String::as_str).or(role).unwrap_or_default(),
            rank: match role {
                Some("main") => 2,
                None => 1,
                Some(_) => 0,
            },
            is_decodable: is_decodable(self.codecs()),
            channels: channels.unwrap_or(0),
            bandwidth: representation.bandwidth,
        }
    }
}

/// Of the representations with nothing but sound the one of the wanted track with the best quality; where there is none,
/// of those with picture and sound the cheapest.
pub(super) fn choose<'a>(
    period: &'a Period,
    wanted: Option<&TrackChoice>,
) -> Result<Chosen<'a>, PlaylistError> {
    let all = period.sets.iter().flat_map(|set| {
        set.representations.iter().map(move |representation| Chosen {
            set,
            representation,
            is_one_track: true,
        })
    });
    let (alone, others): (Vec<_>, Vec<_>) = all.partition(Chosen::is_sound_alone);
    let with_sound: Vec<_> = others.into_iter().filter(|chosen| has_audio(chosen.codecs())).collect();
    let of_kind = if alone.is_empty() { &with_sound } else { &alone };
    let open: Vec<_> = of_kind.iter().copied().filter(|chosen| !chosen.is_protected()).collect();
    if open.is_empty() {
        return Err(protection(of_kind).map_or(PlaylistError::NoAudio, PlaylistError::Encrypted));
    }
    if alone.is_empty() {
        let cheapest = open.into_iter().min_by_key(|chosen| chosen.representation.bandwidth);
        return cheapest.map(|chosen| Chosen { is_one_track: false, ..chosen }).ok_or(PlaylistError::NoAudio);
    }
    let found: Vec<Track<'_>> = open.iter().map(Chosen::track).collect();
    Ok(open[tracks::choose(&found, wanted)?])
}

/// What protects these.
fn protection(protected: &[Chosen<'_>]) -> Option<String> {
    let first = protected
        .iter()
        .flat_map(|chosen| chosen.set.protections.iter().chain(&chosen.representation.protections));
    first.map(|found| found.scheme.chars().filter(|char| !char.is_control()).take(64).collect()).next()
}
