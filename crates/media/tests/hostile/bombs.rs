//! Small files that ask for hours of work.

use std::time::Duration;

use domain::Retry;
use libtest_mimic::Failed;
use media::SupervisorConfig;

use crate::Test;
use crate::corpus::End::{Failed as Fails, Makes};
use crate::corpus::{Case, all_end_so, config, extract};
use crate::desk::{run, start};
use crate::forge::{
    ebml_header, element, element_of_size, flac_head, flac_silence, number, ogg_page, opus_head, pcm_track,
    wave,
};
use crate::movie::{DATA_AT, Movie, table};

pub(crate) const TESTS: &[Test] = &[
    ("decoded_samples_are_counted", decoded_samples_are_counted),
    ("written_bytes_are_counted", written_bytes_are_counted),
    ("processor_time_is_counted", processor_time_is_counted),
    ("memory_is_counted", memory_is_counted),
    ("standing_still_is_noticed", standing_still_is_noticed),
];

/// Half a minute in each 800 bytes: packets of two bytes that hold six frames of nothing each.
fn opus(pages: u32) -> Vec<u8> {
    // Code 3, constant bitrate, six frames of 20 ms without a byte.
    const PACKET: &[u8] = &[0xff, 0x06];
    let pages =
        (0..pages).map(|page| ogg_page(0, u64::from(page + 1) * 255 * 5760, 7, page + 2, &[PACKET; 255]));
    [opus_head(7, &[0; 4]), pages.flatten().collect()].concat()
}

fn flac(frames: u8) -> Vec<u8> {
    [flac_head(0, true), (0..frames).flat_map(flac_silence).collect()].concat()
}

/// Two milliseconds of sound at the end of every hour.
fn hours(count: u64) -> Vec<u8> {
    let block = |hour: u64| {
        let cluster = [
            number(0xe7, hour * 3_599_000),
            element(0xa3, &[&[0x81, 0, 0, 0x80], [0; 384].as_slice()].concat()),
        ];
        element(0x1f43_b675, &cluster.concat())
    };
    let clusters: Vec<u8> = (0..count).flat_map(block).collect();
    let info = element(0x1549_a966, &number(0x2a_d7b1, 1_000_000));
    let tracks = element(0x1654_ae6b, &pcm_track(1));
    let segment = [info, tracks, clusters].concat();
    [ebml_header(), element_of_size(0x1853_8067, u64::MAX), segment].concat()
}

/// The same 190 KB of samples, 2,000 times.
fn again_and_again() -> Vec<u8> {
    const SAMPLES: u32 = 48_000;
    const TIMES: u32 = 2000;
    let offsets = [&[0, TIMES][..], &[DATA_AT; TIMES as usize]].concat();
    let movie = Movie {
        durations: table(&[0, 1, SAMPLES * TIMES, 1]),
        sizes: table(&[0, 4, SAMPLES * TIMES]),
        offsets: table(&offsets),
        ..Movie::sound(SAMPLES)
    };
    movie.bytes()
}

/// A comment header of so many comments, all different.
pub(crate) fn comments(count: u32) -> Vec<u8> {
    let comment = |turn: u32| [8u32.to_le_bytes().to_vec(), format!("{turn:06x}=x").into_bytes()].concat();
    [count.to_le_bytes().to_vec(), (0..count).flat_map(comment).collect()].concat()
}

/// A FLAC file whose comments cost the square of their number: 1 MB.
pub(crate) fn crowded_comments() -> Vec<u8> {
    let body = [0u32.to_le_bytes().to_vec(), comments(200_000)].concat();
    let length = u32::try_from(body.len()).expect("a small block").to_be_bytes();
    [flac_head(65_535, false), vec![0x84], length[1..].to_vec(), body, flac_silence(0)].concat()
}

fn decoded_samples_are_counted() -> Result<(), Failed> {
    let over = || Fails("more than 20000000 samples");
    let cases: Vec<Case> = vec![
        ("opus of nothing", opus(100), over()),
        ("flac of nothing", flac(100), over()),
        ("hours between two sounds", hours(30), over()),
        ("the same samples over and over", again_and_again(), over()),
        ("silence, as long as its file", wave((1, 8, 48_000, 8, 8), 21_000_000), over()),
    ];
    let mut config = config();
    config.av.max_output_bytes = 1 << 30;
    all_end_so(config, cases)
}

fn written_bytes_are_counted() -> Result<(), Failed> {
    let mut config = config();
    config.av.max_output_bytes = 4 << 20;
    let cases: Vec<Case> = vec![
        ("a low rate", wave((1, 1, 1000, 1, 8), 3_000_000), Fails("larger than allowed")),
        ("opus of nothing", opus(10), Fails("larger than allowed")),
    ];
    all_end_so(config, cases)
}

fn processor_time_is_counted() -> Result<(), Failed> {
    let config = SupervisorConfig { max_cpu_secs: 2, ..config() };
    all_end_so(config, vec![("crowded comments", crowded_comments(), Fails("more than the 2 seconds"))])
}

/// A FLAC file whose cover takes 16 MB, twice while it is read.
fn large_picture() -> Vec<u8> {
    const BYTES: u32 = 0xff_ff00;
    let picture = BYTES - 32;
    let numbers = [3, 0, 0, 1, 1, 24, 0, picture].map(u32::to_be_bytes).concat();
    let mut file =
        [flac_head(65_535, false), vec![0x86], BYTES.to_be_bytes()[1..].to_vec(), numbers].concat();
    file.resize(file.len() + picture as usize, 0x5a);
    file.extend(flac_silence(0));
    file
}

fn memory_is_counted() -> Result<(), Failed> {
    all_end_so(config(), vec![("a large picture", large_picture(), Makes(1.365))])?;
    let config = SupervisorConfig { max_memory_bytes: 40 << 20, ..config() };
    all_end_so(config, vec![("a large picture", large_picture(), Fails("memory"))])
}

fn standing_still_is_noticed() -> Result<(), Failed> {
    let config = SupervisorConfig { stall_timeout: Duration::from_millis(500), ..config() };
    run(async {
        let failure = extract(&start(config).await, crowded_comments()).await.expect_err("an end");
        assert_eq!(failure.retry, Retry::Worthwhile, "on a machine that has more time: {failure}");
        assert!(failure.to_string().contains("stood still"), "{failure}");
    });
    Ok(())
}
