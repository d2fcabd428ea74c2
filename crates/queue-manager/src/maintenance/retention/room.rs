//! Retention by bytes: the oldest Completed operations are removed when all together
//! take more than they may.
//!
//! The store counts the bytes of each partition. A manager adds them up once in a look,
//! and its partitions give as much of the excess as they have of the whole. So managers
//! need not agree on anything, and the partitions stay alike. The part that a manager
//! has to give does not grow in a look, while others are slower than it is.

use std::collections::HashMap;
use std::time::Duration;

use drumline_backend::store::{self, Stamp};
use drumline_protocol::Partition;
use drumline_protocol::transition::EndClass;
use tokio::time::{Instant, sleep};

use super::{Retain, remove};
use crate::service::QueueManager;

/// The part of the limit that is made free at once. With less, every look would have
/// something to do.
const FREE: u64 = 20;
/// The ends that go first, and the others. The reason of a failure may still be wanted.
const FIRST: [EndClass; 2] = [EndClass::Transient, EndClass::Succeeded];
const OTHERS: [EndClass; 1] = [EndClass::Unsuccessful];
/// Behind every end.
const LAST: Stamp = Stamp(u64::MAX / 2);
/// Rounds over the partitions in one look. The first may leave partitions with too
/// much, because others had no more Succeeded operations.
const ROUNDS: usize = 4;
/// The interval at which a look begins at the front: those that had to stay for a moment
/// may be removable then. Failed ones are removed in such looks only.
const FROM_THE_FRONT: Duration = Duration::from_secs(30);

/// The place of the looks for room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// True while Completed operations take more bytes than they may.
    is_full: bool,
    /// The stamp up to which the ends have been seen since a look began at the front.
    seen: HashMap<(Partition, EndClass), Stamp>,
    begun: Option<Instant>,
    /// The number of looks that found too much: another partition begins each time.
    turn: usize,
}

/// The bytes of the Completed operations, by partition.
struct Sizes(Vec<u64>);

impl Sizes {
    async fn read(manager: &QueueManager) -> store::Result<Self> {
        let all: Vec<Partition> = manager.store().partitions().all().collect();
        let sizes = Self(manager.store().completed_bytes(&all).await?);
        manager.metrics().completed_bytes(sizes.total());
        Ok(sizes)
    }

    fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, some| sum.saturating_add(*some))
    }

    fn of(&self, partition: Partition) -> u64 {
        let own = self.0.get(usize::from(partition.get()));
        own.copied().unwrap_or(0)
    }

    fn set(&mut self, partition: Partition, bytes: u64) {
        if let Some(own) = self.0.get_mut(usize::from(partition.get())) {
            *own = bytes;
        }
    }

    fn of_all(&self, partitions: &[Partition]) -> u64 {
        let each = partitions.iter().map(|partition| self.of(*partition));
        each.fold(0, u64::saturating_add)
    }
}

/// The part of an aim for a whole that falls to a part of the whole.
fn in_proportion(part: u64, aim: u64, whole: u64) -> u64 {
    let share = u128::from(part) * u128::from(aim) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Retain {
    /// Removes the oldest Completed operations if all together take too many bytes.
    pub(super) async fn make_room(
        &mut self,
        manager: &QueueManager,
        share: &[Partition],
    ) -> store::Result<()> {
        let Some(most) = self.keep.completed_bytes else {
            return Ok(());
        };
        let most = most.get();
        let mut sizes = Sizes::read(manager).await?;
        let bytes = sizes.total();
        if bytes <= most {
            self.room = Room::default();
            return Ok(());
        }
        let room = &mut self.room;
        room.turn = room.turn.wrapping_add(1);
        let is_from_the_front = room.begun.is_none_or(|at| at.elapsed() >= FROM_THE_FRONT);
        if is_from_the_front {
            room.begun = Some(Instant::now());
            room.seen.clear();
        }
        if !room.is_full {
            room.is_full = true;
            tracing::warn!(
                bytes,
                most,
                "Completed operations take more than --max-completed-bytes: the oldest are removed early"
            );
        }
        let aim = most - most / FREE;
        // Of the partitions of this manager together.
        let own_aim = in_proportion(sizes.of_all(share), aim, bytes);
        let mut share = share.to_vec();
        let first = self.room.turn % share.len().max(1);
        share.rotate_left(first);
        for classes in [FIRST.as_slice(), OTHERS.as_slice()] {
            let mut removed = 0;
            for _ in 0..ROUNDS {
                removed = 0;
                let own = sizes.of_all(&share);
                for partition in &share {
                    // A partition may give one operation too many: the last ones less.
                    if sizes.of_all(&share) <= own_aim {
                        break;
                    }
                    let kept = in_proportion(sizes.of(*partition), own_aim, own);
                    let (count, size) = self.shrink(manager, *partition, classes, kept).await?;
                    removed += count;
                    sizes.set(*partition, size);
                }
                sizes = Sizes::read(manager).await?;
                if sizes.of_all(&share) <= own_aim || sizes.total() <= aim {
                    return Ok(());
                }
                if removed == 0 {
                    break;
                }
            }
            // While there may be Succeeded ones, a later look goes on with these.
            if removed > 0 || !is_from_the_front {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes the oldest ends of these classes until the partition has no more than
    /// `kept` bytes; returns the number removed, and the bytes that are left.
    async fn shrink(
        &mut self,
        manager: &QueueManager,
        partition: Partition,
        classes: &[EndClass],
        kept: u64,
    ) -> store::Result<(usize, u64)> {
        let mut count = 0;
        let mut size = size_of(manager, partition).await?;
        for class in classes {
            // Those before it had to stay.
            let place = (partition, *class);
            let mut seen = self.room.seen.get(&place).copied().unwrap_or(Stamp(0));
            // The first tells how large they are: no more goes than must.
            let mut step = 1;
            while size > kept {
                let old = manager.store().ended(partition, *class, seen, LAST, step);
                let old = old.await?;
                let Some(&(_, last)) = old.last() else { break };
                let ids: Vec<_> = old.into_iter().map(|(id, _)| id).collect();
                let removed = remove(manager, &ids).await?;
                manager.metrics().removed(*class, removed);
                manager.metrics().removed_for_room(removed);
                count += removed;
                seen = last;
                self.room.seen.insert(place, seen);
                let before = std::mem::replace(&mut size, size_of(manager, partition).await?);
                step = self.next_step(before.saturating_sub(size), removed, size, kept);
                sleep(self.keep.pause).await;
            }
        }
        Ok((count, size))
    }
}

impl Retain {
    /// The number of operations to look at next, after so many have freed these bytes.
    fn next_step(&self, freed: u64, removed: usize, size: u64, kept: u64) -> usize {
        let most = self.keep.step.max(1);
        let removed = u64::try_from(removed).unwrap_or(u64::MAX);
        let each = freed.checked_div(removed).unwrap_or(0);
        let needed = size.saturating_sub(kept).checked_div(each);
        // Those that must stay free nothing, and are passed in full steps.
        needed.map_or(most, |needed| {
            usize::try_from(needed).unwrap_or(most).clamp(1, most)
        })
    }
}

async fn size_of(manager: &QueueManager, partition: Partition) -> store::Result<u64> {
    let sizes = manager.store().completed_bytes(&[partition]).await?;
    Ok(sizes.first().copied().unwrap_or(0))
}
