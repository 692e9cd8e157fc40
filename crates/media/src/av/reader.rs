//! The source as libav reads it: a position, and a window of bytes around it, filled by asking the host.
//!
//! libav itself is told not to read ahead: between two packets of audio there may be megabytes of video that nobody
//! wants fetched. What is read ahead is decided here, where the plan is known.

use std::collections::BTreeMap;
use std::ops::Range;

use domain::Playlist;

use super::picture_clock::PictureClock;
use super::{Host, HostGone};

/// A first look somewhere: headers and boxes are small.
const LOOK_BYTES: u64 = 64 << 10;
/// What follows on a look is read in larger steps; also the most that one question asks for.
const STRIDE_BYTES: u64 = 256 << 10;
/// Ranges that the host is told of at once: a frame of every picture for a quarter of an hour, in half a megabyte.
const TOLD_RANGES: usize = 32_768;

/// The source, the place in it, and what of it is at hand.
pub(super) struct Reader<'h> {
    host: &'h mut dyn Host,
    position: u64,
    size: Option<u64>,
    /// Whether libav is not told the size: it would have to wait for the end to hear it.
    hides_size: bool,
    window_at: u64,
    window: Vec<u8>,
    /// What will be read, by offset; empty where there is no index.
    planned: Vec<Range<u64>>,
    /// How many of them the host has been told of.
    told: usize,
    /// Bytes that are read from here, whatever the host has there; by offset, none overlapping another.
    shelf: BTreeMap<u64, Vec<u8>>,
    /// Watches what is read.
    clock: Option<PictureClock>,
    gone: bool,
}

impl<'h> Reader<'h> {
    /// At the start.
    pub(super) fn new(host: &'h mut dyn Host) -> Self {
        Self {
            host,
            position: 0,
            size: None,
            hides_size: false,
            window_at: 0,
            window: Vec::new(),
            planned: Vec::new(),
            told: 0,
            shelf: BTreeMap::new(),
            clock: None,
            gone: false,
        }
    }

    /// The playlist that the source was made of, if it was.
    pub(super) fn playlist(&self) -> Option<Playlist> {
        self.host.playlist()
    }

    /// Who answers.
    pub(super) fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    /// Whether the host has gone: the cause of whatever libav complains of since.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Where the next read begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Moves. Beyond the end is allowed; a read there finds nothing.
    pub(super) fn seek(&mut self, position: u64) {
        self.position = position;
    }

    /// Has this clock watch what is read from here on.
    pub(super) fn show(&mut self, clock: PictureClock) {
        self.clock = Some(clock);
    }

    /// The clock that watches.
    pub(super) fn clock(&self) -> Option<&PictureClock> {
        self.clock.as_ref()
    }

    /// From here on libav is not told the size.
    pub(super) fn hide_size(&mut self) {
        self.hides_size = true;
    }

    /// Whether libav is not told the size.
    pub(super) fn hides_size(&self) -> bool {
        self.hides_size
    }

