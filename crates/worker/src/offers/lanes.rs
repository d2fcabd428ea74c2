//! The lanes that a worker consumes: its share by rendezvous hashing.
//!
//! Every worker computes the same answer from the same roster. While two
//! workers have different rosters, a lane may have two consumers or none. The broker
//! lets the second consumer wait, and the claim keeps the order.

use std::collections::BTreeSet;

use drumline_backend::{MemberId, Roster, rendezvous};
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{Partition, PartitionCount, QueueName};

/// The lanes of `queue` that fall to `me`. `me` has a share even if the roster does
/// not name it yet.
pub(crate) fn own_lanes(
    me: MemberId,
    queue: &QueueName,
    roster: &Roster,
    partitions: PartitionCount,
) -> BTreeSet<Route> {
    let mut serving = roster.ids(|profile| profile.serves_queue(queue));
    if !serving.contains(&me) {
        serving.push(me);
    }
    partitions
        .all()
        .filter(|lane| rendezvous::owner(lane_key(queue, *lane), &serving) == Some(me))
        .map(|lane| Route {
            queue: queue.clone(),
            source: Source::Lane(lane),
        })
        .collect()
}

/// The key of a lane for the rendezvous. The name of the queue is part of the key,
/// so that the same lane of different queues falls to different workers. The hash
/// is FNV-1a, because workers of all releases must agree.
fn lane_key(queue: &QueueName, lane: Partition) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let lane = lane.get().to_be_bytes();
    for byte in queue.as_str().bytes().chain(lane) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use drumline_backend::membership::Group;
    use drumline_backend::{Profile, Role};
    use uuid::Uuid;

    fn worker(number: u128, draining: bool) -> Group {
        Group {
            profile: Arc::new(Profile {
                queues: vec![QueueName::default()],
                draining,
                ..Profile::new(Role::Worker)
            }),
            ids: vec![MemberId(Uuid::from_u128(number))],
        }
    }

    fn lanes(number: u128, members: &[Group]) -> BTreeSet<Route> {
        let me = MemberId(Uuid::from_u128(number));
        let roster = Roster::of_groups(members.to_vec());
        own_lanes(me, &QueueName::default(), &roster, PartitionCount::DEFAULT)
    }

    #[test]
    fn every_lane_has_one_worker() {
        let members: Vec<_> = (1..=4).map(|number| worker(number, false)).collect();
        let shares: Vec<_> = (1..=4).map(|number| lanes(number, &members)).collect();
        assert_eq!(shares.iter().map(BTreeSet::len).sum::<usize>(), 64);
        let all: BTreeSet<_> = shares.into_iter().flatten().collect();
        assert_eq!(all.len(), 64);
    }

    #[test]
    fn a_draining_worker_has_none() {
        let members = [worker(1, true), worker(2, false)];
        assert_eq!(lanes(2, &members).len(), 64);
    }

    #[test]
    fn a_worker_that_nobody_knows_yet_has_all() {
        assert_eq!(lanes(1, &[]).len(), 64);
    }
}
