//! Sources whose bytes come in order alone: which of them are read while they arrive.

use domain::{Access, Failure};

use super::container::outermost_box;
use super::input::Input;

/// In what order the source is read. Where its bytes come in order alone, so are they read, unless something behind the
/// sound is needed first: all that it says of itself (`needs_all`), or an index.
pub(super) fn access(input: &mut Input<'_>, needs_all: bool) -> Result<Access, Failure> {
    if input.is_stream() {
        return Ok(Access::InOrder { is_sized: false });
    }
    let access = input.host().access();
    let waits = access == Access::Random || needs_all || has_index_behind(input)?;
    Ok(if waits { Access::Random } else { access })
}

/// Only mp4 and mov have an index that nothing can be heard without, and it may come behind the media.
fn has_index_behind(input: &mut Input<'_>) -> Result<bool, Failure> {
    let first = |name: &str, _| matches!(name, "moov" | "moof" | "mdat");
    Ok(input.container() == "mp4" && outermost_box(input, first)?.as_deref() != Some("moov"))
}

/// Whether it is an mp4 of which each fragment has an index of its own.
pub(super) fn is_fragmented(input: &mut Input<'_>) -> Result<bool, Failure> {
    let first = |name: &str, _| matches!(name, "moof" | "mdat");
    Ok(input.container() == "mp4" && outermost_box(input, first)?.as_deref() == Some("moof"))
}
