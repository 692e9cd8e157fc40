//! The packets of the chosen track, one after another. `opening` is how it begins, `reach` a watch on how far it comes and
//! whether it ends where it should.

mod opening;
mod reach;

use std::collections::VecDeque;
use std::ops::Range;

use domain::{Failure, Span};

use super::edges::Edges;
use super::ffi::AvError;
use super::input::Input;
use super::packet::Packet;
use super::picture_clock::Run;
use super::skip::Skip;
use super::track::Track;
use super::{container, failures};

/// So many failed reads on end are the end of what can be read.
const MOST_FAULTS_ON_END: u32 = 64;

/// How much further than to the end of a part is read: packets that decoders hold back, sound that begins early.
const BEYOND_SECS: f64 = 2.0;

/// One track of an opened container.
pub(super) struct Demux<'h> {
    input: Input<'h>,
    track: Track,
    /// Packets that were met while looking for the picture's start, or looked at.
    waiting: VecDeque<Met>,
    /// The streams of the picture that goes with the track.
    pictures: Vec<usize>,
    zero_secs: Option<f64>,
    /// The part that is wanted.
    span: Span,
    /// What of the track is left out, once its first sound has been heard.
    skip: Option<Skip>,
    /// How long it should be, where its end can be judged by that.
    expected_secs: Option<f64>,
    /// Whether its header counts what there is, so that nothing of it may be missing.
    is_counted: bool,
    /// It ends where it ends, also in the middle of a packet.
    is_endless: bool,
    /// Whether its end is asked for what it says of the whole once it has come.
    awaits_end: bool,
    /// The end of what was read of any stream that is watched.
    reach_secs: f64,
    longest_packet_secs: f64,
    /// What the picture's clock went through without a jump, as far as its packets came.
    run: Run,
    /// Whether that is read off the bytes instead.
    has_clock: bool,
    /// The same as of the latest packet of the track that was given out.
    picture: Option<Range<f64>>,
    origin_secs: Option<f64>,
    /// When the first sound is heard, by the track's clock.
    first_sound_secs: Option<f64>,
    edges: Edges,
    ending: Ending,
}

/// A packet, and what the picture had gone through when it was read.
struct Met {
    packet: Packet,
    picture: Option<Range<f64>>,
}

/// What is known of the way it ended.
#[derive(Default)]
struct Ending {
    is_torn: bool,
    faults: u32,
    /// Once it has come: whether it is where nothing can be read any more. It is not asked for again.
    met: Option<bool>,
}

