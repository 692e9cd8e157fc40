//! The source as a correct player would play it: decoded, lined up with the picture, holes filled, ends trimmed,
//! every sample counted; and of that the part that was asked for.

mod tally;

use domain::{Failure, OutputSpec};

use self::tally::Tally;
use super::decode::Decoder;
use super::demux::Demux;
use super::ffi::{AvError, Frame, Shape};
use super::packet::Packet;
use super::part::Part;
use super::timeline::Timeline;
use super::{AvLimits, Host, container, copy, failures};

/// Silence is put out in pieces of at most so many samples.
const SILENCE_PIECE: u64 = 8192;
/// The lowest sampling rate taken, in Hz. Each sample of a lower one would become thousands in a result whose format
/// begins at 8 kHz, past every limit that counts what was decoded.
const LEAST_RATE: u32 = 1000;
/// The highest, in Hz: four times what any recorder makes. libav's resampler takes none much beyond.
const MOST_RATE: u32 = 768_000;

/// Sound, frame by frame.
pub(super) struct Playback<'h> {
    demux: Demux<'h>,
    decoder: Decoder,
    timeline: Timeline,
    part: Part,
    /// Decoded but held back: whether it is the last one, and so to be trimmed, is known with the next.
    held: Option<Frame>,
    /// Its turn comes after the silence.
    ready: Option<Frame>,
    silence: u64,
    /// Samples that were decoded and are to be heard.
    heard: u64,
    flushing: bool,
    tally: Tally,
    /// kbit/s of a source in the codec of the result.
    spent_kbps: Option<f64>,
}

impl<'h> Playback<'h> {
    /// Opens the source and decodes up to the first frame of the track that was asked for.
    pub(super) fn open(
        host: &'h mut dyn Host,
        limits: &AvLimits,
        output: &OutputSpec,
    ) -> Result<Self, Failure> {
        Self::of(Demux::open(host, limits, output)?, limits, output)
    }

    /// Decodes up to the first frame.
    pub(super) fn of(mut demux: Demux<'h>, limits: &AvLimits, output: &OutputSpec) -> Result<Self, Failure> {
        let track = demux.track().clone();
        let decoder = Decoder::open(demux.input(), &track)?;
        let spent_kbps = copy::spent_kbps(&mut demux, output)?;
        let mut playback = Self {
            timeline: Timeline::of(&mut demux),
            part: Part::new(output.span),
            demux,
            decoder,
            held: None,
            ready: None,
            silence: 0,
            heard: 0,
            flushing: false,
            tally: Tally::new(limits.clone()),
            spent_kbps,
        };
        playback.held = playback.decode()?;
        playback.skip()?;
        if playback.held.is_none() {
            return Err(playback.nothing_heard());
        }
        playback.shape().as_ref().map_or(Ok(()), check_usable)?;
        Ok(playback)
    }

    /// Goes from the first sound to where the part begins, past what nobody needs to decode.
    fn skip(&mut self) -> Result<(), Failure> {
        let time_base = self.demux.track().time_base;
        let (Some(skip), Some(held)) = (self.demux.skip().cloned(), &self.held) else { return Ok(()) };
        let (Some(at), Some(shape)) = (held.time(), held.shape()) else { return Ok(()) };
        let counted = skip.samples_from(at, held.samples(), time_base, shape.rate);
        let Some(samples) = counted else { return Ok(()) };
        check_usable(&shape)?;
        let silence = self.timeline.place(Some(time_base.secs(at)), held.samples(), shape.rate);
        let skipped = silence + samples;
        self.heard = samples;
        self.part.skip(skipped, shape.rate);
        self.timeline.skip(time_base.secs(skip.to_ticks), skipped as f64 / f64::from(shape.rate));
        self.demux.go_on()?;
        self.decoder.forget();
        let tally = self.tally.clone();
        let is_warm = |frame: &Frame| frame.time().is_none_or(|time| time >= skip.to_ticks);
        loop {
            self.held = self.decode()?;
            if self.held.as_ref().is_none_or(is_warm) {
                break;
            }
        }
        // What a decoder complains of while it warms up is no damage.
        self.tally = tally;
        Ok(())
    }

