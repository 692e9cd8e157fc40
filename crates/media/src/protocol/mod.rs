//! What parent and child say to each other over the job's socket: frames of `length: u32, tag: u8, body`, numbers in
//! little endian. Each side bounds a frame before it reads it. The child trusts its parent; the parent trusts nothing
//! that comes from a child, which may be under the control of the media it reads.

mod codec;
mod extracted;
mod from_child;
mod output;
mod to_child;

pub(crate) use codec::{Malformed, Reader, Writer};
pub(crate) use from_child::FromChild;
pub(crate) use to_child::{DATA_TAG, Order, SIZE_TAG, Task, size_frame};

/// Changes with every change of a message, so that a child of another build refuses its order.
pub(crate) const VERSION: u16 = 4;

/// The most that one read may ask for, in bytes: what the parent holds in memory for a child.
pub(crate) const MAX_READ_BYTES: usize = 1 << 20;

/// Ranges that one read may ask for.
pub(crate) const MAX_READ_RANGES: usize = 1_024;

/// Ranges in one plan. A plan is a hint, so the child cuts off what is beyond.
pub(crate) const MAX_PLANNED_RANGES: usize = 65_536;

/// The longest text that a child may send, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1_024;

/// `length: u32, tag: u8`.
pub(crate) const HEADER_BYTES: usize = 5;

/// Takes a header apart: the tag and the length of the body.
pub(crate) fn parse_header(header: [u8; HEADER_BYTES]) -> (u8, usize) {
    let [a, b, c, d, tag] = header;
    (tag, u32::from_le_bytes([a, b, c, d]) as usize)
}

/// The header of a frame.
pub(crate) fn header(tag: u8, body_bytes: usize) -> [u8; HEADER_BYTES] {
    // Every body is bounded far below 4 GiB; one that were not would be refused by its reader.
    let [a, b, c, d] = u32::try_from(body_bytes).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, tag]
}
