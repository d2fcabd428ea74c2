//! The source of ids, so that a test can fix them.

use drumline_protocol::{CommitId, Jitter, OperationId, Partition, Timestamp};
use uuid::Uuid;

use crate::member_id::MemberId;
use crate::random::Random;

/// A source of ids; cheap to clone and to share.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    random: Random,
}

impl Ids {
    /// Draws ids from this source.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { random }
    }

    /// Random, from the operating system.
    #[must_use]
    pub const fn random() -> Self {
        Self::new(Random::from_entropy())
    }

    /// The same ids in every run: for tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(Random::seeded(seed))
    }

    /// The source of random numbers that the ids are drawn from.
    #[must_use]
    pub const fn source(&self) -> &Random {
        &self.random
    }

    /// A random UUID (version 4).
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.random.uuid()
    }

    /// A fresh operation id.
    #[must_use]
    pub fn operation(&self, now: Timestamp, partition: Partition) -> OperationId {
        OperationId::new(now, partition, self.uuid().into_bytes())
    }

    /// A fresh member id.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(self.uuid())
    }

    /// A fresh name for a commit.
    #[must_use]
    pub fn commit(&self) -> CommitId {
        CommitId(self.random.u64())
    }

    /// A fresh random number for a delay.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any 32 of the bits will do"
        )]
        Jitter(self.random.u64() as u32)
    }
}
