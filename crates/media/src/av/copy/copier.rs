//! One copy: each packet is looked at, placed in time and written. It ends as unfit as soon as the packets turn out not
//! to keep the time line, to within one frame of a lossy codec and to the sample of a lossless one.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::fs::File;
use std::rc::Rc;

use domain::{AudioFormat, Extracted, Failure, Method, Step};

use super::super::demux::Demux;
use super::super::ffi::AvError;
use super::super::mux::{Muxer, Origin};
use super::super::packet::Packet;
use super::super::progress::Telling;
use super::super::tags::Tags;
use super::super::timeline::Timeline;
use super::super::{AvLimits, failures};
use super::mp3::{DECODER_DELAY, Info, MOST_TRIM};
use super::plan::Plan;

/// Samples before the sound: what an Opus header can say.
const MOST_PRIMING: u64 = u16::MAX as u64;

/// How it went.
pub(in super::super) enum Outcome {
    /// The file is complete.
    Copied(Extracted),
    /// It is to be encoded.
    Unfit,
}

/// Why it does not go on.
enum Stop {
    Unfit,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Copier<'h> {
    demux: Demux<'h>,
    plan: Plan,
    timeline: Timeline,
    muxer: Muxer,
    /// Until the header is written.
    tags: Tags,
    /// The header of an mp3, and where it stands.
    info: Option<(Info, i64)>,
    /// Before the sound, and not written yet.
    lead: VecDeque<(Packet, u32)>,
    /// The latest packet: whether it is the last is known with the next.
    held: Option<(Packet, u32)>,
    /// Samples still to be skipped.
    skip: u32,
    /// Samples before the first that is heard.
    priming: u64,
    has_begun: bool,
    /// Samples of the latest packet that are not heard.
    end_trim: u32,
    /// Whether what came last is not to be heard at all.
    is_past_end: bool,
    /// Whether what came last is no packet, and so must be the end.
    ends_in_junk: bool,
    /// Samples that ought to be silence, and are not there.
    missing: u64,
    /// When the next packet plays, in samples.
    clock: i64,
    heard: u64,
    bytes: u64,
    samples: u64,
    max_samples: u64,
}

/// Copies the track into the file, which is left in any state if that cannot be.
pub(in super::super) fn copy(
    plan: Plan,
    demux: Demux<'_>,
    tags: Tags,
    limits: &AvLimits,
    into: Rc<File>,
) -> Result<Outcome, Failure> {
    let muxer = Muxer::new(into, limits.max_output_bytes);
    let muxer = muxer.map_err(|cause| failures::internal("the muxer", cause))?;
    let mut copier = Copier::new(plan, demux, tags, muxer, limits);
    match copier.run() {
        Ok(extracted) => Ok(Outcome::Copied(extracted)),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Unfit) => Ok(Outcome::Unfit),
    }
}

impl<'h> Copier<'h> {
    fn new(plan: Plan, mut demux: Demux<'h>, tags: Tags, muxer: Muxer, limits: &AvLimits) -> Self {
        let opus_skip = match (plan.format, plan.parameters.extradata()) {
            (AudioFormat::Opus, [_, _, _, _, _, _, _, _, _, _, low, high, ..]) => {
                u16::from_le_bytes([*low, *high]).into()
            }
            _ => 0,
        };
        Self {
            timeline: Timeline::of(&mut demux),
            demux,
            plan,
            muxer,
            tags,
            info: None,
            lead: VecDeque::new(),
            held: None,
            skip: opus_skip,
            priming: 0,
            has_begun: false,
            end_trim: 0,
            is_past_end: false,
            ends_in_junk: false,
            missing: 0,
            clock: 0,
            heard: 0,
            bytes: 0,
            samples: 0,
            max_samples: limits.max_decoded_samples,
        }
    }

    fn run(&mut self) -> Result<Extracted, Stop> {
        let whole_secs = self.demux.duration_secs();
        let progress = Telling::new(Step::Extracting, whole_secs, self.demux.input().host());
        while let Some(packet) = self.demux.next()? {
            self.take(packet)?;
            progress.tell(self.timeline.length_secs(), self.demux.input().host());
        }
        self.finish()
    }

