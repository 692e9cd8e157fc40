//! What hostile files are made of: boxes, elements, pages, chunks and frames that say what they are told to say.

use testkit::samples::sample;

/// A real second of sound, or a picture with it.
pub(crate) fn short(name: &str) -> Vec<u8> {
    std::fs::read(sample(&format!("short-{name}"))).expect("a sample")
}

/// Where a four-letter name first stands.
pub(crate) fn find(bytes: &[u8], name: &[u8]) -> usize {
    let at = bytes.windows(name.len()).position(|window| window == name);
    at.unwrap_or_else(|| panic!("no {} here", String::from_utf8_lossy(name)))
}

/// Writes bytes at `offset` after the end of the first occurrence of `name`.
pub(crate) fn patched(mut bytes: Vec<u8>, name: &[u8; 4], offset: usize, with: &[u8]) -> Vec<u8> {
    let at = find(&bytes, name) + 4 + offset;
    bytes[at..at + with.len()].copy_from_slice(with);
    bytes
}

/// A box of mp4 and mov (ISO 14496-12).
pub(crate) fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a small box");
    [&size.to_be_bytes(), name.as_slice(), body].concat()
}

/// Adds to the last box of the file, which is `moov` in what ffmpeg writes, and puts its size right.
pub(crate) fn with_more_in_moov(mut bytes: Vec<u8>, more: &[u8]) -> Vec<u8> {
    let moov = find(&bytes, b"moov") - 4;
    let size = u32::from_be_bytes(bytes[moov..moov + 4].try_into().expect("four bytes")) as usize;
    assert_eq!(moov + size, bytes.len(), "moov is not the last box");
    bytes.extend(more);
    let size = u32::try_from(size + more.len()).expect("a small box");
    bytes[moov..moov + 4].copy_from_slice(&size.to_be_bytes());
    bytes
}

/// A chunk of RIFF (little-endian, padded to an even length).
pub(crate) fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("a small chunk");
    let mut chunk = [name.as_slice(), &size.to_le_bytes(), body].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

/// A WAVE of zeroes: format tag, channels, Hz, bytes of a block, bits of a sample.
pub(crate) fn wave((tag, channels, rate, block, bits): (u16, u16, u32, u16, u16), bytes: usize) -> Vec<u8> {
    let mut format = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
    format.extend(rate.to_le_bytes());
    format.extend(rate.wrapping_mul(u32::from(block)).to_le_bytes());
    format.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
    let body = [b"WAVE".to_vec(), chunk(b"fmt ", &format), chunk(b"data", &vec![0; bytes])].concat();
    chunk(b"RIFF", &body)
}

/// An element of EBML (RFC 8794) with a size of eight bytes.
pub(crate) fn element(id: u32, body: &[u8]) -> Vec<u8> {
    [element_of_size(id, body.len() as u64), body.to_vec()].concat()
}

/// An element's head that claims this size; all ones stand for an unknown one.
pub(crate) fn element_of_size(id: u32, size: u64) -> Vec<u8> {
    let id: Vec<u8> = id.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    [id, (size & ((1 << 56) - 1) | 1 << 56).to_be_bytes().to_vec()].concat()
}

/// A number within an element.
pub(crate) fn number(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

/// EBML's own header, for Matroska.
pub(crate) fn ebml_header() -> Vec<u8> {
    let fields = [number(0x4286, 1), number(0x42f7, 1), number(0x42f2, 4), number(0x42f3, 8)].concat();
    let kind = [element(0x4282, b"matroska"), number(0x4287, 4), number(0x4285, 2)].concat();
    element(0x1a45_dfa3, &[fields, kind].concat())
}

/// A track of 16-bit stereo PCM at 48 kHz for Matroska.
pub(crate) fn pcm_track(number_: u64) -> Vec<u8> {
    let audio = [element(0xb5, &48_000f64.to_be_bytes()), number(0x9f, 2), number(0x6264, 16)].concat();
    let fields = [number(0xd7, number_), number(0x73c5, number_), number(0x83, 2)].concat();
    element(0xae, &[fields, element(0x86, b"A_PCM/INT/LIT"), element(0xe1, &audio)].concat())
}

/// Checksum of `bits` bits, most significant bit first, neither reflected nor inverted.
fn checksum(bytes: &[u8], start: u32, polynomial: u32, bits: u32) -> u32 {
    let top = 1 << (bits - 1);
    let mask = u32::MAX >> (32 - bits);
    bytes.iter().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << (bits - 8), |crc, _| {
            if crc & top == 0 { crc << 1 & mask } else { (crc << 1 ^ polynomial) & mask }
        })
    })
}

