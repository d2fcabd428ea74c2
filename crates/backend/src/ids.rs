//! The source of ids and random numbers, so that a test can fix them.

use std::sync::atomic::{AtomicU64, Ordering};

use drumline_protocol::{CommitId, Jitter, OperationId, Partition, Timestamp};
use uuid::Uuid;

use crate::member_id::MemberId;

/// A source of ids. Cheap to share.
#[derive(Debug, Default)]
pub struct Ids {
    /// `Some`: counted up from a seed instead of random.
    seed: Option<AtomicU64>,
}

impl Ids {
    /// Random, from the operating system.
    #[must_use]
    pub const fn random() -> Self {
        Self { seed: None }
    }

    /// The same ids in every run: for tests.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self {
            seed: Some(AtomicU64::new(seed)),
        }
    }

    fn bytes(&self) -> [u8; 16] {
        self.uuid().into_bytes()
    }

    /// A random UUID (version 4).
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the injected generator")]
    pub fn uuid(&self) -> Uuid {
        match &self.seed {
            None => Uuid::new_v4(),
            Some(counter) => {
                let count = counter.fetch_add(1, Ordering::Relaxed);
                // Spread over all bits, as random ones would be.
                let high = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let low = high.rotate_left(31) ^ count;
                uuid::Builder::from_random_bytes(
                    (u128::from(high) << 64 | u128::from(low)).to_be_bytes(),
                )
                .into_uuid()
            }
        }
    }

    /// A fresh operation id.
    #[must_use]
    pub fn operation(&self, now: Timestamp, partition: Partition) -> OperationId {
        OperationId::new(now, partition, self.bytes())
    }

    /// A fresh member id.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(self.uuid())
    }

    /// A fresh name for a commit.
    #[must_use]
    pub fn commit(&self) -> CommitId {
        CommitId(self.number())
    }

    /// A fresh random number for a delay.
    #[must_use]
    pub fn jitter(&self) -> Jitter {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any 32 of the bits will do"
        )]
        Jitter(self.number() as u32)
    }

    fn number(&self) -> u64 {
        let [a, b, c, d, e, f, _, _, _, _, g, h, ..] = self.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}
