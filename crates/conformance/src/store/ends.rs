//! Ends: by class for retention, and in one order for their followers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use drumline_backend::store::{Ended, Stamp};
use drumline_protocol::transition::EndClass;
use drumline_protocol::{Event, OperationId, Partition};
use tokio::task::JoinSet;

use crate::StoreHarness;
use crate::fixtures::{Draft, Fixture, fault, independent, of_token};
use crate::wait::soon;

/// A stamp before all ends.
const START: Stamp = Stamp(0);
/// A stamp after all ends.
const END: Stamp = Stamp(u64::MAX);

/// Each class has its own ends, the earliest first, as many as are asked for,
/// and none that ended after the time that was asked for.
pub async fn ends_are_told_by_class_in_their_order(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let partition = Partition::new(0);
    let mut succeeded = Vec::new();
    let (mut unsuccessful, mut transient) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let fresh = fixture.create(independent()).await;
        fixture.run(fresh.id).await;
        succeeded.push(fresh.id);
        let fresh = fixture.create(independent()).await;
        fixture.client(fresh.id, Event::Cancel).await;
        unsuccessful.push(fresh.id);
        let draft = Draft {
            transient: true,
            ..independent()
        };
        let fresh = fixture.create(draft).await;
        fixture.run(fresh.id).await;
        transient.push(fresh.id);
    }
    assert_eq!(
        ended(&fixture, partition, EndClass::Succeeded).await,
        succeeded
    );
    assert_eq!(
        ended(&fixture, partition, EndClass::Transient).await,
        transient
    );
    let class = EndClass::Unsuccessful;
    assert_eq!(ended(&fixture, partition, class).await, unsuccessful);
    assert!(ended(&fixture, Partition::new(1), class).await.is_empty());

    let told = async |after, until, limit| {
        let told = fixture.store.ended(partition, class, after, until, limit);
        told.await.expect("ended")
    };
    let two = told(START, END, 2).await;
    let ids: Vec<OperationId> = two.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, unsuccessful[..2]);
    let [(_, first), (_, second)] = two.as_slice() else {
        panic!("two were told");
    };
    assert!(first < second);
    let until_first = told(START, *first, 10).await;
    assert_eq!(until_first, two[..1], "the upper bound is inclusive");
    assert!(told(START, Stamp(first.0 - 1), 10).await.is_empty());
    // A caller that goes on behind the last one gets the next one, and none
    // twice.
    let until_second = told(*first, *second, 10).await;
    assert_eq!(until_second, two[1..], "the lower bound is exclusive");
    let rest = told(*second, END, 10).await;
    let ids: Vec<OperationId> = rest.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, unsuccessful[2..]);
    assert!(told(*second, *first, 10).await.is_empty());
    assert!(told(END, END, 10).await.is_empty());
}

/// Only Completed operations are listed, for as long as they exist.
pub async fn what_has_not_ended_or_was_removed_is_not_told(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let waits = fixture.create(independent()).await;
    fixture.client(waits.id, Event::Pause).await;
    let fails = fixture.create(of_token("a")).await;
    let fence = fixture.claim(fails.id).await;
    fixture.holder(fails.id, fence, Event::Fail(fault())).await;
    let entries = since(&fixture, START, 10).await.entries;
    assert_eq!(ids(&entries), [fails.id]);
    let partition = fails.id.partition();
    let class = EndClass::Unsuccessful;
    assert_eq!(ended(&fixture, partition, class).await, [fails.id]);
    fixture.client(fails.id, Event::Delete).await;
    assert!(ended(&fixture, partition, class).await.is_empty());
    assert!(since(&fixture, START, 10).await.entries.is_empty());
}

/// Ends come one after the other, from every partition and with every outcome.
pub async fn the_order_of_ends_goes_over_all_partitions(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let mut order = Vec::new();
    for number in 0..12 {
        let draft = Draft {
            partition: Partition::new(3 - number % 4),
            ..independent()
        };
        let fresh = fixture.create(draft).await;
        if number % 3 == 0 {
            fixture.client(fresh.id, Event::Cancel).await;
        } else {
            fixture.run(fresh.id).await;
        }
        order.push(fresh.id);
        // Each end is seen as soon as it has happened, and keeps its place.
        let all = since(&fixture, START, 100).await;
        let seen: BTreeSet<OperationId> = ids(&all.entries).into_iter().collect();
        assert_eq!(seen, order.iter().copied().collect());
        assert!(all.entries.is_sorted());
    }
    // Reading has put each end behind all that were seen before it.
    assert_eq!(ids(&since(&fixture, START, 100).await.entries), order);
}

