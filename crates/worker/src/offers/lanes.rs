//! The lanes that a worker consumes: its share by rendezvous hashing.
//!
//! Every worker computes the same answer from the same list of members. While two
//! workers have different lists, a lane may have two consumers or none. The broker
//! lets the second consumer wait, and the claim keeps the order.

use std::collections::BTreeSet;

use drumline_backend::{Member, MemberId, Role, rendezvous};
use drumline_protocol::message::{Route, Source};
use drumline_protocol::{Partition, PartitionCount, QueueName};

/// The lanes of `queue` that fall to `me`. `me` has a share even if the list does
/// not name it yet.
pub(crate) fn own_lanes(
    me: MemberId,
    queue: &QueueName,
    members: &[Member],
    partitions: PartitionCount,
) -> BTreeSet<Route> {
    let mut serving: Vec<_> = members
        .iter()
        .filter(|member| member.role == Role::Worker && !member.draining)
        .filter(|member| member.queues.contains(queue))
        .map(|member| member.id)
        .collect();
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
    use drumline_backend::Build;
    use uuid::Uuid;

    fn worker(number: u128, draining: bool) -> Member {
        Member {
            id: MemberId(Uuid::from_u128(number)),
            role: Role::Worker,
            host: String::new(),
            queues: vec![QueueName::default()],
            messages: Vec::new(),
            concurrency: 1,
            running: 0,
            draining,
            started_on_ms: 0,
            bypassed: Vec::new(),
            sends_webhooks: None,
            throttled: Vec::new(),
            build: Build::current(),
        }
    }

    fn lanes(number: u128, members: &[Member]) -> BTreeSet<Route> {
        let me = MemberId(Uuid::from_u128(number));
        own_lanes(me, &QueueName::default(), members, PartitionCount::DEFAULT)
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
