//! Samples into the result: cut to the encoder's frames, encoded, muxed.

use std::fs::File;
use std::rc::Rc;

use domain::{AudioFormat, Failure, MetadataPart};

use super::codec::Codec;
use super::crew::Crew;
use super::failures;
use super::ffi::{AvError, Frame, Layout, Shape};
use super::gather::Gatherer;
use super::mux::{Muxer, Origin, Parameters};
use super::packet::Packet;
use super::quality::Encoding;
use super::tags::Tags;

/// An encoder and a muxer on a file.
pub(super) struct Encoder {
    codec: Codec,
    muxer: Muxer,
    gathered: Gatherer,
    packet: Packet,
    /// Samples a channel that were encoded.
    encoded: i64,
    /// Who encodes instead of `codec`, where several do.
    crew: Option<Crew>,
    /// Samples a channel that were muxed, of what the crew encoded.
    muxed: i64,
}

/// What was made.
pub(super) struct Encoded {
    /// Samples a channel.
    pub(super) samples: u64,
    /// Bytes of the file.
    pub(super) size: u64,
    pub(super) metadata_left_out: Vec<MetadataPart>,
}

impl Encoder {
    /// Opens both and writes the header. `source` is the order of the source's channels.
    pub(super) fn open(
        encoding: &Encoding,
        source: &Layout,
        tags: Tags,
        into: Rc<File>,
        max_bytes: u64,
    ) -> Result<Self, Failure> {
        let failed = |cause| failures::internal("the encoder", cause);
        let codec = Codec::open(encoding, source).map_err(failed)?;
        let mut encoder = Self {
            gathered: Gatherer::new(codec.shape(), codec.frame_samples()),
            codec,
            muxer: Muxer::new(into, max_bytes).map_err(failed)?,
            packet: Packet::new().map_err(failed)?,
            encoded: 0,
            crew: None,
            muxed: 0,
        };
        match encoder.begin(encoding.format, tags) {
            Ok(()) => Ok(encoder),
            Err(cause) => Err(encoder.failure(cause)),
        }
    }

    fn begin(&mut self, format: AudioFormat, tags: Tags) -> Result<(), AvError> {
        let parameters = Parameters::of_encoder(self.codec.get())?;
        self.muxer.begin(format, &parameters, self.codec.get().sample_rate, Origin::Encoder, tags)
    }

    /// Has so many threads encode, where the format lets them without another result: FLAC does.
    pub(super) fn on_threads(
        mut self,
        threads: u32,
        encoding: &Encoding,
        source: &Layout,
    ) -> Result<Self, Failure> {
        if threads > 1 && encoding.format == AudioFormat::Flac {
            let crew = Crew::open(encoding, source, threads);
            self.crew = Some(crew.map_err(|cause| failures::internal("the encoders", cause))?);
        }
        Ok(self)
    }

    /// What samples it takes.
    pub(super) fn shape(&self) -> &Shape {
        self.gathered.shape()
    }

    /// Takes samples of its shape.
    pub(super) fn push(&mut self, samples: &Frame) -> Result<(), AvError> {
        let mut from = 0;
        while let Some(frame) = self.gathered.fill(samples, &mut from)? {
            self.encode(frame)?;
        }
        Ok(())
    }

    fn encode(&mut self, mut frame: Frame) -> Result<(), AvError> {
        frame.get_mut().pts = self.encoded;
        self.encoded += i64::from(frame.samples());
        match self.crew.take() {
            Some(mut crew) => {
                crew.push(frame, |packet, samples| self.mux_frame(packet, samples))?;
                while let Some(used) = crew.used() {
                    self.gathered.give_back(used);
                }
                self.crew = Some(crew);
            }
            None => {
                self.codec.send(Some(&frame))?;
                self.mux()?;
                self.gathered.give_back(frame);
            }
        }
        Ok(())
    }

    /// Writes a frame that the crew encoded.
    fn mux_frame(&mut self, mut packet: Packet, samples: u32) -> Result<(), AvError> {
        packet.place(self.muxed, i64::from(samples));
        self.muxed += i64::from(samples);
        self.muxer.write(&packet, self.codec.get().sample_rate)
    }

    /// Writes the packets that the encoder has ready.
    fn mux(&mut self) -> Result<(), AvError> {
        loop {
            match self.codec.receive(&mut self.packet) {
                Ok(()) => {}
                Err(AvError::AGAIN | AvError::END) => return Ok(()),
                Err(cause) => return Err(cause),
            }
            self.muxer.write(&self.packet, self.codec.get().sample_rate)?;
        }
    }

    /// Encodes what is left and completes the file.
    pub(super) fn finish(mut self) -> Result<Encoded, Failure> {
        if let Err(cause) = self.complete() {
            return Err(self.failure(cause));
        }
        Ok(Encoded {
            samples: u64::try_from(self.encoded).unwrap_or(0),
            size: self.muxer.size()?,
            metadata_left_out: self.muxer.left_out(),
        })
    }

    fn complete(&mut self) -> Result<(), AvError> {
        if let Some(rest) = self.gathered.rest() {
            self.encode(rest)?;
        }
        if let Some(crew) = self.crew.take() {
            let begun = Parameters::of_encoder(self.codec.get())?;
            let header = crew.finish(begun.extradata(), |packet, samples| self.mux_frame(packet, samples))?;
            // The encoder itself tells the muxer so, too.
            self.packet.announce(&header.ok_or(AvError::STOP)?)?;
            self.muxer.write(&self.packet, self.codec.get().sample_rate)?;
        } else {
            self.codec.send(None)?;
            self.mux()?;
        }
        self.muxer.complete()
    }

    /// What a libav error means: often only that the file took no more.
    pub(super) fn failure(&mut self, cause: AvError) -> Failure {
        self.muxer.refusal().unwrap_or_else(|| failures::internal("the encoder", cause))
    }
}
