#![expect(clippy::single_range_in_vec_init, reason = "lists of ranges are what this is about, also of one")]

use super::*;
use crate::source::batch::Policy;

const POLICY: Policy = Policy { max_parts: 100, join_gap: 0, max_bytes: 100, max_wire_bytes: 1000 };

/// Every byte says where it lies.
fn file(range: Range<u64>) -> Vec<u8> {
    range.map(|offset| offset as u8).collect()
}

fn planned(ranges: &[Range<u64>]) -> Run {
    Run::new(Plan::of(ranges.to_vec(), 10_000).expect("a plan"))
}

fn ask(run: &mut Run, window: u64) -> Batch {
    let (gap, _) = run.gap(window).expect("a gap");
    let batch = Batch::first(run.plan(), gap, &POLICY);
    run.ask(7, &batch);
    batch
}

#[test]
fn what_arrives_is_read_where_it_lies_in_the_file() {
    let mut run = planned(&[1000..1010, 2000..2010]);
    let batch = ask(&mut run, 100);
    assert_eq!(batch.places, 0..20);
    assert_eq!(run.gap(100), None, "all of it is under way");
    assert_eq!(run.read(1000, 5), None);
    // In the wrong order, and with bytes that nobody planned.
    assert_eq!(run.fill(7, 1995, &file(1995..2006)), 6);
    assert_eq!(run.fill(7, 1000, &file(1000..1010)), 10);
    assert_eq!(run.fill(7, 1000, &file(1000..1010)), 0, "again");
    assert_eq!(run.read(1000, 5), Some(file(1000..1005)));
    assert_eq!(run.read(1005, 500), Some(file(1005..1010)), "no further than it lies together");
    assert_eq!(run.read(2000, 500), Some(file(2000..2006)));
    assert_eq!(run.read(2006, 500), None);
    assert!(run.land(7));
    assert_eq!(run.gap(100), Some((16..20, true)), "what did not come is open again");
    assert_eq!(run.read(2000, 500), Some(file(2000..2006)), "what came is not");
    run.aim(1000);
    assert_eq!(run.gap(100), Some((16..20, false)), "and is not waited for from elsewhere");
}

#[test]
fn the_window_moves_with_the_reader_and_bounds_what_is_held() {
    let mut run = planned(&[0..5000]);
    for _ in 0..3 {
        let batch = ask(&mut run, 300);
        run.fill(7, batch.places.start, &file(batch.places.clone()));
        assert!(!run.land(7));
    }
    assert_eq!(run.gap(300), None);
    assert_eq!(run.read(0, 250).map(|bytes| bytes.len()), Some(100));
    assert_eq!(run.read(100, 150).map(|bytes| bytes.len()), Some(100));
    assert_eq!(run.gap(300), Some((300..500, false)));
    run.evict(300, 100);
    assert_eq!(run.held_bytes(), 200, "one segment behind, one ahead");
    assert_eq!(run.read(150, 1).map(|bytes| bytes[0]), Some(150));
    run.evict(300, 0);
    run.aim(4000);
    run.evict(300, 0);
    assert_eq!(run.held_bytes(), 0);
}

#[test]
fn a_jump_gives_up_nothing_that_is_on_its_way_unless_it_is_in_the_way() {
    let mut run = planned(&[0..5000]);
    for (id, start) in [(1, 0), (2, 100), (3, 200)] {
        let batch = Batch::first(run.plan(), start..start + 100, &POLICY);
        run.ask(id, &batch);
    }
    run.fill(1, 0, &file(0..60));
    run.aim(4000);
    run.evict(300, 300);
    assert_eq!((run.fill(2, 100, &file(100..130)), run.take_given_up()), (30, vec![]), "still wanted");
    assert!(run.make_way(300));
    assert_eq!(run.take_given_up(), [3], "which had most to bring");
    run.evict(300, 150);
    assert_eq!(run.take_given_up(), [2], "beyond what is kept");
    assert_eq!((run.fill(1, 60, &file(60..100)), run.land(1)), (40, false));
    run.aim(0);
    assert!(!run.make_way(300), "nothing is under way elsewhere");
    assert_eq!(run.read(0, 500).map(|bytes| bytes.len()), Some(100));
    assert_eq!(run.gap(300), Some((130..400, false)), "what had come by then is not asked for again");
}

#[test]
fn another_plan_takes_over_what_is_on_its_way() {
    let mut head = Run::new(Plan::whole(10_000));
    let batch = Batch::first(head.plan(), 100..200, &POLICY);
    head.ask(5, &batch);
    head.fill(5, 100, &file(100..120));
    let mut run = planned(&[110..130, 150..160, 190..300]);
    run.inherit(&head);
    head.give_up_all();
    assert_eq!((head.take_given_up(), run.wants(5)), (vec![5], true));
    assert_eq!(run.gap(1000), Some((40..140, false)), "the rest comes");
    assert_eq!(run.fill(5, 120, &file(120..195)), 10 + 10 + 5);
    assert_eq!(run.read(150, 100), Some(file(150..160)));
    assert!(run.land(5), "short");
    assert_eq!((run.wants(5), run.read(190, 100)), (false, Some(file(190..195))));
}

#[test]
fn a_request_that_ends_after_its_bytes_were_read_has_not_failed() {
    let mut run = planned(&[0..5000]);
    let batch = ask(&mut run, 300);
    run.fill(7, 0, &file(batch.places.clone()));
    assert_eq!(run.read(0, 100).map(|bytes| bytes.len()), Some(100));
    run.evict(300, 0);
    assert!(!run.land(7));
}

#[test]
fn a_jump_ends_a_steady_reading() {
    let mut run = Run::new(Plan::whole(5000));
    run.adopt(0, &file(0..1000));
    run.read(0, 400);
    run.read(400, 100);
    assert_eq!(run.steady_bytes(), 500);
    run.read(600, 100);
    assert_eq!(run.steady_bytes(), 700, "a small step forward");
    run.aim(3000);
    assert_eq!(run.steady_bytes(), 0);
    run.read(0, 10);
    assert_eq!(run.steady_bytes(), 10);
}

#[test]
fn another_plan_takes_over_what_is_at_hand() {
    let mut head = Run::new(Plan::whole(10_000));
    head.adopt(0, &file(0..100));
    head.adopt(5000, &file(5000..5050));
    let mut run = planned(&[5040..5060, 90..110, 40..50]);
    run.inherit(&head);
    assert_eq!(run.read(5040, 100), Some(file(5040..5050)));
    assert_eq!(run.read(90, 100), Some(file(90..100)));
    assert_eq!(run.read(40, 100), Some(file(40..50)));
    run.aim(5040);
    assert_eq!(run.gap(100), Some((10..20, false)));
    run.inherit(&head);
    assert_eq!(run.held_bytes(), 30, "nothing twice");
}
