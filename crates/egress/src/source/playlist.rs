//! Sources that are playlists: which segments they name, and those laid end to end as one source.
//!
//! Whatever a playlist names is asked for as any other address: the guard on each hop, the customer's headers to the
//! customer's host alone, all of it counted together. A playlist is known by its first bytes, as it may have any name.
//!
//! Start with [`open`]. `hls` makes a [`Listing`] of a text; `place` is what one names, `download` fetches it (`slice`
//! of a body, `parts` of a file), `joined` lays it end to end, with `cipher`, `tags` and `clockless` taking off what
//! is in the way. `header` compares the headers of fragmented mp4.

mod cipher;
mod clockless;
mod codecs;
mod dash;
mod download;
mod error;
mod header;
mod hls;
mod joined;
mod listing;
mod parts;
mod place;
mod slice;
mod tags;
mod tracks;

use std::ops::Range;
use std::sync::Arc;

use domain::{Access, BoxFuture, Failure, Fetched, Playlist, PlaylistKind, Source, TrackChoice};
use url::Url;

pub(crate) use self::error::PlaylistError;
pub(crate) use self::joined::Joined;
use self::listing::{Bounds, Listing};
use super::budget::SpoolBudget;
use super::error::FetchError;
use super::fetch::Fetcher;
use super::spool::{Spooled, Supply};
use super::{HttpSources, Opened, SourceConfig};

/// So many first bytes tell what it is,
const LOOK_BYTES: usize = 4096;
/// or so many, where comments come first.
const MOST_LOOK_BYTES: usize = 64 << 10;

/// Which kind of playlist begins with these bytes.
fn kind_of(head: &[u8]) -> Option<PlaylistKind> {
    let head = without_mark(head);
    if head.starts_with(b"#EXTM3U") {
        return Some(PlaylistKind::Hls);
    }
    (dash::is_manifest(head) == Some(true)).then_some(PlaylistKind::Dash)
}

fn without_mark(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)
}

/// Whether more bytes could show that one does: nobody waits for a host that is slow with a video.
fn may_begin_one(head: &[u8]) -> bool {
    matches!(head.trim_ascii_start().first(), None | Some(b'#' | b'<' | b'\xef'))
}

/// The source, if it is none; else what it names.
pub(super) async fn open(
    sources: &HttpSources,
    fetcher: &Arc<Fetcher>,
    opened: Opened,
    wanted: Option<&TrackChoice>,
) -> Result<Arc<dyn Source>, Failure> {
    let Opened { source, head } = opened;
    if !may_begin_one(&head) {
        // Nothing is read that the extractor does not ask for.
        return Ok(source);
    }
    let mut head = read(&*source, LOOK_BYTES, may_begin_one).await?;
    if dash::is_manifest(without_mark(&head)).is_none() {
        head = read(&*source, MOST_LOOK_BYTES, |_| true).await?;
    }
    let Some(kind) = kind_of(&head) else { return Ok(source) };
    let text = text(&*source, &fetcher.config).await?;
    drop(source);
    let reading = Reading { sources, fetcher, bounds: Bounds::of(&fetcher.config), wanted };
    let told = |error: PlaylistError| FetchError::from(error).into_failure();
    let opened = match kind {
        PlaylistKind::Hls => reading.join(hls::resolve(&reading, &text).await?, kind).await,
        PlaylistKind::Dash => match dash::resolve(&reading, text).await.map_err(told)? {
            dash::Resolved::Listing(listing) => reading.join(listing, kind).await,
            dash::Resolved::File { url, listing } => reading.open_file(url, &listing, kind).await,
        },
    };
    Ok(Arc::new(opened.map_err(FetchError::into_failure)?))
}

/// What resolving a playlist takes.
struct Reading<'a> {
    sources: &'a HttpSources,
    fetcher: &'a Arc<Fetcher>,
    bounds: Bounds,
    wanted: Option<&'a TrackChoice>,
}

impl Reading<'_> {
    /// The text of another playlist, and where it lies.
    async fn follow(&self, url: Url) -> Result<(String, Url), Failure> {
        let fetcher = Arc::new(self.fetcher.towards(url));
        let Opened { source, .. } =
            self.sources.open_file(&fetcher).await.map_err(FetchError::into_failure)?;
        let text = text(&*source, &fetcher.config).await?;
        Ok((text, fetcher.location()))
    }

    /// A whole file, of which only what is needed is fetched, as of any other.
    async fn open_file(&self, url: Url, listing: &Listing, kind: PlaylistKind) -> Result<Listed, FetchError> {
        let Opened { source, .. } = self.sources.open_file(&Arc::new(self.fetcher.towards(url))).await?;
        Ok(Listed { source, playlist: listing.playlist(kind, false) })
    }

    /// The segments as one source.
    async fn join(&self, listing: Listing, kind: PlaylistKind) -> Result<Listed, FetchError> {
        let playlist = listing.playlist(kind, true);
        let joined = Joined::new(Arc::clone(self.fetcher), listing.segments, listing.has_breaks);
        let budget: Arc<SpoolBudget> = Arc::clone(&self.sources.budget);
        let supply = Supply::Joined(Box::new(joined));
        let spooled = Spooled::start(Arc::clone(self.fetcher), supply, None, budget).await?;
        Ok(Listed { source: Arc::new(spooled), playlist })
    }
}

/// The first bytes, as many as there are and while more are worth it.
async fn read(
    source: &dyn Source,
    most: usize,
    is_worth_more: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while bytes.len() < most && is_worth_more(&bytes) {
        let piece = source.read_at(bytes.len() as u64, most - bytes.len()).await?;
        if piece.is_empty() {
            break;
        }
        bytes.extend(piece);
    }
    Ok(bytes)
}

/// All of a playlist, which is UTF-8 in both kinds.
async fn text(source: &dyn Source, config: &SourceConfig) -> Result<String, Failure> {
    let most = config.max_playlist_bytes;
    let bytes = read(source, most.saturating_add(1), |_| true).await?;
    let refused = |error: PlaylistError| FetchError::from(error).into_failure();
    if bytes.len() > most {
        return Err(refused(PlaylistError::TooLong { max_bytes: most as u64 }));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| refused(PlaylistError::Malformed("it is not written in UTF-8".to_owned())))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A source, and the playlist that it was made of.
struct Listed {
    source: Arc<dyn Source>,
    playlist: Playlist,
}

impl Source for Listed {
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>> {
        self.source.size()
    }

    fn known_size(&self) -> Option<u64> {
        self.source.known_size()
    }

    fn access(&self) -> Access {
        self.source.access()
    }

    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>> {
        self.source.read_at(offset, max_bytes)
    }

    fn plan(&self, ranges: Vec<Range<u64>>) {
        self.source.plan(ranges);
    }

    fn once(&self) {
        self.source.once();
    }

    fn fetched(&self) -> Fetched {
        self.source.fetched()
    }

    fn playlist(&self) -> Option<Playlist> {
        Some(self.playlist)
    }
}
