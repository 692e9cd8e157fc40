use domain::Step;

use super::super::Probe;
use super::*;

/// Bytes that count up, and a record of what was asked.
struct Counting {
    size: u64,
    asked: Vec<Range<u64>>,
    plans: Vec<Vec<Range<u64>>>,
    fails_after: usize,
}

impl Host for Counting {
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, HostGone> {
        if self.asked.len() == self.fails_after {
            return Err(HostGone);
        }
        self.asked.push(offset..offset + buf.len() as u64);
        let count = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (at, byte) in buf[..count].iter_mut().enumerate() {
            *byte = (offset + at as u64) as u8;
        }
        Ok(count)
    }
    fn size(&mut self) -> Result<u64, HostGone> {
        Ok(self.size)
    }
    fn plan(&mut self, ranges: &[Range<u64>]) {
        self.plans.push(ranges.to_vec());
    }
    fn probed(&mut self, _: Probe) {}
    fn progressed(&mut self, _: Step, _: Option<f64>) {}
}

fn host(size: u64) -> Counting {
    Counting { size, asked: Vec::new(), plans: Vec::new(), fails_after: usize::MAX }
}

fn read(reader: &mut Reader<'_>, at: u64, len: usize) -> Vec<u8> {
    reader.seek(at);
    let mut bytes = vec![0; len];
    let count = reader.read(&mut bytes).expect("a host");
    bytes.truncate(count);
    bytes
}

#[test]
fn a_look_is_small_and_what_follows_comes_in_strides() {
    let mut host = host(1 << 20);
    let mut reader = Reader::new(&mut host);
    assert_eq!(read(&mut reader, 10, 4), [10, 11, 12, 13]);
    assert_eq!(read(&mut reader, 300, 2), [44, 45], "within the window");
    read(&mut reader, 10 + LOOK_BYTES, 1);
    read(&mut reader, 900_000, 1);
    assert_eq!(read(&mut reader, 2 << 20, 1), [], "beyond the end");
    assert_eq!(host.asked[0], 10..10 + LOOK_BYTES);
    assert_eq!(host.asked[1], 10 + LOOK_BYTES..10 + LOOK_BYTES + STRIDE_BYTES);
    assert_eq!(host.asked[2], 900_000..900_000 + LOOK_BYTES);
}

#[test]
fn nothing_outside_a_planned_range_is_asked_for() {
    let mut host = host(1 << 20);
    let mut reader = Reader::new(&mut host);
    reader.plan(vec![5000..5300, 1000..1010]);
    read(&mut reader, 1000, 10);
    read(&mut reader, 5000, 200);
    read(&mut reader, 5200, 200);
    assert_eq!(host.asked, [1000..1010, 5000..5300]);
}

#[test]
fn what_is_shelved_is_read_from_there_and_the_rest_from_the_host() {
    let mut host = host(1000);
    let mut reader = Reader::new(&mut host);
    read(&mut reader, 0, 1);
    reader.shelve(10, vec![99; 5]);
    reader.shelve(8, vec![77; 4]);
    reader.shelve(12, vec![55; 9]);
    assert_eq!(reader.look(6, 12), Ok(vec![6, 7, 77, 77, 99, 99, 99, 99, 99, 15, 16, 17]));
    assert_eq!((reader.position(), reader.unshelved(0, 100), reader.unshelved(0, 3)), (1, 8, 3));
    assert_eq!(reader.look(998, 12).map(|bytes| bytes.len()), Ok(2), "to the end");
}

#[test]
fn a_long_plan_is_told_as_it_is_read() {
    let range = |number: usize| number as u64 * 10..number as u64 * 10 + 1;
    let mut host = host(10 << 20);
    let mut reader = Reader::new(&mut host);
    reader.plan((0..TOLD_RANGES * 2).map(range).chain([7..7, 9..u64::MAX]).collect());
    for number in [0, 10, TOLD_RANGES * 3 / 4 - 1, TOLD_RANGES * 3 / 4, TOLD_RANGES, TOLD_RANGES * 2 - 1] {
        read(&mut reader, number as u64 * 10, 1);
    }
    let told: Vec<_> = host.plans.iter().map(|plan| (plan[0].start, plan.len())).collect();
    let later = TOLD_RANGES * 3 / 4;
    let last = TOLD_RANGES * 2 - 1;
    assert_eq!(told[..2], [(0, TOLD_RANGES), (later as u64 * 10, TOLD_RANGES)]);
    assert_eq!(told[2..], [(last as u64 * 10, 1)]);
    assert!(host.asked.iter().all(|asked| asked.end - asked.start == 1), "{:?}", host.asked);
}

#[test]
fn a_host_that_went_is_not_asked_again() {
    let mut host = Counting { fails_after: 1, ..host(1 << 20) };
    let mut reader = Reader::new(&mut host);
    read(&mut reader, 0, 1);
    reader.seek(500_000);
    assert_eq!(reader.read(&mut [0]), Err(HostGone));
    assert!(reader.is_gone());
    assert_eq!(reader.read(&mut [0]), Err(HostGone));
}
