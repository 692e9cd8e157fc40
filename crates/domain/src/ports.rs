//! The seams: what the decisions need from the world. Each trait is implemented by one room (named in its
//! documentation) and met by the engine as a trait object only.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use url::Url;

use crate::delivery::{Event, SendOutcome};
use crate::failure::Failure;
use crate::job::{InputFile, Step};
use crate::loudness::LoudnessReport;
use crate::metadata::MetadataPart;
use crate::output::{OutputSpec, TrackChoice};
use crate::signing::SigningKeys;
use crate::spec::SourceSpec;
use crate::time::Timestamp;
use crate::web::WebhookUrl;

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The time of day. The server has the system's; tests turn their own.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// An address that may not be dialled; the text is for the customer and names no internals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRefused(pub String);

/// What can be said of an address before it is dialled. Implemented by egress.
pub trait AddressPolicy: Send + Sync {
    /// Refuses what can be known to be forbidden from the URL alone: literal addresses, reserved names, ports.
    fn check(&self, url: &Url) -> Result<(), AddressRefused>;
}

/// What reading a source cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Body bytes received from the host.
    pub bytes: u64,
    /// Requests made.
    pub requests: u64,
}

impl Fetched {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            requests: self.requests.saturating_add(other.requests),
        }
    }
}

/// Counts what a source costs from its first request on, for those who want to know it even of one that cannot be
/// opened.
#[derive(Debug, Default)]
pub struct Tally {
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Tally {
    /// One request more.
    pub fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// So many body bytes more; how many there are now.
    pub fn count_bytes(&self, bytes: u64) -> u64 {
        self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }

    /// What has been counted by now.
    pub fn fetched(&self) -> Fetched {
        Fetched { bytes: self.bytes.load(Ordering::Relaxed), requests: self.requests.load(Ordering::Relaxed) }
    }
}

/// The kinds of playlist that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistKind {
    /// HTTP Live Streaming (RFC 8216).
    Hls,
    /// MPEG-DASH (ISO/IEC 23009-1).
    Dash,
}

impl PlaylistKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Hls, Self::Dash];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hls => "hls",
            Self::Dash => "dash",
        }
    }
}

/// What a playlist says of the source that was made of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playlist {
    /// Which kind it was.
    pub kind: PlaylistKind,
    /// Seconds that it promises.
    pub duration_secs: f64,
    /// Seconds by which that may be too much: what rounding hides, and gaps, which may leave no trace.
    pub slack_secs: f64,
    /// Whether the source is segments laid end to end, to be read in order as they arrive; else it is one file.
    pub is_stream: bool,
    /// Whether the clock of the media starts anew somewhere within.
    pub has_breaks: bool,
    /// Whether the track that was asked for was found by the playlist, so that the source has no other.
    pub is_one_track: bool,
}

/// In what order the bytes of a source can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In any.
    Random,
    /// From the first to the last as they arrive: what lies ahead is waited for, what lies behind is there.
    InOrder {
        /// Whether the length is known before the end has come.
        is_sized: bool,
    },
}

/// Random access to a media file, wherever it lies. Implemented by egress (HTTP) and by files on disk.
///
/// Every method may be called from any task; reads may overlap.
pub trait Source: Send + Sync {
    /// The length in bytes. Known at once where the host says it; where it does not, this waits until the end of
    /// the body has been seen, so it is asked only when the demuxer cannot do without.
    fn size(&self) -> BoxFuture<'_, Result<u64, Failure>>;

    /// The length in bytes, if it is known by now.
    fn known_size(&self) -> Option<u64>;

    /// In what order its bytes can be had by now.
    fn access(&self) -> Access {
        Access::Random
    }

    /// Reads up to `max_bytes` bytes from `offset`; fewer may come, none only at the end.
    fn read_at(&self, offset: u64, max_bytes: usize) -> BoxFuture<'_, Result<Vec<u8>, Failure>>;

    /// Says which bytes will be read, in order of reading: a hint that lets the source fetch just those, ahead of
    /// the reader. It may be ignored, and other bytes may still be asked for. A plan takes the place of the former one.
    fn plan(&self, ranges: Vec<Range<u64>>);

    /// Says that nothing which is fetched from here on will be read again. Until then a source keeps what it fetches,
    /// as far as it may, so that a second reading costs nothing.
    fn once(&self) {}

