//! Segments laid end to end: several fetched at once, given out in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::cipher::Cipher;
use super::clockless::Clockless;
use super::download::Download;
use super::error::PlaylistError;
use super::header::is_same_sound;
use super::listing::{Key, Role, Segment};
use super::parts::Parts;
use super::place::Place;
use super::tags::Tags;
use crate::source::error::FetchError;
use crate::source::fetch::Fetcher;

/// The most that a header may have: it describes tracks, it holds no media.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// The most that is handed over at once, and about what arrives: the client's read buffer.
const PIECE_BYTES: usize = 64 << 10;

/// A key, once somebody has fetched it.
type KeyCell = Arc<OnceCell<[u8; 16]>>;

/// What all segments share.
struct Shared {
    fetcher: Arc<Fetcher>,
    parts: Parts,
    keys: Mutex<HashMap<Arc<Url>, KeyCell>>,
    has_breaks: bool,
}

/// What is taken off a segment, in this order.
struct Unwrapping {
    cipher: Option<Cipher>,
    tags: Option<Tags>,
    clockless: Option<Clockless>,
}

impl Unwrapping {
    fn push(&mut self, bytes: Bytes) -> Bytes {
        let plain = self.cipher.as_mut().map_or(bytes.clone(), |cipher| cipher.push(&bytes).into());
        let bare = self.tags.as_mut().map_or(plain.clone(), |tags| tags.push(plain));
        self.clockless.as_mut().map_or(bare.clone(), |clockless| clockless.push(&bare))
    }

    /// What is left at the end of it.
    fn finish(&mut self) -> Result<Bytes, FetchError> {
        let last = match self.cipher.take() {
            Some(cipher) => cipher.finish()?.into(),
            None => Bytes::new(),
        };
        let mut rest = vec![self.push(last)];
        if let Some(tags) = self.tags.take() {
            rest.push(self.push(tags.finish()));
        }
        rest.extend(self.clockless.take().map(Clockless::finish));
        Ok(rest.concat().into())
    }
}

/// A segment under way.
struct Flying {
    role: Role,
    /// Which it is of those with media, from 1; a header counts as belonging to the next.
    number: usize,
    /// What it brings; `None` is its end.
    pieces: mpsc::Receiver<Result<Option<Bytes>, FetchError>>,
    _task: AbortOnDropHandle<()>,
}

/// The stream of all segments.
pub(crate) struct Joined {
    shared: Arc<Shared>,
    segments: Vec<Segment>,
    /// How many have been begun, and of them those with media; and how many of those there are.
    begun: usize,
    begun_media: usize,
    all_media: usize,
    ahead: VecDeque<Flying>,
    /// What has come of a header that is not complete.
    gathered: Vec<u8>,
    /// The header that was given out.
    header: Option<Vec<u8>>,
}

impl Joined {
    /// Where there are breaks between them, the times in the media are of no use.
    pub(super) fn new(fetcher: Arc<Fetcher>, segments: Vec<Segment>, has_breaks: bool) -> Self {
        let shared = Shared { fetcher, parts: Parts::default(), keys: Mutex::default(), has_breaks };
        let all_media = segments.iter().filter(|segment| segment.role == Role::Media).count();
        Self {
            shared: Arc::new(shared),
            segments,
            begun: 0,
            begun_media: 0,
            all_media,
            ahead: VecDeque::new(),
            gathered: Vec::new(),
            header: None,
        }
    }

