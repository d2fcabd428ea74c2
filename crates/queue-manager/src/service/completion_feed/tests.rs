use std::sync::Barrier;

use drumline_backend_embedded::{ManualClock, backend_with_clock};
use drumline_protocol::{PartitionCount, Timestamp};

use super::ring::RING;
use super::*;

fn end(stamp: u64, number: u8) -> End {
    let id = OperationId::new(Timestamp::from_millis(1), Partition::new(0), [number; 16]);
    (Stamp(stamp), id)
}

#[tokio::test]
async fn nothing_is_put_before_a_fresh_place_though_one_partition_is_ahead() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1)));
    let partitions = PartitionCount::new(8).unwrap();
    let store = backend_with_clock(partitions, clock).store;
    // As after a clock that was set back: the numbers lie in the future.
    for _ in 0..20_000 {
        store.stamp(Partition::new(0)).await.unwrap();
    }
    let start = now(store.as_ref()).await.unwrap();
    let next = store.stamp(Partition::new(1)).await.unwrap();
    assert!(next > start, "{next:?} {start:?}");
}

#[test]
fn a_place_is_read_as_it_is_written() {
    for cursor in [Cursor::behind(Stamp(17)), Cursor::of(end(18, 3))] {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    let id = end(1, 1).1;
    for bad in [
        "",
        "-",
        "x",
        "+1",
        "-1",
        "1-",
        "1-2",
        "99999999999999999999999",
    ] {
        assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad}");
    }
    assert!(format!("1-{id}-").parse::<Cursor>().is_err());
}

#[test]
fn ends_of_one_stamp_are_told_once_wherever_the_cut_falls() {
    let all = [end(5, 1), end(5, 2), end(5, 3), end(6, 1)];
    let mut ring = Ring::new(Stamp(4));
    ring.extend(all.to_vec(), Stamp(9));
    let mut cursor = Cursor::behind(Stamp(4));
    let mut reported = Vec::new();
    for _ in 0..4 {
        let completions = ring.after(cursor, 1).unwrap();
        reported.extend(completions.entries);
        cursor = completions.cursor;
    }
    assert_eq!(reported, all);
    assert_eq!(ring.after(cursor, 1).unwrap().entries, []);
    assert_eq!(cursor, Cursor::behind(Stamp(9)));
}

#[test]
fn who_is_behind_the_ring_is_sent_to_the_store() {
    let mut ring = Ring::new(Stamp(0));
    let many = (1..=RING as u64 + 10).map(|stamp| end(stamp, 1)).collect();
    ring.extend(many, Stamp(RING as u64 + 10));
    assert!(ring.after(Cursor::behind(Stamp(9)), 1).is_none());
    let first = ring.after(Cursor::behind(Stamp(10)), 1).unwrap();
    assert_eq!(first.entries, [end(11, 1)]);
}

#[test]
fn a_place_in_the_future_stays_there() {
    let mut ring = Ring::new(Stamp(0));
    ring.extend(Vec::new(), Stamp(5));
    let cursor = Cursor::behind(Stamp(100));
    assert_eq!(ring.after(cursor, 1).unwrap().cursor, cursor);
}

#[test]
fn waiters_that_leave_together_leave_nothing_behind() {
    const AT_ONCE: usize = 4;
    let waiters = Waiters::default();
    let together = Barrier::new(AT_ONCE);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                for round in 0..20_000 {
                    let now = Timestamp::from_millis(round);
                    let id = OperationId::new(now, Partition::new(0), [0; 16]);
                    let waiter = waiters.register(id);
                    together.wait();
                    drop(waiter);
                }
            });
        }
    });
    assert_eq!(waiters.count(), 0);
}