    /// The source's length, asked for once.
    pub(super) fn size(&mut self) -> Result<u64, HostGone> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        let size = self.host.size().inspect_err(|_| self.gone = true)?;
        self.size = Some(size);
        Ok(size)
    }

    /// Says what will be read, to the host and to this reader. A long plan is told as it is read, if that is from
    /// front to back; of one in another order the host hears the beginning.
    pub(super) fn plan(&mut self, mut ranges: Vec<Range<u64>>) {
        // What a header claims may lie beyond every file.
        ranges.retain(|range| range.start < range.end && range.end <= i64::MAX as u64);
        let is_ascending = ranges.is_sorted_by_key(|range| range.start);
        self.told = if is_ascending { ranges.len().min(TOLD_RANGES) } else { ranges.len() };
        self.host.plan(&ranges[..ranges.len().min(TOLD_RANGES)]);
        self.planned = ranges;
        self.planned.sort_by_key(|range| range.start);
    }

    /// Tells the host more of the plan, once the reader is three quarters through what it has been told.
    fn tell_more(&mut self, next: usize) {
        if self.told < self.planned.len() && next + TOLD_RANGES / 4 >= self.told {
            self.told = self.planned.len().min(next + TOLD_RANGES);
            self.host.plan(&self.planned[next..self.told]);
        }
    }

    /// Puts bytes where they are read from instead of the host; those that are there already stay.
    pub(super) fn shelve(&mut self, offset: u64, mut bytes: Vec<u8>) {
        let before = self.shelf.range(..=offset).next_back();
        let is_there = before.is_some_and(|(start, there)| start + there.len() as u64 > offset);
        bytes.truncate(self.unshelved(offset, bytes.len()));
        if !is_there && !bytes.is_empty() {
            self.shelf.insert(offset, bytes);
        }
    }

    /// How many of these bytes come before the next that have been put here.
    pub(super) fn unshelved(&self, offset: u64, count: usize) -> usize {
        let next = self.shelf.range(offset..).next().map(|(start, _)| start - offset);
        next.and_then(|next| usize::try_from(next).ok()).map_or(count, |next| count.min(next))
    }

    /// `count` bytes from `offset`, or as many as there are. The place in the source stays as it is.
    pub(super) fn look(&mut self, offset: u64, count: usize) -> Result<Vec<u8>, HostGone> {
        let position = std::mem::replace(&mut self.position, offset);
        let mut bytes = vec![0; count];
        let (mut filled, mut end) = (0, Ok(()));
        while filled < count && end.is_ok() {
            match self.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(gone) => end = Err(gone),
            }
        }
        self.position = position;
        bytes.truncate(filled);
        end.map(|()| bytes)
    }

    /// Reads on; 0 only at the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, HostGone> {
        if self.at_hand().is_empty() {
            self.fill().inspect_err(|_| self.gone = true)?;
        }
        let count = self.at_hand().len().min(into.len());
        into[..count].copy_from_slice(&self.at_hand()[..count]);
        if let Some(clock) = &mut self.clock {
            clock.watch(self.position, &into[..count]);
        }
        self.position += count as u64;
        Ok(count)
    }

    fn at_hand(&self) -> &[u8] {
        let from = |start: u64, bytes: &'_ [u8]| {
            let skip = self.position.checked_sub(start).and_then(|skip| usize::try_from(skip).ok());
            skip.filter(|skip| *skip < bytes.len())
        };
        if let Some((start, bytes)) = self.shelf.range(..=self.position).next_back()
            && let Some(skip) = from(*start, bytes)
        {
            return &bytes[skip..];
        }
        let Some(skip) = from(self.window_at, &self.window) else { return &[] };
        let count = self.unshelved(self.position, self.window.len() - skip);
        &self.window[skip..skip + count]
    }

    fn fill(&mut self) -> Result<(), HostGone> {
        if self.gone {
            return Err(HostGone);
        }
        let want = usize::try_from(self.wanted()).unwrap_or(0);
        self.window.resize(want, 0);
        let got = self.host.read_at(self.position, &mut self.window);
        self.window.truncate(*got.as_ref().unwrap_or(&0));
        self.window_at = self.position;
        got.map(|_| ())
    }

    /// How much to ask for: the rest of the planned range, else a look, else a stride if it goes on where the last
    /// one ended.
    fn wanted(&mut self) -> u64 {
        let next = self.planned.partition_point(|range| range.end <= self.position);
        self.tell_more(next);
        if let Some(range) = self.planned.get(next).filter(|range| range.contains(&self.position)) {
            return (range.end - self.position).min(STRIDE_BYTES);
        }
        let goes_on = self.position == self.window_at + self.window.len() as u64 && !self.window.is_empty();
        if goes_on { STRIDE_BYTES } else { LOOK_BYTES }
    }
}

#[cfg(test)]
mod tests;
