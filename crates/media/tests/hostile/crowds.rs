//! Streams by the thousand, and counts and sizes in the billions.

use libtest_mimic::Failed;

use crate::Test;
use crate::bombs::comments;
use crate::corpus::End::{AtOnce, Failed as Fails, Invalid, Makes};
use crate::corpus::{Case, all_end_so, config};
use crate::forge::{
    boxed, chunk, ebml_header, element, flac_head, flac_silence, id3_head, mp3_silence, number, ogg_page,
    opus_head, patched, pcm_track, section, short, ts_section, with_more_in_moov,
};
use crate::movie::{Movie, table};

pub(crate) const TESTS: &[Test] = &[
    ("thousands_of_streams_are_refused", thousands_of_streams_are_refused),
    ("counts_are_not_believed", counts_are_not_believed),
    ("sizes_of_tags_are_not_believed", sizes_of_tags_are_not_believed),
];

const MANY: u32 = 3000;

fn mp4() -> Vec<u8> {
    let movie = Movie::sound(4800);
    with_more_in_moov(movie.bytes(), &movie.track().repeat(MANY as usize))
}

fn mkv() -> Vec<u8> {
    let tracks: Vec<u8> = (1..=u64::from(MANY)).flat_map(pcm_track).collect();
    [
        ebml_header(),
        element(
            0x1853_8067,
            &[element(0x1654_ae6b, &tracks), element(0x1f43_b675, &number(0xe7, 0))].concat(),
        ),
    ]
    .concat()
}

/// Twenty programs of 150 streams each.
fn ts() -> Vec<u8> {
    let programs: Vec<u16> = (1..=20).collect();
    let entry = |program: &u16| [program.to_be_bytes(), (0xe100 | program).to_be_bytes()].concat();
    let mut bytes = ts_section(0, &section(0, 1, &programs.iter().flat_map(entry).collect::<Vec<u8>>()));
    for program in programs {
        let stream = |turn: u16| {
            let pid = 0xe200 + program * 150 + turn;
            [&[0x0f], pid.to_be_bytes().as_slice(), &[0xf0, 0]].concat()
        };
        let streams: Vec<u8> = (0..150).flat_map(stream).collect();
        bytes.extend(ts_section(
            0x100 | program,
            &section(2, program, &[&[0xff, 0xff, 0xf0, 0], &streams[..]].concat()),
        ));
    }
    let sound = short("aac.ts");
    [bytes.repeat(4), sound].concat()
}

fn ogg() -> Vec<u8> {
    (0..MANY).flat_map(|serial| opus_head(serial, &[0; 4])[..47].to_vec()).collect()
}

fn avi() -> Vec<u8> {
    let head =
        [b"auds\0\0\0\0".as_slice(), &[0; 12], &1u32.to_le_bytes(), &48_000u32.to_le_bytes(), &[0; 28]]
            .concat();
    let format = [1, 0, 2, 0, 0x80, 0xbb, 0, 0, 0, 0xee, 2, 0, 4, 0, 16, 0];
    let stream = chunk(b"LIST", &[b"strl".to_vec(), chunk(b"strh", &head), chunk(b"strf", &format)].concat());
    let mut main = [0; 56];
    main[24..28].copy_from_slice(&MANY.to_le_bytes());
    let list = [b"hdrl".to_vec(), chunk(b"avih", &main), stream.repeat(MANY as usize)].concat();
    let body = [b"AVI ".to_vec(), chunk(b"LIST", &list), chunk(b"LIST", b"movi")].concat();
    chunk(b"RIFF", &body)
}

fn thousands_of_streams_are_refused() -> Result<(), Failed> {
    let over = || Fails("more than 64 streams");
    let cases: Vec<Case> = vec![
        ("mp4", mp4(), over()),
        ("mkv", mkv(), over()),
        ("ts", ts(), over()),
        ("ogg", ogg(), over()),
        ("avi", avi(), over()),
    ];
    all_end_so(config(), cases)
}