    fn nothing_heard(&mut self) -> Failure {
        let codec = self.demux.track().codec.clone();
        match container::is_locked(self.demux.input()) {
            Err(gone) => return gone,
            Ok(true) => return failures::undecodable(format!("the audio ({codec}) is encrypted")),
            Ok(false) => {}
        }
        let packets = self.tally.packets();
        if packets == 0 {
            // The header speaks of a track, and nothing of it follows.
            return match self.demux.check_end(0.0) {
                Err(failure) => failure,
                Ok(()) => failures::no_audio(format!("its {codec} audio track is empty")),
            };
        }
        failures::damaged(format!("none of {packets} packets of {codec} audio could be decoded"))
    }

    /// What the sound is made of at its start; it may change later.
    pub(super) fn shape(&self) -> Option<Shape> {
        self.held.as_ref().and_then(Frame::shape)
    }

    /// Bits of a sample, 16 to 24: what the decoder or the header says, else what the sample format can hold.
    pub(super) fn depth(&self) -> u32 {
        use ffmpeg_sys_next::AVSampleFormat::*;
        let said = [self.decoder.depth(), self.demux.track().depth].into_iter().find(|depth| *depth > 0);
        match self.shape().map(|shape| shape.format) {
            Some(AV_SAMPLE_FMT_U8 | AV_SAMPLE_FMT_U8P | AV_SAMPLE_FMT_S16 | AV_SAMPLE_FMT_S16P) => 16,
            Some(AV_SAMPLE_FMT_S32 | AV_SAMPLE_FMT_S32P) => said.unwrap_or(24).clamp(16, 24),
            _ => 24,
        }
    }

    /// kbit/s of the source, where more would be wasted on the result: both are of one lossy codec.
    pub(super) fn spent_kbps(&self) -> Option<f64> {
        self.spent_kbps
    }

    /// Seconds that the container promises of the part.
    pub(super) fn duration_secs(&self) -> Option<f64> {
        self.part.length_secs(self.demux.duration_secs())
    }

    /// Seconds put out so far.
    pub(super) fn length_secs(&self) -> f64 {
        self.part.given_secs()
    }

    /// How many samples at `rate` Hz a part has whose end was reached, to the sample.
    pub(super) fn samples_at(&self, rate: u32) -> Option<u64> {
        self.part.samples_at(rate)
    }

    /// Packets that were damaged and left out so far.
    pub(super) fn damaged_packets(&mut self) -> u64 {
        u64::from(self.tally.damaged()) + u64::from(self.demux.faults())
    }

