//! What an index of fragments says: `sidx` at the start of a file or of a part of it, `mfra` at the end. Pure parsing.

use super::super::marks::parse_box;

/// What one `sidx` box says (ISO 14496-12, 8.16.3).
#[derive(Debug, Default, PartialEq)]
pub(super) struct SegmentIndex {
    /// The number of the track by whose time it is (`reference_ID`).
    pub(super) track: u64,
    /// Where runs of fragments begin.
    pub(super) fragments: Vec<u64>,
    /// Where further such boxes stand.
    pub(super) indexes: Vec<u64>,
    /// How long all of it plays.
    pub(super) secs: f64,
    /// Where the last of what it lists ends.
    pub(super) end: u64,
}

/// Reads a whole `sidx` box, which ends at `end` in the file: offsets count from there.
pub(super) fn parse_sidx(whole: &[u8], end: u64) -> Option<SegmentIndex> {
    let body = body(whole, "sidx")?;
    let is_long = number(body, 0, 1)? > 0;
    let scale = number(body, 8, 4).filter(|scale| *scale > 0)?;
    let (first_offset, list) = if is_long { (number(body, 20, 8)?, 28) } else { (number(body, 16, 4)?, 20) };
    let count = usize::try_from(number(body, list + 2, 2)?).ok()?;
    let mut index = SegmentIndex { track: number(body, 4, 4)?, ..SegmentIndex::default() };
    let (mut at, mut ticks) = (end.checked_add(first_offset)?, 0);
    for entry in 0..count {
        let entry = list + 4 + entry * 12;
        let kind_and_size = number(body, entry, 4)?;
        let is_index = kind_and_size >> 31 == 1;
        if is_index { &mut index.indexes } else { &mut index.fragments }.push(at);
        at = at.checked_add(kind_and_size & 0x7fff_ffff)?;
        ticks += number(body, entry + 4, 4)?;
    }
    (index.secs, index.end) = (ticks as f64 / scale as f64, at);
    Some(index)
}

/// How long the `mfra` box is that ends the file: its last box says so in the file's last bytes (8.8.11).
pub(super) fn parse_mfro(tail: &[u8]) -> Option<u64> {
    let body = body(tail, "mfro")?;
    number(body, 4, 4)
}

/// Where fragments begin, by a whole `mfra` box (8.8.9, 8.8.10), in order, each once.
pub(super) fn parse_mfra(whole: &[u8]) -> Vec<u64> {
    let mut fragments = Vec::new();
    let mut rest = body(whole, "mfra").unwrap_or_default();
    while let Some(("tfra", size)) = parse_box(rest) {
        let Some(table) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size)) else {
            break;
        };
        parse_tfra(table.0, &mut fragments);
        rest = table.1;
    }
    fragments.sort_unstable();
    fragments.dedup();
    fragments
}

fn parse_tfra(whole: &[u8], fragments: &mut Vec<u64>) -> Option<()> {
    let body = body(whole, "tfra")?;
    let width = if number(body, 0, 1)? > 0 { 8 } else { 4 };
    // Two bits each say how many bytes the numbers of traf, trun and sample have.
    let widths = number(body, 8, 4)?;
    let numbers: u64 = [4, 2, 0].into_iter().map(|shift| (widths >> shift & 3) + 1).sum();
    let stride = 2 * width + usize::try_from(numbers).ok()?;
    let count = usize::try_from(number(body, 12, 4)?).ok()?;
    for entry in body.get(16..)?.chunks_exact(stride).take(count) {
        fragments.push(number(entry, width, width)?);
    }
    Some(())
}

/// What is in a box of this name that is all there.
fn body<'a>(whole: &'a [u8], expected: &str) -> Option<&'a [u8]> {
    let (name, size) = parse_box(whole)?;
    let head = if whole.starts_with(&[0, 0, 0, 1]) { 16 } else { 8 };
    let body = whole.get(head..usize::try_from(size).ok()?)?;
    (name == expected).then_some(body)
}

/// A big-endian number of `width` bytes, at most 8.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(width)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), name.as_slice(), body].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_segment_index_is_read_in_both_widths() {
        let list = [3, 100, 500, 0, 1 << 31 | 30, 250, 0, 200, 250, 0];
        let short = boxed(b"sidx", &words(&[&[0, 1, 1000, 0, 7], &list[..]].concat()));
        let long = boxed(b"sidx", &words(&[&[1 << 24, 1, 1000, 0, 0, 0, 7], &list[..]].concat()));
        let (fragments, indexes) = (vec![1007, 1137], vec![1107]);
        let expected = SegmentIndex { track: 1, fragments, indexes, secs: 1.0, end: 1337 };
        for whole in [short, long] {
            assert_eq!(parse_sidx(&whole, 1000).as_ref(), Some(&expected));
            for end in 0..whole.len() {
                assert_eq!(parse_sidx(&whole[..end], 1000), None, "cut at {end}");
            }
            assert_eq!(parse_sidx(&whole, u64::MAX - 50), None, "beyond every file");
        }
        assert_eq!(parse_sidx(&boxed(b"sidx", &words(&[0, 1, 0, 0, 7, 0])), 0), None, "no ticks a second");
    }

    #[test]
    fn fragments_are_listed_at_the_end_in_every_width() {
        let entries = [words(&[9, 700]), vec![1; 3], words(&[9, 500]), vec![1; 3]].concat();
        let plain = boxed(b"tfra", &[words(&[0, 1, 0, 2]), entries].concat());
        let long = boxed(b"tfra", &[words(&[1 << 24, 2, 0x3f, 1, 0, 9, 5, 0]), vec![1; 12]].concat());
        let whole = boxed(b"mfra", &[plain, long, boxed(b"mfro", &words(&[0, 300]))].concat());
        assert_eq!(parse_mfra(&whole), [500, 700, 5 << 32]);
        assert_eq!(parse_mfro(&whole[whole.len() - 16..]), Some(300));
        for end in 0..whole.len() {
            assert!(parse_mfra(&whole[..end]).is_empty(), "cut at {end}");
        }
    }
}
