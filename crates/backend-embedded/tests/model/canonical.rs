//! The fingerprint of a world: equal for worlds with the same behaviour.
//!
//! Stamps, fences, versions and commit names differ from path to path, but
//! every test of them asks only if one *is* the current one. Each is fresh when
//! it is given out, so a stale one stays stale. So a world is written down as
//! relations ("this message carries the current version"), with all unordered
//! things sorted, and no counter at all.

use std::hash::{DefaultHasher, Hasher};

use drumline_protocol::{OperationId, StopRequest};

use crate::fixtures::scope_keys;
use crate::world::{Budget, Message, Publication, Suspect, Worker, World};

/// The hash of a world. 64 bits: with a million worlds, the chance that two are
/// mistaken for each other is one in forty million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(u64);

impl World {
    /// Equal for worlds in which the same can happen.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut bytes = Vec::with_capacity(128);
        for &id in &self.created {
            self.write_operation(id, &mut bytes);
        }
        let [first, second] = self.paused();
        let flags = [self.creation_unclear, self.is_late, first, second];
        bytes.extend([u8::MAX, bits(flags)]);
        let Budget {
            crashes,
            unclear,
            losses,
            doubles,
            forgeries,
            needless_offers,
            suspicions,
            renewals,
            unsteady,
            clients,
            breaks,
            repairs,
            pauses,
        } = self.budget;
        bytes.extend([crashes, unclear, losses, doubles, forgeries]);
        bytes.extend([needless_offers, suspicions, renewals, unsteady, clients]);
        bytes.extend([breaks, repairs, pauses]);
        bytes.extend(self.broken.map(u8::from));
        let publications = self.publications.iter().map(|one| self.publication(one));
        write_sorted(publications.collect(), &mut bytes);
        let broker = self.broker.iter().map(|one| self.message(one));
        write_sorted(broker.collect(), &mut bytes);
        let workers = self.workers.iter().map(|one| self.worker(one));
        write_sorted(workers.collect(), &mut bytes);
        let suspect = self.suspect.map_or(0, |suspect| self.suspect(&suspect));
        bytes.push(suspect);
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        Fingerprint(hasher.finish())
    }

    fn write_operation(&self, id: OperationId, bytes: &mut Vec<u8>) {
        let header = self.header(id);
        let stop = match header.stop {
            None => 0,
            Some(StopRequest::Pause) => 1,
            Some(StopRequest::Postpone(_)) => 2,
        };
        let last = self.store.last_offer(id);
        let flags = [
            header.postpone_until.is_some(),
            self.store.outbox_entry(id).is_some(),
            self.store.lock(id).is_some(),
            last.is_some_and(|stamp| self.lost.contains(&(id, stamp))),
        ];
        let held_by = self.store.held_by(id);
        let [first, second] = scope_keys().map(|scope| held_by == Some(scope));
        let more = [header.holding, header.expires_on().is_some(), first, second];
        bytes.extend([header.status.code(), stop, bits(flags), bits(more)]);
    }

    fn message(&self, message: &Message) -> u32 {
        let flags = [
            message.header.version == self.header(message.id).version,
            Some(message.stamp) == self.store.last_offer(message.id),
            Some(message.stamp) == self.store.outbox_entry(message.id),
            false,
        ];
        let queue = u32::try_from(message.queue).expect("there are few");
        u32::from(self.number(message.id)) << 8 | queue << 4 | u32::from(bits(flags))
    }

    fn publication(&self, publication: &Publication) -> u32 {
        let message = self.message(&publication.message) << 2;
        message | u32::from(publication.published) << 1 | u32::from(publication.bypassed)
    }

    fn worker(&self, worker: &Worker) -> u32 {
        let (kind, rest) = match worker {
            Worker::Idle => (0, 0),
            Worker::Offered {
                message,
                from_broker,
            } => (1, self.message(message) << 1 | u32::from(*from_broker)),
            Worker::ClaimUnclear {
                message,
                from_broker,
                commit,
            } => {
                let made = self.header(commit.id).commit == commit.header.commit;
                let current = self.header(commit.id).version == commit.expected;
                let expires = commit.header.completed_on.is_some();
                let flags = bits([made, current, *from_broker, expires]);
                (2, self.message(message) << 4 | u32::from(flags))
            }
            Worker::Running { id, fence } => {
                let holds = self
                    .store
                    .lock(*id)
                    .is_some_and(|held| held.fence == *fence);
                let flags = bits([holds, false, false, false]);
                (3, u32::from(self.number(*id)) << 4 | u32::from(flags))
            }
            Worker::FinishUnclear { fence, commit } => {
                let id = commit.id;
                let made = self.header(id).commit == commit.header.commit;
                let current = self.header(id).version == commit.expected;
                let holds = self.store.lock(id).is_some_and(|held| held.fence == *fence);
                let flags = bits([made, current, holds, false]);
                let rest = u32::from(commit.header.status.code()) << 4 | u32::from(flags);
                (4, u32::from(self.number(id)) << 16 | rest)
            }
        };
        kind << 28 | rest
    }

    fn suspect(&self, suspect: &Suspect) -> u8 {
        let held = self.store.lock(suspect.id);
        let flags = [
            held.is_some_and(|held| held.fence == suspect.fence),
            held.is_some_and(|held| held.beat == suspect.beat),
            true,
            false,
        ];
        self.number(suspect.id) << 4 | bits(flags)
    }

    /// The place of an operation in the order of creation.
    fn number(&self, id: OperationId) -> u8 {
        let place = self.created.iter().position(|other| *other == id);
        u8::try_from(place.expect("it was created")).expect("there are few")
    }
}

fn bits(flags: [bool; 4]) -> u8 {
    let [a, b, c, d] = flags.map(u8::from);
    a | b << 1 | c << 2 | d << 3
}

fn write_sorted(mut things: Vec<u32>, bytes: &mut Vec<u8>) {
    things.sort_unstable();
    for thing in things {
        bytes.extend(thing.to_be_bytes());
    }
    bytes.extend(u32::MAX.to_be_bytes());
}