    /// The track, as its packets come.
    pub(super) fn demux(&mut self) -> &mut Demux<'h> {
        &mut self.demux
    }

    /// Who answers.
    pub(super) fn host(&mut self) -> &mut dyn Host {
        self.demux.input().host()
    }

    /// The next samples; `None` once all that was asked for was played and was all there.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Failure> {
        while !self.part.is_over() {
            let Some(mut frame) = self.play()? else {
                let span = self.part.span();
                if self.part.is_missed() && span.start_secs > 0.0 {
                    return Err(failures::beyond_the_end(span.start_secs, self.timeline.length_secs()));
                }
                return Ok(None);
            };
            let rate = frame.shape().map_or(0, |shape| shape.rate);
            let wanted = self.part.take(frame.samples(), rate);
            if !wanted.is_empty() {
                frame.keep(wanted).map_err(|cause| failures::internal("a part of a frame", cause))?;
                return Ok(Some(frame));
            }
        }
        self.tally.check_damage(self.demux.faults(), 0, self.timeline.length_secs())?;
        Ok(None)
    }

    /// The next samples of the whole.
    fn play(&mut self) -> Result<Option<Frame>, Failure> {
        if let Some(frame) = self.next_silence()? {
            return Ok(Some(frame));
        }
        if let Some(frame) = self.ready.take() {
            return Ok(Some(frame));
        }
        let next = self.decode()?;
        let is_last = next.is_none();
        let Some(mut frame) = std::mem::replace(&mut self.held, next) else {
            let length_secs = self.timeline.length_secs();
            self.demux.check_end(length_secs)?;
            self.tally.check_damage(self.demux.faults(), 0, length_secs)?;
            return Ok(None);
        };
        let Some(shape) = frame.shape() else {
            return Err(failures::damaged("the decoder made sound of no known kind"));
        };
        check_usable(&shape)?;
        if let Some(secs) = self.demux.last_secs().filter(|_| is_last) {
            frame.shorten((secs * f64::from(shape.rate)).round() as u32);
        }
        if let Some(most) = self.demux.samples(shape.rate) {
            frame.shorten(u32::try_from(most.saturating_sub(self.heard)).unwrap_or(u32::MAX));
        }
        self.heard += u64::from(frame.samples());
        if frame.samples() == 0 {
            // Behind the end no silence is missing; it is read all the same, to see whether all is there.
            return Ok(Some(frame));
        }
        self.tally.count(&frame, &shape)?;
        let at = frame.time().map(|time| self.demux.track().time_base.secs(time));
        self.timeline.follow(self.demux.picture());
        self.silence = self.timeline.place(at, frame.samples(), shape.rate);
        self.ready = Some(frame);
        match self.next_silence()? {
            Some(silence) => Ok(Some(silence)),
            None => Ok(self.ready.take()),
        }
    }

    /// A piece of the silence that comes before the frame that is ready.
    fn next_silence(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(shape) = self.ready.as_ref().and_then(Frame::shape).filter(|_| self.silence > 0) else {
            return Ok(None);
        };
        let piece = self.silence.min(SILENCE_PIECE);
        self.silence -= piece;
        let frame = Frame::silence(&shape, piece as i32)
            .map_err(|cause| failures::internal("a frame of silence", cause))?;
        self.tally.count(&frame, &shape)?;
        Ok(Some(frame))
    }

    /// The next frame out of the decoder; damaged packets are skipped and counted.
    fn decode(&mut self) -> Result<Option<Frame>, Failure> {
        loop {
            match self.decoder.receive() {
                Ok(frame) if frame.samples() == 0 => {}
                Ok(frame) => {
                    self.tally.count_sound();
                    return Ok(Some(frame));
                }
                Err(AvError::END) => return Ok(None),
                Err(AvError::MEMORY) => return Err(failures::internal("the decoder", AvError::MEMORY)),
                Err(AvError::AGAIN) if !self.flushing => self.feed()?,
                Err(AvError::AGAIN) => return Ok(None),
                Err(_) => self.skip_damaged()?,
            }
        }
    }

    fn feed(&mut self) -> Result<(), Failure> {
        // Where the last packet of all is torn, the file ends early; another is damaged, if it decodes or not.
        let was_torn = self.demux.is_torn();
        let packet: Option<Packet> = self.demux.next()?;
        self.flushing = packet.is_none();
        if packet.is_some() {
            if was_torn {
                self.tally.count_damaged();
            }
            self.tally.count_packet(self.timeline.length_secs())?;
        }
        match self.decoder.send(packet.as_ref()) {
            Ok(()) | Err(AvError::AGAIN | AvError::END) => Ok(()),
            Err(AvError::MEMORY) => Err(failures::internal("the decoder", AvError::MEMORY)),
            Err(_) => self.skip_damaged(),
        }
    }

    fn skip_damaged(&mut self) -> Result<(), Failure> {
        self.tally.count_damaged();
        self.tally.check_so_far(self.demux.faults(), self.timeline.length_secs())
    }
}

/// Whether sound at so many Hz is taken.
pub(super) fn is_usable_rate(rate: u32) -> bool {
    (LEAST_RATE..=MOST_RATE).contains(&rate)
}

/// Fails for what can be decoded but not be made sound of.
fn check_usable(shape: &Shape) -> Result<(), Failure> {
    if !is_usable_rate(shape.rate) {
        return Err(failures::damaged(format!("its sampling rate is {} Hz", shape.rate)));
    }
    if shape.layout.is_named() {
        return Ok(());
    }
    Err(failures::undecodable(format!("it has {} channels in no known order", shape.layout.channels())))
}