/// The checksum of a section of a transport stream (ISO 13818-1, annex A).
pub(crate) fn section_checksum(bytes: &[u8]) -> u32 {
    checksum(bytes, u32::MAX, 0x04c1_1db7, 32)
}

/// A page of Ogg (RFC 3533) with packets of less than 255 bytes each, checksum and all.
pub(crate) fn ogg_page(flags: u8, granule: u64, serial: u32, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let lacing: Vec<u8> =
        packets.iter().map(|packet| u8::try_from(packet.len()).expect("a small packet")).collect();
    ogg_page_laced(flags, granule, serial, number, &lacing, &packets.concat())
}

/// The same with any lacing.
pub(crate) fn ogg_page_laced(
    flags: u8,
    granule: u64,
    serial: u32,
    number: u32,
    lacing: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let mut page = [b"OggS\0".as_slice(), &[flags], &granule.to_le_bytes(), &serial.to_le_bytes()].concat();
    page.extend([number.to_le_bytes(), [0; 4]].concat());
    page.push(u8::try_from(lacing.len()).expect("at most 255 segments"));
    page.extend([lacing, body].concat());
    let crc = checksum(&page, 0, 0x04c1_1db7, 32);
    page[22..26].copy_from_slice(&crc.to_le_bytes());
    page
}

/// The two pages that open an Opus stream (RFC 7845).
pub(crate) fn opus_head(serial: u32, comments: &[u8]) -> Vec<u8> {
    let head =
        [b"OpusHead\x01\x02".as_slice(), &312u16.to_le_bytes(), &48_000u32.to_le_bytes(), &[0; 3]].concat();
    let tags = [b"OpusTags\0\0\0\0".as_slice(), comments].concat();
    [ogg_page(2, 0, serial, 0, &[&head]), ogg_page(0, 0, serial, 1, &[&tags])].concat()
}

/// A FLAC stream's mark and STREAMINFO (RFC 9639): 48 kHz, 8 channels, 16 bits, blocks of 65,535 samples.
pub(crate) fn flac_head(total_samples: u64, is_last: bool) -> Vec<u8> {
    let packed = 48_000u64 << 44 | 7 << 41 | 15 << 36 | total_samples;
    let mark = if is_last { b"fLaC\x80\0\0\x22" } else { b"fLaC\0\0\0\x22" };
    [mark.as_slice(), &[0xff; 4], &[0; 6], &packed.to_be_bytes(), &[0; 16]].concat()
}

/// A frame of FLAC that says in 38 bytes that eight channels are silent for 65,535 samples.
pub(crate) fn flac_silence(number: u8) -> Vec<u8> {
    // Fixed block size, given in 16 bits; 48 kHz; 8 channels; 16 bits.
    let mut frame = vec![0xff, 0xf8, 0x7a, 0x78, number & 0x7f, 0xff, 0xfe];
    frame.push(checksum(&frame, 0, 7, 8) as u8);
    frame.extend([0; 3 * 8]);
    let crc = checksum(&frame, 0, 0x8005, 16) as u16;
    [frame, crc.to_be_bytes().to_vec()].concat()
}

/// A frame of MPEG-1 layer III with no sound in it: 128 kbit/s, 44.1 kHz, stereo.
pub(crate) fn mp3_silence() -> Vec<u8> {
    let mut frame = vec![0; 417];
    frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
    frame
}

/// A header of an ID3v2.3 tag with a body of so many bytes.
pub(crate) fn id3_head(bytes: u32) -> Vec<u8> {
    let sevens = [21, 14, 7, 0].map(|shift| (bytes >> shift & 0x7f) as u8);
    [b"ID3\x03\0\0".as_slice(), &sevens].concat()
}

/// Packets of a transport stream that carry one section.
pub(crate) fn ts_section(pid: u16, section: &[u8]) -> Vec<u8> {
    let payload = [&[0], section].concat();
    let packets = payload.chunks(184).enumerate().map(|(turn, piece)| {
        let start = if turn == 0 { 0x40 } else { 0 };
        let mut packet = vec![0x47, start | (pid >> 8) as u8, pid as u8, 0x10 | (turn & 0xf) as u8];
        packet.extend(piece);
        packet.resize(188, 0xff);
        packet
    });
    packets.flatten().collect()
}

/// A section of a program's tables: its table, its number, what follows.
pub(crate) fn section(table: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).expect("a short section") | 0xb000;
    let mut section =
        [&[table], length.to_be_bytes().as_slice(), &number.to_be_bytes(), &[0xc1, 0, 0], body].concat();
    section.extend(section_checksum(&section).to_be_bytes());
    section
}