impl<'h> Demux<'h> {
    /// The next packet of the track.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, Failure> {
        let Met { mut packet, picture } = loop {
            let Some(met) = (match self.waiting.pop_front() {
                Some(met) => Some(met),
                None => self.read_any()?,
            }) else {
                return self.check_late().map(|()| None);
            };
            if met.packet.stream() == self.track.index {
                break met;
            }
        };
        if packet.is_encrypted() {
            return Err(failures::undecodable(format!("the audio ({}) is encrypted", self.track.codec)));
        }
        let passed = self.edges.pass(&mut packet, &self.track);
        passed.map_err(|cause| failures::internal("a packet", cause))?;
        self.ending.is_torn = packet.is_torn();
        self.picture = picture;
        self.hear_first(&packet);
        Ok(Some(packet))
    }

    fn hear_first(&mut self, packet: &Packet) {
        let Some(time) = packet.time().filter(|_| self.first_sound_secs.is_none() && !packet.is_unheard())
        else {
            return;
        };
        let skipped = packet.trims().map_or(0, |(skipped, _)| skipped);
        let skipped_secs = f64::from(skipped) / f64::from(self.track.rate.max(1));
        self.first_sound_secs = Some(self.track.time_base.secs(time) + skipped_secs);
    }

    /// Where what was asked for is over for certain, on the track's clock.
    pub(super) fn until_secs(&self) -> Option<f64> {
        self.span.end_secs.map(|end| end + self.zero_secs.unwrap_or(0.0) + BEYOND_SECS)
    }

    /// What is to be left out from here on.
    pub(super) fn skip(&self) -> Option<&Skip> {
        self.skip.as_ref()
    }

    /// Leaves it out: the next packet is the first that a decoder needs for what follows.
    pub(super) fn go_on(&mut self) -> Result<(), Failure> {
        let Some(skip) = self.skip.take() else { return Ok(()) };
        self.waiting.clear();
        self.ending.met = None;
        let sought = self.input.seek(self.track.index, skip.from_ticks);
        sought.map_err(|cause| {
            self.input.unless_gone(failures::damaged(format!("no way to its part: {cause}")))
        })
    }

    /// What could not be asked of a source whose end was still to come.
    fn check_late(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.awaits_end) {
            return Ok(());
        }
        self.input.has_ended();
        let tracks = self.input.tracks();
        let track = tracks.get(self.track.index).unwrap_or(&self.track);
        if container::check_complete(&mut self.input, track)? {
            self.expected_secs = container::least_secs(&mut self.input, track)?;
        }
        Ok(())
    }

    /// The next packet of any kept stream; what cannot be read is skipped.
    fn read_any(&mut self) -> Result<Option<Met>, Failure> {
        let out_of_memory = |cause| failures::internal("a packet", cause);
        if let Some(is_unreadable) = self.ending.met {
            self.ending.is_torn |= is_unreadable;
            return Ok(None);
        }
        let mut packet = Packet::new().map_err(out_of_memory)?;
        for _ in 0..MOST_FAULTS_ON_END {
            match self.input.read(&mut packet) {
                Ok(()) => {
                    self.reach(&packet);
                    return Ok(Some(Met { packet, picture: self.played() }));
                }
                Err(_) if self.input.is_gone() => return Err(failures::gone()),
                Err(AvError::END) => {
                    self.ending.met = Some(false);
                    return Ok(None);
                }
                Err(AvError::MEMORY) => return Err(out_of_memory(AvError::MEMORY)),
                Err(AvError::AGAIN) => {}
                Err(_) => self.ending.faults += 1,
            }
        }
        self.ending.met = Some(true);
        self.ending.is_torn = true;
        Ok(None)
    }

    /// Reads as far as the first packet, by whose time the result begins where there is no picture.
    pub(super) fn look_at_first(&mut self) -> Result<(), Failure> {
        self.look(|_| Ok(true)).map(|_| ())
    }

    /// Shows what is to come, up to the packet of which `is_enough` says so; all of it comes again. Returns whether that
    /// is all that there is.
    pub(super) fn look(
        &mut self,
        mut is_enough: impl FnMut(&Packet) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let mut seen = Vec::new();
        let is_all = loop {
            let Some(packet) = self.next()? else { break true };
            let is_last = is_enough(&packet)?;
            seen.push(Met { packet, picture: self.picture.clone() });
            if is_last {
                break false;
            }
        };
        seen.into_iter().rev().for_each(|met| self.waiting.push_front(met));
        // What is shown was not given out.
        self.ending.is_torn = false;
        Ok(is_all)
    }

    /// Seconds that the container promises.
    pub(super) fn duration_secs(&self) -> Option<f64> {
        let listed = self.input.playlist().map(|playlist| playlist.duration_secs);
        listed.or(self.track.duration_secs).or_else(|| self.input.duration_secs())
    }

    /// The container.
    pub(super) fn input(&mut self) -> &mut Input<'h> {
        &mut self.input
    }

    /// The track.
    pub(super) fn track(&self) -> &Track {
        &self.track
    }

    /// What the picture calls zero, where there is a picture or an edit list.
    pub(super) fn zero_secs(&self) -> Option<f64> {
        self.zero_secs
    }

    /// Whether the track's clock is fine enough to say of each sample when it plays.
    pub(super) fn tells_samples_apart(&self) -> bool {
        self.track.time_base.tells_samples_apart(self.track.rate)
    }

    /// When the result begins by the source's clock: with the picture, or with the sound if that is first or alone.
    pub(super) fn start_secs(&self) -> f64 {
        let sooner = |zero: f64| self.first_sound_secs.map_or(zero, |sound| zero.min(sound));
        self.zero_secs.map(sooner).or(self.origin_secs).unwrap_or(0.0).max(0.0)
    }

    /// Whether only a part of the latest packet was there.
    pub(super) fn is_torn(&self) -> bool {
        self.ending.is_torn
    }

    /// Packets that the demuxer could not read.
    pub(super) fn faults(&self) -> u32 {
        self.ending.faults
    }

    /// How much of the last packet belongs to the sound, in seconds, where that is less than usual.
    pub(super) fn last_secs(&self) -> Option<f64> {
        self.edges.last_secs(&self.track).filter(|_| !self.ending.is_torn)
    }

    /// How many samples at `rate` Hz there are, where the container says so apart from its times.
    pub(super) fn samples(&self, rate: u32) -> Option<u64> {
        self.edges.samples(&self.track, rate)
    }
}
