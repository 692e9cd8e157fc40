//! The manifest as it is written: of its many elements those that say what sound there is and where.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;

use super::super::error::PlaylistError;
use super::super::listing::Bounds;

/// Elements within each other; the standard needs eight.
const MOST_DEPTH: usize = 32;
/// Periods, sets and representations in all; the richest manifests have some hundred.
const MOST_ENTRIES: usize = 1000;
/// Periods, sets and representations, times all elements. What follows on a list (a period's `BaseURL`, say) is kept
/// until the end of what it is in, and moved for each list of each of these: so parsing costs their product.
const MOST_WORK: usize = 10_000_000;
/// Elements of all kinds for each segment that there may be: most manifests list those of several representations.
const MOST_ELEMENTS_A_SEGMENT: usize = 10;

/// `MPD`
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(rename = "@type")]
    kind: Option<String>,
    #[serde(rename = "@mediaPresentationDuration")]
    pub(super) duration: Option<String>,
    #[serde(rename = "BaseURL", default)]
    pub(super) base_urls: Vec<String>,
    #[serde(rename = "Period", default)]
    pub(super) periods: Vec<Period>,
}

impl Manifest {
    /// Whether it grows.
    pub(super) fn is_dynamic(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind != "static")
    }
}

/// `Period`
#[derive(Debug, Deserialize)]
pub(super) struct Period {
    #[serde(rename = "@start")]
    pub(super) start: Option<String>,
    #[serde(rename = "@duration")]
    pub(super) duration: Option<String>,
    #[serde(rename = "BaseURL", default)]
    pub(super) base_urls: Vec<String>,
    #[serde(rename = "AdaptationSet", default)]
    pub(super) sets: Vec<AdaptationSet>,
    #[serde(rename = "SegmentBase")]
    pub(super) base: Option<SegmentInfo>,
    #[serde(rename = "SegmentList")]
    pub(super) list: Option<SegmentInfo>,
    #[serde(rename = "SegmentTemplate")]
    pub(super) template: Option<SegmentInfo>,
}

/// `AdaptationSet`
#[derive(Debug, Deserialize)]
pub(super) struct AdaptationSet {
    #[serde(rename = "@contentType")]
    pub(super) content_type: Option<String>,
    #[serde(rename = "@mimeType")]
    pub(super) mime_type: Option<String>,
    #[serde(rename = "@codecs")]
    pub(super) codecs: Option<String>,
    #[serde(rename = "@lang")]
    pub(super) language: Option<String>,
    #[serde(rename = "Label", default)]
    pub(super) labels: Vec<String>,
    #[serde(rename = "Role", default)]
    pub(super) roles: Vec<Descriptor>,
    #[serde(rename = "AudioChannelConfiguration", default)]
    pub(super) channels: Vec<Descriptor>,
    #[serde(rename = "ContentProtection", default)]
    pub(super) protections: Vec<Descriptor>,
    #[serde(rename = "BaseURL", default)]
    pub(super) base_urls: Vec<String>,
    #[serde(rename = "Representation", default)]
    pub(super) representations: Vec<Representation>,
    #[serde(rename = "SegmentBase")]
    pub(super) base: Option<SegmentInfo>,
    #[serde(rename = "SegmentList")]
    pub(super) list: Option<SegmentInfo>,
    #[serde(rename = "SegmentTemplate")]
    pub(super) template: Option<SegmentInfo>,
}

/// `Representation`
#[derive(Debug, Deserialize)]
pub(super) struct Representation {
    #[serde(rename = "@id", default)]
    pub(super) id: String,
    #[serde(rename = "@bandwidth", default)]
    pub(super) bandwidth: u64,
    #[serde(rename = "@mimeType")]
    pub(super) mime_type: Option<String>,
    #[serde(rename = "@codecs")]
    pub(super) codecs: Option<String>,
    #[serde(rename = "AudioChannelConfiguration", default)]
    pub(super) channels: Vec<Descriptor>,
    #[serde(rename = "ContentProtection", default)]
    pub(super) protections: Vec<Descriptor>,
    #[serde(rename = "BaseURL", default)]
    pub(super) base_urls: Vec<String>,
    #[serde(rename = "SegmentBase")]
    pub(super) base: Option<SegmentInfo>,
    #[serde(rename = "SegmentList")]
    pub(super) list: Option<SegmentInfo>,
    #[serde(rename = "SegmentTemplate")]
    pub(super) template: Option<SegmentInfo>,
}