    fn take(&mut self, mut packet: Packet) -> Result<(), Stop> {
        if self.ends_in_junk {
            return Err(Stop::Unfit);
        }
        let Some(samples) = self.plan.framing.samples(packet.bytes()) else {
            self.ends_in_junk = self.has_begun && self.plan.framing.is_junk(packet.bytes());
            return if self.ends_in_junk { Ok(()) } else { Err(Stop::Unfit) };
        };
        packet.keep(self.plan.framing.frame(packet.bytes()));
        let is_changed = packet.new_extradata().is_some_and(|new| new != self.plan.parameters.extradata());
        if is_changed || self.demux.is_torn() {
            return Err(Stop::Unfit);
        }
        self.count(&packet, samples)?;
        let (skip, discard) = packet.trims().unwrap_or((self.skip, 0));
        let dropped = if packet.is_unheard() { samples } else { skip.min(samples) };
        self.skip = skip.saturating_sub(dropped);
        let heard = (samples - dropped).saturating_sub(discard);
        if heard == 0 {
            return self.take_unheard(packet, samples);
        }
        // What is cut out in between cannot be said by any of the formats.
        let is_cut = self.has_begun && (dropped > 0 || self.end_trim > 0 || self.is_past_end);
        if is_cut {
            return Err(Stop::Unfit);
        }
        self.end_trim = discard;
        self.place(&packet, dropped, heard)?;
        if !std::mem::replace(&mut self.has_begun, true) {
            self.priming += u64::from(dropped);
            self.begin()?;
        }
        self.write_held()?;
        self.held = Some((packet, samples));
        Ok(())
    }

    /// Counts against the limit: whoever plays the result decodes it.
    fn count(&mut self, packet: &Packet, samples: u32) -> Result<(), Failure> {
        self.bytes += packet.size() as u64;
        self.samples += u64::from(samples) * u64::from(self.plan.channels);
        if self.samples > self.max_samples {
            let most = self.max_samples;
            return Err(failures::over_limit(format!("more than {most} samples over all channels")));
        }
        Ok(())
    }

    /// A packet before the sound, for the decoder alone, or one after it.
    fn take_unheard(&mut self, packet: Packet, samples: u32) -> Result<(), Stop> {
        if self.has_begun {
            self.is_past_end = samples > 0;
            return Ok(());
        }
        self.priming += u64::from(samples);
        if self.plan.format == AudioFormat::Aac {
            // ADTS cannot say that it is not to be heard. One packet must do, for the next to overlap with.
            self.lead.clear();
        } else if self.priming > MOST_PRIMING {
            return Err(Stop::Unfit);
        }
        self.lead.push_back((packet, samples));
        Ok(())
    }

    /// Fails where silence would have to be put in.
    fn place(&mut self, packet: &Packet, dropped: u32, heard: u32) -> Result<(), Stop> {
        let rate = self.plan.rate;
        let time = packet
            .time()
            .map(|time| self.demux.track().time_base.secs(time) + f64::from(dropped) / f64::from(rate));
        self.timeline.follow(self.demux.picture());
        self.missing += self.timeline.place(time, heard, rate);
        self.heard += u64::from(heard);
        let tolerance = if self.plan.is_lossless() { 0 } else { u64::from(dropped + heard) };
        if self.missing > tolerance { Err(Stop::Unfit) } else { Ok(()) }
    }

    /// The priming is known: the header can be written, and what comes before the sound.
    fn begin(&mut self) -> Result<(), Stop> {
        let priming = u32::try_from(self.priming).map_err(|_| Stop::Unfit)?;
        match self.plan.format {
            AudioFormat::Opus => {
                let said = u16::try_from(priming).map_err(|_| Stop::Unfit)?;
                if let Some(place) = self.plan.parameters.extradata_mut().get_mut(10..12) {
                    place.copy_from_slice(&said.to_le_bytes());
                }
                self.clock = -i64::from(priming);
            }
            AudioFormat::Mp3 if priming > MOST_TRIM + DECODER_DELAY => return Err(Stop::Unfit),
            AudioFormat::Mp3 | AudioFormat::Aac => {}
            AudioFormat::Flac | AudioFormat::Wav | AudioFormat::Ogg if priming > 0 => {
                return Err(Stop::Unfit);
            }
            AudioFormat::Flac | AudioFormat::Wav | AudioFormat::Ogg => {}
        }
        let (tags, rate) = (std::mem::take(&mut self.tags), self.rate());
        let begun = self.muxer.begin(self.plan.format, &self.plan.parameters, rate, Origin::Source, tags);
        self.written(begun)?;
        if let super::framing::Framing::Mp3(Some(first)) = self.plan.framing {
            self.begin_mp3(Info::new(first), priming)?;
        }
        while let Some((packet, samples)) = self.lead.pop_front() {
            self.write(packet, samples)?;
        }
        Ok(())
    }

    /// Keeps room for the header. Its numbers count from the decoder's delay, so that a sound which begins earlier gets
    /// a frame of silence before it, to be trimmed instead; where nothing is trimmed, nothing need be said.
    fn begin_mp3(&mut self, info: Info, priming: u32) -> Result<(), Stop> {
        let may_end_early = self.demux.input().container() == "mkv";
        let needs_warm_up = priming < DECODER_DELAY && (priming > 0 || may_end_early);
        let (frame, warm_up) = (info.frame(None), info.warm_up());
        let at = self.muxer.position();
        self.info = None;
        self.write_bytes(&frame, 0)?;
        self.info = Some((info, at));
        if needs_warm_up {
            let samples = super::mp3::FrameHead::parse(&warm_up).map_or(0, super::mp3::FrameHead::samples);
            self.priming += u64::from(samples);
            self.write_bytes(&warm_up, samples)?;
        }
        Ok(())
    }

