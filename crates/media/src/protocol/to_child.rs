//! What the parent says: the order, then answers to reads and to the question for the size.

use domain::{Access, OutputSpec, Playlist, PlaylistKind};

use super::codec::place_of;
use super::output::{read_output, write_output};
use super::{Malformed, Reader, VERSION, Writer};
use crate::attack::Attack;
use crate::av::AvLimits;
use crate::jail::{JailLimits, Walls};

/// The first frame.
pub(crate) const ORDER_TAG: u8 = 1;
/// Bytes of the source; none at its end.
pub(crate) const DATA_TAG: u8 = 2;
/// The source's length.
pub(crate) const SIZE_TAG: u8 = 3;

/// Every way to have a source's bytes; an order has its place.
const ACCESSES: [Access; 3] =
    [Access::Random, Access::InOrder { is_sized: true }, Access::InOrder { is_sized: false }];

/// An order is a few numbers.
const MAX_ORDER_BYTES: usize = 512;

/// What a child is for, and within which walls.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) walls: Walls,
    pub(crate) limits: JailLimits,
    pub(crate) task: Task,
}

/// What a child does once it is confined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task {
    Extract { output: OutputSpec, limits: AvLimits, access: Access, playlist: Option<Playlist> },
    Attack(Attack),
}

impl Order {
    /// The whole frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let JailLimits { memory_bytes, cpu_secs, file_bytes } = self.limits;
        let order = Writer::new(ORDER_TAG)
            .u16(VERSION)
            .u8(self.walls.to_bits())
            .u64(memory_bytes)
            .u64(cpu_secs)
            .u64(file_bytes);
        match &self.task {
            Task::Extract { output, limits, access, playlist } => {
                let order = write_limits(write_output(order.u8(0), output), limits);
                write_playlist(order.u8(place_of(access, &ACCESSES)), playlist.as_ref())
            }
            Task::Attack(attack) => order.u8(1).u8(place_of(attack, &Attack::ALL)),
        }
        .finish()
    }

    /// Refuses a frame that cannot be an order, before its body is read.
    pub(crate) fn check_header(tag: u8, body_bytes: usize) -> Result<(), Malformed> {
        if tag == ORDER_TAG && body_bytes <= MAX_ORDER_BYTES {
            Ok(())
        } else {
            Err(Malformed("not an order"))
        }
    }

    /// Reads the body of an order.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        if reader.u16()? != VERSION {
            return Err(Malformed("the order is of another version of this program"));
        }
        let walls = Walls::from_bits(reader.u8()?);
        let limits =
            JailLimits { memory_bytes: reader.u64()?, cpu_secs: reader.u64()?, file_bytes: reader.u64()? };
        let task = match reader.u8()? {
            0 => Task::Extract {
                output: read_output(&mut reader)?,
                limits: read_limits(&mut reader)?,
                access: reader.one_of(&ACCESSES)?,
                playlist: read_playlist(&mut reader)?,
            },
            1 => Task::Attack(reader.one_of(&Attack::ALL)?),
            _ => return Err(Malformed("a task does not exist")),
        };
        reader.finish()?;
        Ok(Self { walls, limits, task })
    }
}

/// The frame that answers the question for the size.
pub(crate) fn size_frame(size: u64) -> Vec<u8> {
    Writer::new(SIZE_TAG).u64(size).finish()
}

fn write_limits(writer: Writer, limits: &AvLimits) -> Writer {
    let AvLimits {
        max_decoded_samples,
        max_output_bytes,
        max_streams,
        max_damaged_percent,
        max_soundless_packets,
        max_probe_bytes,
        encoder_threads,
        max_tag_bytes,
        max_chapters,
        max_cover_bytes,
    } = *limits;
    writer
        .u64(max_decoded_samples)
        .u64(max_output_bytes)
        .u32(max_streams)
        .u32(max_damaged_percent)
        .u32(max_soundless_packets)
        .u64(max_probe_bytes)
        .u32(encoder_threads)
        .u64(max_tag_bytes)
        .u32(max_chapters)
        .u64(max_cover_bytes)
}

fn read_limits(reader: &mut Reader<'_>) -> Result<AvLimits, Malformed> {
    Ok(AvLimits {
        max_decoded_samples: reader.u64()?,
        max_output_bytes: reader.u64()?,
        max_streams: reader.u32()?,
        max_damaged_percent: reader.u32()?,
        max_soundless_packets: reader.u32()?,
        max_probe_bytes: reader.u64()?,
        encoder_threads: reader.u32()?,
        max_tag_bytes: reader.u64()?,
        max_chapters: reader.u32()?,
        max_cover_bytes: reader.u64()?,
    })
}

fn write_playlist(writer: Writer, playlist: Option<&Playlist>) -> Writer {
    let Some(Playlist { kind, duration_secs, slack_secs, is_stream, has_breaks, is_one_track }) = playlist
    else {
        return writer.u8(0);
    };
    writer
        .u8(1)
        .u8(place_of(kind, &PlaylistKind::ALL))
        .f64(*duration_secs)
        .f64(*slack_secs)
        .u8(u8::from(*is_stream))
        .u8(u8::from(*has_breaks))
        .u8(u8::from(*is_one_track))
}

fn read_playlist(reader: &mut Reader<'_>) -> Result<Option<Playlist>, Malformed> {
    if !reader.flag()? {
        return Ok(None);
    }
    Ok(Some(Playlist {
        kind: reader.one_of(&PlaylistKind::ALL)?,
        duration_secs: reader.f64()?,
        slack_secs: reader.f64()?,
        is_stream: reader.flag()?,
        has_breaks: reader.flag()?,
        is_one_track: reader.flag()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::outputs;
    use super::*;

    fn order(task: Task) -> Order {
        let limits = JailLimits { memory_bytes: 1 << 30, cpu_secs: 60, file_bytes: 1 << 20 };
        Order { walls: Walls::ALL, limits, task }
    }

    fn read_back(order: &Order) -> Result<Order, Malformed> {
        let frame = order.encode();
        let (header, body) = frame.split_first_chunk().expect("a header");
        let (tag, length) = super::super::parse_header(*header);
        Order::check_header(tag, length)?;
        assert_eq!(length, body.len());
        Order::decode(body)
    }

    #[test]
    fn an_order_reads_back() {
        let listed = |kind| Playlist {
            kind,
            duration_secs: 600.5,
            slack_secs: 0.25,
            is_stream: true,
            has_breaks: false,
            is_one_track: true,
        };
        let playlists = [None].into_iter().chain(PlaylistKind::ALL.map(|kind| Some(listed(kind))));
        let sources = playlists.cycle().zip(ACCESSES.into_iter().cycle());
        for (output, (playlist, access)) in outputs().into_iter().zip(sources) {
            let order = order(Task::Extract { output, limits: AvLimits::default(), access, playlist });
            assert_eq!(read_back(&order), Ok(order));
        }
        for attack in Attack::ALL {
            let order = order(Task::Attack(attack));
            assert_eq!(read_back(&order), Ok(order));
        }
    }

    #[test]
    fn an_order_of_another_version_is_refused() {
        let mut frame = order(Task::Attack(Attack::ALL[0])).encode();
        frame[crate::protocol::HEADER_BYTES] ^= 1;
        let refused = Order::decode(&frame[crate::protocol::HEADER_BYTES..]);
        assert_eq!(refused, Err(Malformed("the order is of another version of this program")));
    }
}
