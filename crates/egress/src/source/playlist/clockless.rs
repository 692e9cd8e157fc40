//! Fragments of mp4 without the times that they are written for.
//!
//! After a break the times of a playlist start anew. libav's demuxer keeps all fragments by their time and loses some
//! where it falls back. Without a time a fragment follows on the one before, which is what a break means. So where there
//! are breaks, the boxes that say times are given the name of unused space, and nothing changes its place.

use bytes::Bytes;

/// The most that the description of one fragment may have: 16 bytes for each of 32,000 samples. A longer one is let
/// through as it is.
const MOST_BYTES: u64 = 512 << 10;
const UNUSED: &[u8; 4] = b"free";

/// One segment.
#[derive(Debug)]
pub(super) struct Clockless {
    held: Vec<u8>,
    within: Within,
}

/// Where in the row of outermost boxes it is.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// The head of a box, which is held.
    Head,
    /// A box whose rest passes.
    Passing(u64),
    /// The description of a fragment, which is held until so many bytes more have come.
    Held(u64),
    /// What is not to be read as boxes.
    Rest,
}

impl Default for Clockless {
    fn default() -> Self {
        Self { held: Vec::new(), within: Within::Head }
    }
}

impl Clockless {
    /// What can be given out after these bytes.
    pub(super) fn push(&mut self, bytes: &Bytes) -> Bytes {
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match self.within {
                Within::Head => {
                    let (byte, after) = rest.split_at(1);
                    self.held.extend_from_slice(byte);
                    rest = after;
                    self.look(&mut out);
                }
                Within::Passing(left) => {
                    let (passing, after) = rest.split_at(at_most(left, rest.len()));
                    out.extend_from_slice(passing);
                    rest = after;
                    self.within = after_body(left - passing.len() as u64, Within::Passing);
                }
                Within::Held(left) => {
                    let (held, after) = rest.split_at(at_most(left, rest.len()));
                    self.held.extend_from_slice(held);
                    rest = after;
                    self.within = after_body(left - held.len() as u64, Within::Held);
                    if matches!(self.within, Within::Head) {
                        let mut fragment = std::mem::take(&mut self.held);
                        forget_times(&mut fragment);
                        out.extend(fragment);
                    }
                }
                Within::Rest => {
                    out.extend_from_slice(rest);
                    break;
                }
            }
        }
        out.into()
    }

    /// What was held back of a box that has not come whole.
    pub(super) fn finish(self) -> Bytes {
        self.held.into()
    }

    /// Decides what becomes of a box once its head is there.
    fn look(&mut self, out: &mut Vec<u8>) {
        let Some((name, size)) = head(&self.held) else { return };
        let body = size.checked_sub(self.held.len() as u64);
        self.within = match body {
            Some(body) if &name == b"moof" && body <= MOST_BYTES => after_body(body, Within::Held),
            Some(body) => after_body(body, Within::Passing),
            // A size of 0: to the end; any other that is too small: nonsense.
            None => Within::Rest,
        };
        if !matches!(self.within, Within::Held(_)) {
            if &name == b"sidx" {
                self.held[4..8].copy_from_slice(UNUSED);
            }
            out.append(&mut self.held);
        }
    }
}

fn at_most(left: u64, len: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(len)
}

fn after_body(left: u64, within: impl Fn(u64) -> Within) -> Within {
    if left == 0 { Within::Head } else { within(left) }
}

/// Name and size of a box, as soon as its head is complete: 8 bytes, or 16 where the size takes more than 4.
fn head(bytes: &[u8]) -> Option<([u8; 4], u64)> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_be_bytes(*size) {
        1 => Some((*name, u64::from_be_bytes(*rest.first_chunk()?))),
        size => Some((*name, u64::from(size))),
    }
}

/// `moof` > `traf` > `tfdt`
fn forget_times(fragment: &mut [u8]) {
    for_each_within(fragment, |track| {
        if track.get(4..8) == Some(b"traf") {
            for_each_within(track, |part| {
                if part.get(4..8) == Some(b"tfdt") {
                    part[4..8].copy_from_slice(UNUSED);
                }
            });
        }
    });
}

/// The boxes within one, which are all small.
fn for_each_within(parent: &mut [u8], mut each: impl FnMut(&mut [u8])) {
    let mut rest = parent.get_mut(8..).unwrap_or_default();
    while let Some((_, size)) = head(rest) {
        let Some((part, after)) = usize::try_from(size).ok().and_then(|size| rest.split_at_mut_checked(size))
        else {
            return;
        };
        if part.len() < 8 {
            return;
        }
        each(part);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &str, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), name.as_bytes(), body].concat()
    }

    fn pass(bytes: &[u8], step: usize) -> Vec<u8> {
        let mut clockless = Clockless::default();
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            out.extend_from_slice(&clockless.push(&Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&clockless.finish());
        out
    }

    /// A segment whose boxes of times have these names. `tfdt` within the media is not a box.
    fn segment(index: &str, time: &str) -> Vec<u8> {
        let track = [boxed("tfhd", b"1234"), boxed(time, b"12345678"), boxed("trun", b"tfdt")].concat();
        let fragment =
            [boxed("mfhd", b"...."), boxed("traf", &track), boxed("traf", &boxed(time, b""))].concat();
        let large = [&1_u32.to_be_bytes()[..], b"mdat", &21_u64.to_be_bytes(), b"large"].concat();
        let media = boxed("mdat", b"\0\0\0\x08tfdt\0\0\0\x08moof");
        [
            boxed("styp", b"msdh"),
            boxed(index, b"times"),
            boxed("moof", &fragment),
            media,
            large,
            boxed("moof", b""),
        ]
        .concat()
    }

    #[test]
    fn times_are_forgotten_and_all_else_stays_where_it_is() {
        for step in [1, 7, 8, 30, 1000] {
            assert_eq!(pass(&segment("sidx", "tfdt"), step), segment("free", "free"), "by {step}");
        }
    }

    #[test]
    fn what_is_no_mp4_passes() {
        let endless = [&0_u32.to_be_bytes()[..], b"mdat and all that follows"].concat();
        for plain in [
            &b""[..],
            b"short",
            b"\x1f\x43\xb6\x75\x01\xff\xff\xffwebm",
            &endless,
            &boxed("moof", b"\0\0\0\x07traf"),
        ] {
            assert_eq!(pass(plain, 3), plain);
        }
        let torn = &segment("styp", "tfdt")[..60];
        assert_eq!(pass(torn, 5), torn, "a fragment that is not whole");
    }
}
