//! Structures without an end: boxes of no length, in themselves, around themselves, beyond the file.

use libtest_mimic::Failed;

use crate::Test;
use crate::corpus::End::{Failed as Fails, Invalid, Makes};
use crate::corpus::{Case, all_end_so, config};
use crate::forge::{
    boxed, ebml_header, element, element_of_size, find, number, ogg_page, ogg_page_laced, opus_head, patched,
    pcm_track, short, with_more_in_moov,
};
use crate::movie::{Movie, table};

pub(crate) const TESTS: &[Test] = &[
    ("boxes_without_end_end", boxes_without_end_end),
    ("elements_within_elements_end", elements_within_elements_end),
    ("pages_and_indexes_that_lead_back_end", pages_and_indexes_that_lead_back_end),
];

/// A box around a box around a box, without sizes that would have to be right.
fn nest(name: &[u8; 4], depth: usize) -> Vec<u8> {
    let whole = u32::try_from(depth * 8).expect("a small nest");
    (0..whole / 8).flat_map(|level| boxed_of_size(name, whole - level * 8)).collect()
}

fn boxed_of_size(name: &[u8; 4], size: u32) -> Vec<u8> {
    [size.to_be_bytes(), *name].concat()
}

fn boxes_without_end_end() -> Result<(), Failed> {
    let movie = || Movie::sound(4800);
    let first = |size: u32| [boxed_of_size(b"free", size), movie().bytes()].concat();
    let large =
        |size: u64| [boxed_of_size(b"free", 1), size.to_be_bytes().to_vec(), movie().bytes()].concat();
    let inside = |more: Vec<u8>| with_more_in_moov(movie().bytes(), &more);
    let mdat_of = |size: u32| patched_size(movie().bytes(), b"mdat", size);
    let cases: Vec<Case> = vec![
        ("a first box of no length", first(0), Invalid("")),
        ("a first box of seven bytes", first(7), Invalid("")),
        ("a first box of 2^63 bytes", large(1 << 63), Invalid("")),
        ("a first box of -1 bytes", large(u64::MAX), Invalid("")),
        ("a first box of 0 bytes in 64 bits", large(0), Invalid("")),
        ("a box of no length in moov", inside(boxed_of_size(b"udta", 0)), Makes(0.1)),
        ("a box of one byte in moov", inside(boxed_of_size(b"udta", 1)), Makes(0.1)),
        ("a box of 4 GB in moov", inside(boxed_of_size(b"udta", u32::MAX)), Makes(0.1)),
        ("10,000 boxes in each other", inside(nest(b"udta", 10_000)), Invalid("header cannot be read")),
        (
            "100,000 moov in each other",
            [boxed(b"ftyp", b"isom\0\0\0\0"), nest(b"moov", 100_000)].concat(),
            Invalid(""),
        ),
        ("100,000 trak in each other", inside(nest(b"trak", 100_000)), Makes(0.1)),
        ("media data of no length", mdat_of(0), Invalid("")),
        ("media data around all", mdat_of(u32::MAX), Invalid("before its index")),
        (
            "samples beyond the file",
            Movie { offsets: table(&[0, 1, 1 << 30]), ..movie() }.bytes(),
            Invalid("ends after"),
        ),
        ("a track without tables", inside(boxed(b"trak", &[])), Makes(0.1)),
        ("two indexes", [movie().bytes(), cut_moov(&movie().bytes())].concat(), Makes(0.1)),
        ("fragments that lead to themselves", fragmented_to_itself(), Makes(1.0)),
    ];
    all_end_so(config(), cases)
}

fn patched_size(mut bytes: Vec<u8>, name: &[u8; 4], size: u32) -> Vec<u8> {
    let at = find(&bytes, name) - 4;
    bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    bytes
}

fn cut_moov(bytes: &[u8]) -> Vec<u8> {
    bytes[find(bytes, b"moov") - 4..].to_vec()
}

/// An index of fragments whose every entry is the index itself.
fn fragmented_to_itself() -> Vec<u8> {
    let fragmented = short("fragmented.mp4");
    let itself = u32::try_from(fragmented.len()).expect("a small file");
    let entries: Vec<u8> =
        (0..1000).flat_map(|time| [table(&[time, itself]), vec![1, 1, 1]].concat()).collect();
    let index = boxed(b"tfra", &[table(&[0, 2, 0, 1000]), entries].concat());
    let size = u32::try_from(index.len() + 24).expect("a small index");
    let index = boxed(b"mfra", &[index, boxed(b"mfro", &table(&[0, size]))].concat());
    [fragmented, index].concat()
}

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;