fn counts_are_not_believed() -> Result<(), Failed> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |name, movie: Movie| cases.push((name, movie.bytes(), AtOnce));
    let sound = || Movie::sound(4800);
    for most in [u32::MAX, 0x7fff_ffff, 0x0fff_ffff, 0x00ff_ffff] {
        add("durations", Movie { durations: table(&[0, most, 4800, 1]), ..sound() });
        add("samples of one duration", Movie { durations: table(&[0, 1, most, 1]), ..sound() });
        add("a duration", Movie { durations: table(&[0, 1, 4800, most]), ..sound() });
        add("chunks", Movie { chunks: table(&[0, most, 1, 4800, 1]), ..sound() });
        add("samples in a chunk", Movie { chunks: table(&[0, 1, 1, most, 1]), ..sound() });
        add("sizes", Movie { sizes: table(&[0, 0, most]), ..sound() });
        add("samples of one size", Movie { sizes: table(&[0, 4, most]), ..sound() });
        add("a size", Movie { sizes: table(&[0, most, 4800]), ..sound() });
        add("offsets", Movie { offsets: table(&[0, most, 28]), ..sound() });
        add("an offset", Movie { offsets: table(&[0, 1, most]), ..sound() });
        add(
            "edits",
            Movie { edits: boxed(b"edts", &boxed(b"elst", &table(&[0, most, 4800, 0]))), ..sound() },
        );
        add(
            "an edit",
            Movie {
                edits: boxed(b"edts", &boxed(b"elst", &table(&[0, 1, most, most, 0x1_0000]))),
                ..sound()
            },
        );
        add("composition times", Movie { more: boxed(b"ctts", &table(&[0, most, 1, 1])), ..sound() });
        add("one composition time", Movie { more: boxed(b"ctts", &table(&[0, 1, most, most])), ..sound() });
        add("key samples", Movie { more: boxed(b"stss", &table(&[0, most, 1])), ..sound() });
        add("ticks of a second", Movie { timescale: most, ..sound() });
        let keys = [
            boxed(b"hdlr", b"\0\0\0\0\0\0\0\0mdta\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            boxed(b"keys", &table(&[0, most])),
        ];
        add("keys", Movie { more: boxed(b"meta", &keys.concat()), ..sound() });
    }
    all_end_so(config(), cases)
}

fn sizes_of_tags_are_not_believed() -> Result<(), Failed> {
    let mp3 = || mp3_silence().repeat(40);
    let flac = |kind: u8, said: u32, body: &[u8]| {
        [
            flac_head(65_535, false),
            vec![0x80 | kind],
            said.to_be_bytes()[1..].to_vec(),
            body.to_vec(),
            flac_silence(0),
        ]
        .concat()
    };
    let opus = |comments: &[u8]| {
        let page = ogg_page(4, 5760, 7, 2, &[&[0xff, 0x06]]);
        [opus_head(7, comments), page].concat()
    };
    let most = u32::MAX.to_le_bytes();
    let crowd = [0u32.to_le_bytes().to_vec(), comments(2000)].concat();
    let crowd_bytes = u32::try_from(crowd.len()).expect("a small block");
    let cases: Vec<Case> = vec![
        ("an ID3 tag of 256 MB", [id3_head(u32::MAX), mp3()].concat(), Invalid("")),
        ("1,000 ID3 tags", [id3_head(0).repeat(1000), mp3()].concat(), Makes(1.0)),
        ("ID3 tags without end", [id3_head(0).repeat(110_000), mp3()].concat(), Invalid("")),
        ("ID3 tags and nothing else", id3_head(10).repeat(100_000), Invalid("")),
        (
            "an ID3 frame of 4 GB",
            [id3_head(20), b"TIT2\xff\xff\xff\xff\0\0".to_vec(), vec![0; 10], mp3()].concat(),
            Makes(1.0),
        ),
        ("comments in FLAC", flac(4, 8, &[[0; 4], most].concat()), Makes(1.365)),
        ("a comment in FLAC", flac(4, 12, &[[0; 4], 1u32.to_le_bytes(), most].concat()), Makes(1.365)),
        ("2,000 comments in FLAC", flac(4, crowd_bytes, &crowd), Makes(1.365)),
        ("a block of FLAC beyond the file", flac(4, 0xff_ffff, &[0; 8]), Invalid("")),
        (
            "a picture in FLAC",
            flac(6, 32, &[[0; 4], most, most, most, most, most, most, most].concat()),
            Makes(1.365),
        ),
        ("comments in Opus", opus(&most), Makes(0.113)),
        ("a comment in Opus", opus(&[1u32.to_le_bytes(), most].concat()), Makes(0.113)),
        // A number that is contradicted by the other is not believed; where both are wrong, more is missing than is there.
        ("frames in an MP3", patched(short("sound.mp3"), b"Info", 4, &[0xff; 4]), Makes(1.0)),
        ("bytes in an MP3", patched(short("sound.mp3"), b"Info", 8, &[0xff; 4]), Makes(1.0)),
        ("both in an MP3", patched(short("sound.mp3"), b"Info", 4, &[0xff; 8]), Invalid("ends after")),
    ];
    all_end_so(config(), cases)
}