/// However small the pieces are, together they are everything, once.
pub async fn the_order_of_ends_is_read_in_pieces(harness: &dyn StoreHarness) {
    let fixture = Fixture::new(harness).await;
    let nothing = since(&fixture, START, 10).await;
    assert!(nothing.entries.is_empty());
    // One partition after the other: what is read of the first ends before the last one.
    for number in 0..40 {
        let draft = Draft {
            partition: Partition::new(number / 10),
            ..independent()
        };
        let fresh = fixture.create(draft).await;
        fixture.client(fresh.id, Event::Cancel).await;
    }
    let whole = since(&fixture, nothing.until, 1_000).await;
    assert_eq!(whole.entries.len(), 40);
    for limit in [1, 7, 39, 40] {
        let mut read = Vec::new();
        let mut after = nothing.until;
        loop {
            let piece = since(&fixture, after, limit).await;
            let Some((last, _)) = piece.entries.last() else {
                break;
            };
            assert!(piece.until >= *last);
            after = piece.until;
            read.extend(piece.entries);
        }
        assert_eq!(read, whole.entries, "in pieces of {limit}");
    }
    let after = since(&fixture, whole.until, 10).await;
    assert!(after.entries.is_empty() && after.until >= whole.until);
}

/// Other processes end operations in all partitions while a caller follows. The
/// caller sees each end once, and none is put before its place.
pub async fn no_end_is_missed_while_others_write(harness: &dyn StoreHarness) {
    const WRITERS: u16 = 4;
    const EACH: usize = 60;
    let fixture = Fixture::new(harness).await;
    let left = Arc::new(AtomicUsize::new(usize::from(WRITERS)));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let writer = fixture.another(harness).await;
        let left = Arc::clone(&left);
        writers.spawn(async move {
            let mut ended = Vec::new();
            for turn in 0..EACH {
                let turn = u16::try_from(turn).unwrap_or(0);
                let draft = Draft {
                    partition: Partition::new((number + turn) % 4),
                    ..independent()
                };
                let fresh = writer.create(draft).await;
                if turn % 2 == 0 {
                    writer.client(fresh.id, Event::Cancel).await;
                } else {
                    writer.run(fresh.id).await;
                }
                ended.push(fresh.id);
            }
            left.fetch_sub(1, Ordering::AcqRel);
            ended
        });
    }
    let mut seen = Vec::new();
    let mut after = START;
    soon("they all end", async {
        loop {
            let was_last = left.load(Ordering::Acquire) == 0;
            let piece = since(&fixture, after, 5).await;
            assert!(piece.entries.iter().all(|(stamp, _)| *stamp > after));
            assert!(piece.until >= after);
            after = piece.until;
            let nothing = piece.entries.is_empty();
            seen.extend(piece.entries);
            if was_last && nothing {
                break;
            }
        }
    })
    .await;
    assert!(seen.is_sorted());
    let expected: BTreeSet<OperationId> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(seen.len(), expected.len(), "each once");
    assert_eq!(ids(&seen).into_iter().collect::<BTreeSet<_>>(), expected);
}

/// The ends of one class, earliest first.
pub(crate) async fn ended(
    fixture: &Fixture,
    partition: Partition,
    class: EndClass,
) -> Vec<OperationId> {
    let ended = fixture.store.ended(partition, class, START, END, 1_000);
    let ended = ended.await.expect("ended");
    ended.into_iter().map(|(id, _)| id).collect()
}

async fn since(fixture: &Fixture, after: Stamp, limit: usize) -> Ended {
    let ended = fixture.store.ended_since(after, limit).await;
    ended.expect("ended since")
}

fn ids(entries: &[(Stamp, OperationId)]) -> Vec<OperationId> {
    entries.iter().map(|(_, id)| *id).collect()
}