    /// The next bytes, never empty, or `None` at the end of the last segment. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            self.fly();
            let Some(first) = self.ahead.front_mut() else { return Ok(None) };
            let (role, number, of) = (first.role, first.number, self.all_media);
            // A task that is gone without a word was dropped by a runtime that shuts down.
            let piece = first.pieces.recv().await.unwrap_or(Err(FetchError::Short));
            if matches!(piece, Err(FetchError::NoRanges)) && !self.shared.parts.are_in_order() {
                self.go_in_order();
                continue;
            }
            let told = |cause: FetchError| FetchError::Segment { number, of, cause: Box::new(cause) };
            match (piece.map_err(told)?, role) {
                (Some(bytes), Role::Media) => return Ok(Some(bytes)),
                (Some(bytes), Role::Header) => self.gather(&bytes).map_err(told)?,
                (None, role) => {
                    self.ahead.pop_front();
                    if role == Role::Header
                        && let Some(header) = self.take_header().map_err(told)?
                    {
                        return Ok(Some(header));
                    }
                }
            }
        }
    }

    /// Begins anew with the segment that is due, which has brought nothing yet, and goes on one by one.
    fn go_in_order(&mut self) {
        tracing::debug!("the host serves no ranges: segments are fetched one by one");
        let media = self.ahead.iter().filter(|flying| flying.role == Role::Media).count();
        self.begun -= self.ahead.len();
        self.begun_media -= media;
        // Nobody listens to those under way before they may leave a body to others.
        self.ahead.clear();
        self.shared.parts.take_in_order();
    }

    /// Begins as many segments as there are connections.
    fn fly(&mut self) {
        let config = &self.shared.fetcher.config;
        let is_one_by_one = self.shared.parts.are_in_order();
        let connections = if is_one_by_one { 1 } else { config.max_connections.max(1) };
        // So that all of them together hold no more than the window.
        let capacity = (config.window_bytes / connections / PIECE_BYTES).max(1);
        while self.ahead.len() < connections {
            let Some(segment) = self.segments.get(self.begun) else { return };
            let (sender, pieces) = mpsc::channel(capacity);
            let task = tokio::spawn(bring(Arc::clone(&self.shared), segment.clone(), sender));
            let number = self.begun_media + 1;
            self.begun += 1;
            self.begun_media += usize::from(segment.role == Role::Media);
            self.ahead.push_back(Flying {
                role: segment.role,
                number,
                pieces,
                _task: AbortOnDropHandle::new(task),
            });
        }
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if self.gathered.len() + bytes.len() > MOST_HEADER_BYTES {
            return Err(PlaylistError::Malformed("a header is too large to be one".to_owned()).into());
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    /// The header that is complete, if it is the first: a demuxer takes one, and any other has to say the same.
    fn take_header(&mut self) -> Result<Option<Bytes>, FetchError> {
        let header = std::mem::take(&mut self.gathered);
        match &self.header {
            Some(first) if is_same_sound(first, &header) => Ok(None),
            Some(_) => Err(PlaylistError::Recoded.into()),
            None => {
                self.header = Some(header.clone());
                Ok(Some(header.into()).filter(|header: &Bytes| !header.is_empty()))
            }
        }
    }
}

/// Fetches one segment, takes off what is wrapped around its media, and says how it ended.
async fn bring(
    shared: Arc<Shared>,
    segment: Segment,
    sender: mpsc::Sender<Result<Option<Bytes>, FetchError>>,
) {
    let brought = shared.bring(&segment, &sender).await;
    // Whoever has stopped to listen does not want it any more.
    let _unheard = sender.send(brought.map(|()| None)).await;
}

impl Shared {
    async fn bring(
        &self,
        segment: &Segment,
        sender: &mpsc::Sender<Result<Option<Bytes>, FetchError>>,
    ) -> Result<(), FetchError> {
        let cipher = match &segment.key {
            Some(key) => Some(Cipher::new(&self.key(key).await?, &key.iv)),
            None => None,
        };
        let mut unwrapping = Unwrapping {
            cipher,
            tags: (segment.role == Role::Media).then(Tags::default),
            clockless: (segment.role == Role::Media && self.has_breaks).then(Clockless::default),
        };
        let mut download = Download::new(&self.fetcher, &segment.place, &self.parts);
        loop {
            let arrived = match download.next().await {
                Err(error) if segment.may_be_missing && !download.has_begun() && error.is_missing() => None,
                arrived => arrived?,
            };
            let is_over = arrived.is_none();
            let mut bytes = match arrived {
                Some(bytes) => unwrapping.push(bytes),
                None => unwrapping.finish()?,
            };
            while !bytes.is_empty() {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                // Whoever has stopped to listen does not want it any more.
                if sender.send(Ok(Some(piece))).await.is_err() {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// A key, which is fetched once, whoever needs it first.
    async fn key(&self, key: &Key) -> Result<[u8; 16], FetchError> {
        let cell = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(Arc::clone(&key.url)).or_default())
        };
        cell.get_or_try_init(|| self.fetch_key(&key.url)).await.copied()
    }

    async fn fetch_key(&self, url: &Url) -> Result<[u8; 16], FetchError> {
        let place = Place { url: url.clone(), range: None };
        let mut download = Download::new(&self.fetcher, &place, &self.parts);
        let mut bytes = Vec::new();
        while let Some(piece) = download.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > 16 {
                break;
            }
        }
        bytes.try_into().map_err(|_| PlaylistError::KeyLength.into())
    }
}
