//! A QuickTime film of one PCM track, every table of which can be forged.

use crate::forge::boxed;

/// What its tables say. Each is the body of its box.
pub(crate) struct Movie {
    /// Samples in media data: 16-bit stereo of 48 kHz.
    pub(crate) samples: u32,
    pub(crate) timescale: u32,
    pub(crate) durations: Vec<u8>,
    pub(crate) chunks: Vec<u8>,
    pub(crate) sizes: Vec<u8>,
    pub(crate) offsets: Vec<u8>,
    /// Boxes beside those in the sample table.
    pub(crate) more: Vec<u8>,
    /// The list of edits' box, or none.
    pub(crate) edits: Vec<u8>,
    /// Which file the samples are in: a box of a reference.
    pub(crate) reference: Vec<u8>,
}

/// Where media data begins.
pub(crate) const DATA_AT: u32 = 20 + 8;

/// Big-endian numbers, one after another.
pub(crate) fn table(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

impl Movie {
    /// A sound one, of one chunk.
    pub(crate) fn sound(samples: u32) -> Self {
        Self {
            samples,
            timescale: 48_000,
            durations: table(&[0, 1, samples, 1]),
            chunks: table(&[0, 1, 1, samples, 1]),
            sizes: table(&[0, 4, samples]),
            offsets: table(&[0, 1, DATA_AT]),
            more: Vec::new(),
            edits: Vec::new(),
            // Flag 1: in this one.
            reference: boxed(b"url ", &table(&[1])),
        }
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let media = boxed(b"mdat", &vec![0x11; self.samples as usize * 4]);
        let head = table(&[0, 0, 0, self.timescale, self.samples, 0x1_0000, 0x0100_0000, 0, 0]);
        let head = boxed(b"mvhd", &[head, vec![0; 60], table(&[2])].concat());
        [boxed(b"ftyp", b"qt  \0\0\0\0qt  "), media, boxed(b"moov", &[head, self.track()].concat())].concat()
    }

    /// Its one track's box.
    pub(crate) fn track(&self) -> Vec<u8> {
        // A sample description of version 0: one reference, two channels, 16 bits, 48 kHz.
        let mut sound =
            [table(&[0, 1, 0, 0]), vec![0, 2, 0, 16, 0, 0, 0, 0], table(&[48_000 << 16])].concat();
        sound[..8].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        let description = [table(&[0, 1]), boxed(b"sowt", &sound)].concat();
        let tables = [
            boxed(b"stsd", &description),
            boxed(b"stts", &self.durations),
            boxed(b"stsc", &self.chunks),
            boxed(b"stsz", &self.sizes),
            boxed(b"stco", &self.offsets),
            self.more.clone(),
        ];
        let references = boxed(b"dref", &[table(&[0, 1]), self.reference.clone()].concat());
        let information =
            [boxed(b"smhd", &[0; 8]), boxed(b"dinf", &references), boxed(b"stbl", &tables.concat())].concat();
        let media = [
            boxed(b"mdhd", &table(&[0, 0, 0, self.timescale, self.samples, 0])),
            boxed(b"hdlr", b"\0\0\0\0mhlrsoun\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            boxed(b"minf", &information),
        ];
        let head = boxed(b"tkhd", &[table(&[7, 0, 0, 1, 0, self.samples]), vec![0; 60]].concat());
        boxed(b"trak", &[head, self.edits.clone(), boxed(b"mdia", &media.concat())].concat())
    }
}
