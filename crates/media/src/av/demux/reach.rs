//! How far the packets reach, and whether that is as far as the header says.

use std::ops::Range;

use domain::{Access, Failure};

use super::super::copy::flac_end;
use super::super::failures;
use super::super::packet::Packet;
use super::Demux;

/// One packet, and what a clock rounds off it.
const ONE_PACKET: f64 = 1.01;

impl Demux<'_> {
    /// Notes how far a packet reaches.
    pub(super) fn reach(&mut self, packet: &Packet) {
        let is_other = packet.stream() != self.track.index;
        // What was read to open the container comes too, whatever stream it is of.
        if self.watches_picture() && self.pictures.contains(&packet.stream()) {
            let at_secs = packet.time().map(|time| self.track.time_base.secs(time));
            at_secs.into_iter().for_each(|at_secs| self.run.pass(at_secs));
        }
        if is_other && !self.watches_all() {
            return;
        }
        // The containers that are watched as a whole count alike in all their streams.
        let time_base = self.track.time_base;
        if let Some(time) = packet.time() {
            let duration = packet.duration().unwrap_or(0);
            let end = time_base.secs(time.saturating_add(duration));
            let origin = *self.origin_secs.get_or_insert(time_base.secs(time).min(end));
            let end =
                if self.input.container() == "flac" { self.flac_end_secs(packet) } else { end - origin };
            self.reach_secs = self.reach_secs.max(end);
            self.longest_packet_secs = self.longest_packet_secs.max(time_base.secs(duration));
        }
    }

    /// FLAC's frames are numbered, and have no other clock: libav's stands still where a frame's head is damaged.
    fn flac_end_secs(&self, frame: &Packet) -> f64 {
        let samples = flac_end(frame.bytes(), self.input.extradata(self.track.index));
        samples.map_or(0.0, |samples| samples as f64 / f64::from(self.track.rate.max(1)))
    }

    /// Where every byte is read anyway and clocks may jump, the picture's clock is followed to say whether they did: by its
    /// packets, unless that is read off the bytes.
    pub(super) fn watches_picture(&self) -> bool {
        matches!(self.input.container(), "ts" | "mpeg") && !self.has_clock
    }

    /// Reads the picture's clock off the bytes, where all of them pass by that belong to the packets to come: of a source
    /// that comes once, libav has kept packets from opening it.
    pub(super) fn follow_clock(&mut self) {
        let is_read_anew = self.input.access() == Access::Random && !self.input.is_stream();
        if let ("ts", true, Some(picture)) = (self.input.container(), is_read_anew, self.pictures.first()) {
            self.has_clock = true;
            self.input.follow_clock(*picture);
        }
    }

    /// What the picture went through, as far as it was read.
    pub(super) fn played(&mut self) -> Option<Range<f64>> {
        let run = if self.has_clock { self.input.followed() } else { Some(&self.run) };
        run.and_then(|run| run.latest().cloned())
    }

    /// From when to when the picture played without a break, up to the latest packet.
    pub(in super::super) fn picture(&self) -> Option<&Range<f64>> {
        self.picture.as_ref()
    }

    /// flv, asf and playlists say only how long the whole is, so the picture is read along to see whether it is all
    /// there.
    pub(super) fn watches_all(&self) -> bool {
        let is_listed = self.input.is_stream() && self.input.container() == "ts";
        is_listed || matches!(self.input.container(), "flv" | "asf")
    }

    /// Once all is read and `heard_secs` of sound came of it: fails if the file ends before it should.
    pub(in super::super) fn check_end(&self, heard_secs: f64) -> Result<(), Failure> {
        let is_by_clock = self.is_counted || self.watches_all();
        let reached = if is_by_clock { self.reach_secs.max(heard_secs) } else { heard_secs };
        if let Some(expected) = self.expected_secs
            && reached + self.slack_secs(expected) < expected
        {
            return Err(failures::truncated(reached, expected));
        }
        // A recording of a broadcast begins and ends wherever it was cut.
        let is_stream = self.is_endless
            || matches!(self.input.container(), "ts" | "mpeg" | "mp3" | "aac" | "ac3" | "eac3" | "dts");
        if self.ending.is_torn && !is_stream { Err(failures::torn(heard_secs)) } else { Ok(()) }
    }

    /// What may be missing at the end. Where packets are counted, the last may be damaged, or be none: of some mp3 the
    /// header is counted too. Others say how long the picture is, or round.
    fn slack_secs(&self, expected: f64) -> f64 {
        if self.is_counted {
            return ONE_PACKET * self.longest_packet_secs;
        }
        let listed = self.input.playlist().map_or(0.0, |playlist| playlist.slack_secs);
        (expected * 0.01).max(0.5) + listed
    }
}