/// A value of some scheme: `Role`, `ContentProtection` and the like.
#[derive(Debug, Deserialize)]
pub(super) struct Descriptor {
    #[serde(rename = "@schemeIdUri", default)]
    pub(super) scheme: String,
    #[serde(rename = "@value", default)]
    pub(super) value: String,
}

/// `SegmentBase`, `SegmentList` or `SegmentTemplate`, with whatever one of them may say.
#[derive(Debug, Deserialize)]
pub(super) struct SegmentInfo {
    #[serde(rename = "@timescale")]
    pub(super) timescale: Option<u64>,
    #[serde(rename = "@duration")]
    pub(super) duration: Option<u64>,
    #[serde(rename = "@startNumber")]
    pub(super) start_number: Option<u64>,
    #[serde(rename = "@endNumber")]
    pub(super) end_number: Option<u64>,
    #[serde(rename = "@presentationTimeOffset")]
    pub(super) time_offset: Option<u64>,
    #[serde(rename = "@initialization")]
    pub(super) header_template: Option<String>,
    #[serde(rename = "@media")]
    pub(super) media: Option<String>,
    #[serde(rename = "Initialization", alias = "Initialisation")]
    pub(super) header: Option<Piece>,
    #[serde(rename = "SegmentTimeline")]
    pub(super) timeline: Option<Timeline>,
    #[serde(rename = "SegmentURL", default)]
    pub(super) pieces: Vec<Piece>,
}

/// `Initialization` or `SegmentURL`: a file, or a part of one.
#[derive(Debug, Deserialize)]
pub(super) struct Piece {
    #[serde(rename = "@media", alias = "@sourceURL")]
    pub(super) url: Option<String>,
    #[serde(rename = "@mediaRange", alias = "@range")]
    pub(super) range: Option<String>,
}

/// `SegmentTimeline`
#[derive(Debug, Deserialize)]
pub(super) struct Timeline {
    #[serde(rename = "S", default)]
    pub(super) runs: Vec<Run>,
}

/// `S`: segments of one length.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    #[serde(rename = "@t")]
    pub(super) time: Option<u64>,
    #[serde(rename = "@d")]
    pub(super) duration: u64,
    /// How often it comes again; -1: until the next run, or the end of the period.
    #[serde(rename = "@r", default)]
    pub(super) repeats: i64,
}

/// Reads a manifest, once it is known not to be larger in memory than its text lets expect.
pub(super) fn parse(text: &str, bounds: Bounds) -> Result<Manifest, PlaylistError> {
    look_over(text, bounds)?;
    quick_xml::de::from_str(text).map_err(|_| unreadable())
}

/// What is said where nothing better can be.
pub(super) fn unreadable() -> PlaylistError {
    PlaylistError::Malformed("it is no manifest that can be read".to_owned())
}

/// Counts before anything is built. There is no document type in a manifest, and so no entity to blow it up with.
fn look_over(text: &str, bounds: Bounds) -> Result<(), PlaylistError> {
    let malformed = |what: &str| PlaylistError::Malformed(what.to_owned());
    let mut reader = Reader::from_str(text);
    let (mut depth, mut entries, mut elements) = (0_usize, 0, 0);
    let most_elements =
        bounds.max_segments.saturating_add(MOST_ENTRIES).saturating_mul(MOST_ELEMENTS_A_SEGMENT);
    loop {
        let (element, opens) = match reader.read_event() {
            Ok(Event::Start(element)) => (element, 1),
            Ok(Event::Empty(element)) => (element, 0),
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Ok(Event::DocType(_)) => return Err(malformed("it has a document type")),
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => continue,
            Err(_) => return Err(malformed("it is not XML")),
        };
        depth += opens;
        elements += 1;
        let name = element.local_name();
        entries += usize::from(matches!(name.as_ref(), b"Period" | b"AdaptationSet" | b"Representation"));
        let is_much = entries > MOST_ENTRIES || elements > most_elements || entries * elements > MOST_WORK;
        if depth > MOST_DEPTH || is_much {
            return Err(malformed("it has more elements than any presentation needs"));
        }
        if is_elsewhere(&element) {
            return Err(PlaylistError::Unsupported(
                "parts of the manifest that lie elsewhere (xlink)".to_owned(),
            ));
        }
    }
}

fn is_elsewhere(element: &BytesStart<'_>) -> bool {
    element
        .attributes()
        .flatten()
        .any(|attribute| attribute.key.local_name().as_ref() == b"href" && attribute.key.prefix().is_some())
}