/// Elements in each other, each of unknown size or of all that follows.
fn nested(id: u32, depth: usize, is_known: bool) -> Vec<u8> {
    let head = element_of_size(id, 0).len();
    (1..=depth)
        .flat_map(|level| {
            element_of_size(id, if is_known { ((depth - level) * head) as u64 } else { u64::MAX })
        })
        .collect()
}

fn elements_within_elements_end() -> Result<(), Failed> {
    let tracks = element(0x1654_ae6b, &pcm_track(1));
    let block = element(0xa3, &[&[0x81, 0, 0, 0x80], [0x11; 19_200].as_slice()].concat());
    let sound = element(CLUSTER, &[number(0xe7, 0), block].concat());
    let film = |before: Vec<u8>, after: Vec<u8>| {
        let body = [tracks.clone(), before, sound.clone(), after].concat();
        [ebml_header(), element_of_size(SEGMENT, u64::MAX), body].concat()
    };
    let nothing = Vec::new;
    // Where to find the seek head: at the seek head. And the index: in the cluster before it.
    let lead = |id: &[u8], to: u64| {
        element(0x114d_9b74, &element(0x4dbb, &[element(0x53ab, id), number(0x53ac, to)].concat()))
    };
    let cases: Vec<Case> = vec![
        ("sound", film(nothing(), nothing()), Makes(0.1)),
        ("segments in each other", [ebml_header(), nested(SEGMENT, 10_000, false)].concat(), Invalid("")),
        ("clusters in each other", film(nested(CLUSTER, 10_000, false), nothing()), Makes(0.1)),
        ("clusters in each other, of known size", film(nested(CLUSTER, 10_000, true), nothing()), Makes(0.1)),
        (
            "tags in each other",
            film(element(0x1254_c367, &element(0x7373, &nested(0x67c8, 10_000, true))), nothing()),
            Makes(0.1),
        ),
        (
            "chapters in each other",
            film(element(0x1043_a770, &element(0x45b9, &nested(0xb6, 10_000, true))), nothing()),
            Makes(0.1),
        ),
        ("headers in each other", nested(0x1a45_dfa3, 10_000, false), Invalid("")),
        (
            "a seek head that leads to itself",
            film(lead(&[0x11, 0x4d, 0x9b, 0x74], tracks.len() as u64), nothing()),
            Makes(0.1),
        ),
        ("an index that is a cluster", film(lead(&[0x1c, 0x53, 0xbb, 0x6b], 0), nothing()), Makes(0.1)),
        ("tags beyond any file", film(lead(&[0x12, 0x54, 0xc3, 0x67], u64::MAX), nothing()), Makes(0.1)),
        ("a text of 2^55 bytes", film(element_of_size(0x1549_a966, 1 << 55), nothing()), Makes(0.1)),
        ("an empty element 100,000 times", film(element(0xec, &[]).repeat(100_000), nothing()), Makes(0.1)),
    ];
    all_end_so(config(), cases)
}

fn pages_and_indexes_that_lead_back_end() -> Result<(), Failed> {
    let page = |number: u32, granule: u64| ogg_page(0, granule, 7, number, &[&[0xff, 0x06][..]; 10]);
    let opus = |pages: Vec<u8>| [opus_head(7, &[0; 4]), pages].concat();
    let endless: Vec<u8> = (2..62)
        .flat_map(|number| ogg_page_laced(1, u64::MAX, 7, number, &[255; 255], &vec![0; 65_025]))
        .collect();
    let idx1 = |at: usize, with: &[u8]| patched(short("pcm.avi"), b"idx1", at, with);
    let cases: Vec<Case> = vec![
        ("the same page over and over", opus(page(2, 57_600).repeat(20)), Makes(24.0)),
        (
            "pages that go back in time",
            opus((2..22).flat_map(|number| page(number, 1 << (40 - number))).collect()),
            Makes(24.0),
        ),
        ("the first page over and over", opus_head(7, &[0; 4])[..47].repeat(1000), Invalid("")),
        ("a packet without end", opus(endless), Invalid("")),
        (
            "pages without packets",
            opus((2..20_000).flat_map(|number| ogg_page(0, 0, 7, number, &[])).collect()),
            Invalid(""),
        ),
        ("an index of AVI that lies", idx1(12, &[0xff; 8]), Fails("track is empty")),
        ("an index of AVI that is endless", idx1(0, &[0xff; 4]), Makes(1.0)),
    ];
    all_end_so(config(), cases)
}
