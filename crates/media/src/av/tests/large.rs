//! Results that RIFF's 32 bits cannot count: RF64 (EBU Tech 3306).

use std::io::{Read, Seek, SeekFrom, Write};

use domain::{Method, Span};

use super::*;

/// Stereo of 16 bits at 48 kHz; just more of it than 32 bits can say in bytes.
const SAMPLES: u64 = (1 << 30) + 48_000;
const RATE: u32 = 48_000;
/// Of a sample over all channels.
const BYTES: u64 = 4;
/// The last samples, after silence.
const LAST: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// A chunk without its body.
fn chunk_head(name: &[u8; 4], bytes: u32) -> Vec<u8> {
    [name.as_slice(), &bytes.to_le_bytes()].concat()
}

/// An RF64 file with a title, whose silence takes no room on the disk.
fn source(path: &Path) {
    let title = b"INFOINAM\x06\0\0\0Large\0";
    let list = [chunk_head(b"LIST", title.len() as u32), title.to_vec()].concat();
    let format: [&[u8]; 6] = [
        &[1, 0, 2, 0],
        &RATE.to_le_bytes(),
        &(RATE * BYTES as u32).to_le_bytes(),
        &(BYTES as u16).to_le_bytes(),
        &16_u16.to_le_bytes(),
        &chunk_head(b"data", u32::MAX),
    ];
    let rest = [b"WAVE".to_vec(), list, chunk_head(b"fmt ", 16), format.concat()].concat();
    let whole = rest.len() as u64 + 36 + SAMPLES * BYTES;
    let sizes = [whole, SAMPLES * BYTES, SAMPLES].map(u64::to_le_bytes).concat();
    let (wave, rest) = rest.split_at(4);
    let head = [&chunk_head(b"RF64", u32::MAX), wave, &chunk_head(b"ds64", 28), &sizes, &[0; 4], rest];
    let mut file = File::create(path).expect("a source");
    file.write_all(&head.concat()).expect("written");
    file.seek(SeekFrom::Current((SAMPLES * BYTES) as i64 - LAST.len() as i64)).expect("sought");
    file.write_all(&LAST).expect("written");
}

/// A chunk, or the whole: its name, where its body begins, and the bytes of that by its own 32 bits.
type Chunk = ([u8; 4], u64, u32);

/// The chunks of an RF64 file, read by nobody but this; the one that 32 bits cannot count has `data_bytes`.
fn chunks(file: &mut File, data_bytes: u64) -> Vec<Chunk> {
    let end = file.metadata().expect("a size").len();
    let (mut at, mut chunks) = (12, Vec::new());
    while at < end {
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at)).expect("sought");
        file.read_exact(&mut head).expect("a chunk's head");
        let (name, bytes) = (head[..4].try_into().expect("four"), head[4..].try_into().expect("four"));
        let bytes = u32::from_le_bytes(bytes);
        chunks.push((name, at + 8, bytes));
        let body = if bytes == u32::MAX { data_bytes } else { u64::from(bytes) };
        at += 8 + body + body % 2;
    }
    assert_eq!(at, end, "the last chunk ends with the file: {chunks:?}");
    chunks
}

fn read_at<const COUNT: usize>(file: &File, at: u64) -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    file.read_exact_at(&mut bytes, at).expect("bytes");
    bytes
}

#[test]
#[ignore = "takes minutes; `make large-run` does it"]
fn what_32_bits_cannot_count_is_rf64() {
    const TRIMMED: u64 = 4800;
    let folder = tempfile::tempdir().expect("a folder");
    let (path, into) = (folder.path().join("large.wav"), folder.path().join("result.wav"));
    source(&path);
    let plain = OutputSpec { preserve_metadata: true, ..OutputSpec::plain(AudioFormat::Wav) };
    let late = Span { start_secs: TRIMMED as f64 / f64::from(RATE), end_secs: None };
    for (output, method, samples) in [
        (plain.clone(), Method::Copy, SAMPLES),
        (OutputSpec { span: late, ..plain }, Method::Encode, SAMPLES - TRIMMED),
    ] {
        File::create(&into).expect("a result's file");
        let limits = AvLimits { max_output_bytes: 5 << 30, ..AvLimits::default() };
        let made = run(&mut FileHost::open(&path), output, limits, &into);
        let made = made.unwrap_or_else(|failure| panic!("{method:?}: {failure}"));
        assert_eq!((made.method, made.samples), (method, samples));
        let mut file = File::open(&into).expect("a result");
        let size = file.metadata().expect("a size").len();
        assert_eq!(made.size, size, "{method:?}");
        assert_eq!(&read_at::<16>(&file, 0), b"RF64\xff\xff\xff\xffWAVEds64", "{method:?}");
        let number = |at| u64::from_le_bytes(read_at(&file, at));
        assert_eq!(
            [number(20), number(28), number(36)],
            [size - 8, samples * BYTES, samples],
            "{method:?}: the sizes of the whole and of the data, and the samples"
        );
        let chunks = chunks(&mut file, samples * BYTES);
        let (_, data, said) = *chunks.iter().find(|chunk| &chunk.0 == b"data").expect("data");
        assert_eq!(said, u32::MAX, "{method:?}: {chunks:?}");
        assert_eq!(read_at(&file, data + samples * BYTES - 8), LAST, "{method:?}: its last samples");
        assert_eq!(chunks.last().map(|chunk| &chunk.0), Some(b"id3 "), "{method:?}: {chunks:?}");
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-of", "default=nw=1:nk=1", "-show_entries"]);
        let said = output_of(ffprobe.arg("stream=duration_ts:format_tags=title").arg(&into));
        assert_eq!(String::from_utf8_lossy(&said), format!("{samples}\nLarge\n"), "{method:?}");
    }
}
