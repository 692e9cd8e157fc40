//! Numbers and texts to bytes and back.

use std::fmt;

/// A message that its reader does not accept, and why. Says nothing of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Writes one frame.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(tag: u8) -> Self {
        Self(super::header(tag, 0).to_vec())
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn f64(self, value: f64) -> Self {
        self.u64(value.to_bits())
    }

    pub(crate) fn optional_f64(self, value: Option<f64>) -> Self {
        match value {
            Some(value) => self.u8(1).f64(value),
            None => self.u8(0),
        }
    }

    /// Writes a text, cut at a character's boundary if it is longer than a reader takes.
    pub(crate) fn text(mut self, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(super::MAX_TEXT_BYTES)];
        self.0.extend((text.len() as u16).to_le_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let body_bytes = self.0.len() - super::HEADER_BYTES;
        let tag = self.0[super::HEADER_BYTES - 1];
        self.0[..super::HEADER_BYTES].copy_from_slice(&super::header(tag, body_bytes));
        self.0
    }
}

/// Reads one body; every read checks that there is enough left.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("a message is too short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// A finite number.
    pub(crate) fn f64(&mut self) -> Result<f64, Malformed> {
        let value = f64::from_bits(self.u64()?);
        if value.is_finite() { Ok(value) } else { Err(Malformed("a number is not finite")) }
    }

    pub(crate) fn optional_f64(&mut self) -> Result<Option<f64>, Malformed> {
        if self.flag()? { self.f64().map(Some) } else { Ok(None) }
    }

    /// One of `all`, by its place.
    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<T, Malformed> {
        all.get(usize::from(self.u8()?)).copied().ok_or(Malformed("a choice does not exist"))
    }

    /// A text without control characters, which could forge lines in a log.
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let length = usize::from(self.u16()?);
        if length > super::MAX_TEXT_BYTES {
            return Err(Malformed("a text is too long"));
        }
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed("a message is too short"))?;
        self.0 = rest;
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("a message is too long")) }
    }
}

/// The place of a value in `all`, which [`Reader::one_of`] reads back.
pub(crate) fn place_of<T: PartialEq>(value: &T, all: &[T]) -> u8 {
    all.iter().position(|candidate| candidate == value).map_or(u8::MAX, |place| place as u8)
}