    fn write_held(&mut self) -> Result<(), Stop> {
        self.held.take().map_or(Ok(()), |(packet, samples)| self.write(packet, samples))
    }

    fn write_bytes(&mut self, bytes: &[u8], samples: u32) -> Result<(), Stop> {
        self.write(Packet::of(&[bytes]).map_err(internal)?, samples)
    }

    fn write(&mut self, mut packet: Packet, samples: u32) -> Result<(), Stop> {
        if let Some((info, _)) = &mut self.info {
            info.count(packet.bytes());
        }
        packet.place(self.clock, i64::from(samples));
        self.clock += i64::from(samples);
        let written = self.muxer.write(&packet, self.rate());
        self.written(written)
    }

    /// What a muxer refuses is not the source's fault: encoded, it may be taken. A full file is another matter.
    fn written(&mut self, result: Result<(), AvError>) -> Result<(), Stop> {
        match (self.muxer.refusal(), result) {
            (Some(failure), _) => Err(Stop::Failed(failure)),
            (None, Err(AvError::MEMORY)) => Err(internal(AvError::MEMORY)),
            (None, Err(_)) => Err(Stop::Unfit),
            (None, Ok(())) => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Extracted, Stop> {
        let faults = u64::from(self.demux.faults());
        let (Some((packet, samples)), 0) = (self.held.take(), faults) else { return Err(Stop::Unfit) };
        if let Some(secs) = self.demux.last_secs().filter(|_| !self.is_past_end) {
            let lasting = (secs * f64::from(self.plan.rate)).round() as u32;
            self.trim_end(samples.saturating_sub(lasting));
        }
        self.demux.check_end(self.timeline.length_secs())?;
        self.check_promises()?;
        // mp3 says it in its header, ADTS not at all.
        let is_said_by_time = matches!(self.plan.format, AudioFormat::Opus | AudioFormat::Ogg);
        self.write(packet, if is_said_by_time { samples - self.end_trim } else { samples })?;
        self.finish_mp3()?;
        let completed = self.muxer.complete();
        self.written(completed)?;
        Ok(Extracted {
            size: self.muxer.size()?,
            samples: self.heard,
            sample_rate: self.plan.rate,
            channels: self.plan.channels,
            constant_kbps: None,
            method: Method::Copy,
            damaged_packets: 0,
            loudness: None,
            metadata_left_out: self.muxer.left_out(),
        })
    }

    /// Leaves out so many samples of the last packet, at least.
    fn trim_end(&mut self, trim: u32) {
        let more = trim.saturating_sub(self.end_trim);
        self.end_trim += more;
        self.heard = self.heard.saturating_sub(u64::from(more));
    }

    fn check_promises(&mut self) -> Result<(), Stop> {
        let is_trimmed = self.plan.is_lossless() && self.end_trim > 0;
        let is_other = self.plan.promised.is_some_and(|promised| promised != self.heard);
        let is_damaged = self.ends_in_junk && !self.is_all_there();
        let average = self.average_kbps();
        let is_too_much = self.plan.most_kbps.is_some_and(|most| average > most);
        if is_trimmed || is_other || is_damaged || is_too_much || self.heard == 0 {
            Err(Stop::Unfit)
        } else {
            Ok(())
        }
    }

    /// Whether there are as many samples as its header counts, if it does: what is no frame may have been one.
    fn is_all_there(&mut self) -> bool {
        let input = self.demux.input();
        let counted_secs = input.duration_secs().filter(|_| !input.duration_is_guessed());
        let there = self.samples / u64::from(self.plan.channels.max(1));
        counted_secs.is_none_or(|secs| there >= (secs * f64::from(self.plan.rate)).floor() as u64)
    }

    fn finish_mp3(&mut self) -> Result<(), Stop> {
        let Some((info, at)) = self.info.take() else { return Ok(()) };
        let priming = u32::try_from(self.priming).unwrap_or(0);
        let is_trimmed = priming > 0 || self.end_trim > 0;
        // Where no frame of silence was put before it, a trimmed end cannot be said, and is heard.
        let trims =
            (priming >= DECODER_DELAY).then(|| (priming - DECODER_DELAY, self.end_trim + DECODER_DELAY));
        if is_trimmed && trims.is_none() {
            self.heard += u64::from(self.end_trim);
        }
        let written = self.muxer.overwrite(at, &info.frame(trims));
        self.written(written)
    }

    fn rate(&self) -> c_int {
        c_int::try_from(self.plan.rate).unwrap_or(c_int::MAX)
    }

    fn average_kbps(&self) -> f64 {
        let secs =
            (self.samples / u64::from(self.plan.channels.max(1))) as f64 / f64::from(self.plan.rate.max(1));
        self.bytes as f64 * 8.0 / secs.max(0.001) / 1000.0
    }
}

fn internal(cause: AvError) -> Stop {
    Stop::Failed(failures::internal("a packet", cause))
}