    /// What it has cost so far.
    fn fetched(&self) -> Fetched;

    /// The playlist that it was made of, if it was.
    fn playlist(&self) -> Option<Playlist> {
        None
    }
}

/// Opens sources. Implemented by egress.
pub trait SourceOpener: Send + Sync {
    /// Opens a source. What it spools to disk goes away with it. Where the source is a playlist, only the audio track
    /// that is wanted is fetched. What it costs is counted in `tally`, also if the source cannot be opened.
    fn open<'a>(
        &'a self,
        source: &'a SourceSpec,
        wanted: Option<&'a TrackChoice>,
        tally: Arc<Tally>,
    ) -> BoxFuture<'a, Result<Arc<dyn Source>, Failure>>;
}

/// Hears how an extraction goes. Called often; must not block.
pub trait ProgressSink: Send + Sync {
    /// The header has been read.
    fn probed(&self, input: InputFile);
    /// `fraction` (0 to 1) of this step is done; `None` where the whole is not known.
    fn progressed(&self, step: Step, fraction: Option<f64>);
}

/// How the audio came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The source's packets, as they were.
    Copy,
    /// Decoded and encoded.
    Encode,
}

impl Method {
    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Encode => "encode",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Copy, Self::Encode].into_iter().find(|method| method.as_str() == text)
    }
}

/// One extraction to do.
pub struct ExtractOrder<'a> {
    /// From here.
    pub source: Arc<dyn Source>,
    /// What people call the source, for [`InputFile::name`].
    pub source_name: &'a str,
    /// Into this.
    pub output: &'a OutputSpec,
    /// Written to this file, which is made new or emptied. The extractor opens it; nobody else reads it meanwhile.
    pub into: &'a Path,
    /// Who hears how it goes.
    pub progress: &'a dyn ProgressSink,
}

/// What an extraction made.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// Bytes written.
    pub size: u64,
    /// Samples a channel that a correct player plays.
    pub samples: u64,
    /// Hz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// The constant bitrate asked of the encoder, in kbit/s, where it was constant.
    pub constant_kbps: Option<u32>,
    /// Copied or encoded.
    pub method: Method,
    /// Packets that were damaged and left out.
    pub damaged_packets: u64,
    /// What normalising did, where it was asked for.
    pub loudness: Option<LoudnessReport>,
    /// Metadata that was asked for and could not be carried over.
    pub metadata_left_out: Vec<MetadataPart>,
}

impl Extracted {
    /// Seconds of audio.
    pub fn duration_secs(&self) -> f64 {
        self.samples as f64 / f64::from(self.sample_rate.max(1))
    }

    /// What `bitrate` says: the constant one, else size x 8 / duration, in kbit/s, at least 1.
    pub fn bitrate_kbps(&self) -> u32 {
        let average = || (self.size as f64 * 8.0 / self.duration_secs().max(0.001) / 1000.0).round() as u32;
        self.constant_kbps.unwrap_or_else(average).max(1)
    }
}

/// Makes audio out of media. Implemented by media, in a confined child process.
pub trait Extractor: Send + Sync {
    /// Does one extraction. Dropping the future ends the child. The failure says whether another attempt is
    /// worthwhile (a crash is, damaged media is not); a failure of the source is passed on as it was.
    fn extract<'a>(&'a self, order: ExtractOrder<'a>) -> BoxFuture<'a, Result<Extracted, Failure>>;
}

/// One POST to make.
pub struct Notice<'a> {
    /// What to send.
    pub event: &'a Event,
    /// Where to.
    pub url: &'a WebhookUrl,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The attempt's time, which is signed with it.
    pub at: Timestamp,
    /// What it is signed with.
    pub signing: &'a SigningKeys,
    /// Whether it was asked for again by its owner.
    pub is_replay: bool,
    /// Whether the file that it names is gone by now, or will be too soon.
    pub is_file_gone: bool,
    /// The longest that it may take, where that is less than the configured total time.
    pub at_most: Option<Duration>,
}

/// Sends webhooks. Implemented by egress.
pub trait Notifier: Send + Sync {
    /// Makes one signed POST and says what came of it. It never takes longer than the configured total time.
    fn send<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, SendOutcome>;
}
