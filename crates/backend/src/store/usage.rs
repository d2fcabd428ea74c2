//! The use of the store by organizations, counted by the store in the step that creates, changes or removes them: a reader adds up numbers and looks at no
//! operation.

use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::{ChainKey, Organization, Partition};

use super::error::Result;

/// The bytes that an operation counts beside its data, its report and its
/// checkpoint: about what its record, its indexes and its place in the sets take.
pub const OPERATION_BYTES: u64 = 768;

/// The span of [`Usage::created`].
pub const CREATED_WITHIN: Duration = Duration::from_secs(60);

/// The use of the store by the operations of an organization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Operations that are not Completed, series included.
    pub open: u64,
    /// Series that are not Completed.
    pub series: u64,
    /// Dependency tokens that have operations in their chain.
    pub tokens: u64,
    /// Bytes of all operations, Completed ones included: data, reports, checkpoints,
    /// and about [`OPERATION_BYTES`] for each. Histories, and what handlers have
    /// printed, are not among them.
    pub bytes: u64,
    /// Operations created within the last minute. The minute before the current one
    /// counts with the part of it that is not over, as if its creates had come
    /// evenly.
    pub created: u64,
}

impl Usage {
    /// Returns [`Self::created`]: from the creates of the current minute and of the
    /// minute before, `into` the current minute.
    #[must_use]
    pub fn sliding(current: u64, before: u64, into: Duration) -> u64 {
        let rest = CREATED_WITHIN.saturating_sub(into).as_millis();
        let share = u128::from(before) * rest / CREATED_WITHIN.as_millis();
        current.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// The part of a [`Store`](super::Store) that knows the use of organizations.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// Adds up the use of an organization. Costs a command per
    /// partition, however many operations there are.
    ///
    /// Operations that a build without these counts has created are not counted.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn usage(&self, organization: &Organization) -> Result<Usage>;

    /// Returns the number of operations in each of these chains.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn chain_lengths(&self, chains: &[ChainKey]) -> Result<Vec<u64>>;

    /// Returns the bytes of the Completed operations of each of these partitions,
    /// counted as [`Usage::bytes`] are.
    ///
    /// # Errors
    /// When the store is unavailable.
    async fn completed_bytes(&self, partitions: &[Partition]) -> Result<Vec<u64>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minute_before_counts_as_far_as_it_is_not_over() {
        let into = Duration::from_secs;
        assert_eq!(Usage::sliding(5, 100, into(0)), 105);
        assert_eq!(Usage::sliding(5, 100, into(45)), 30);
        assert_eq!(Usage::sliding(5, 100, into(60)), 5);
        assert_eq!(Usage::sliding(5, 100, into(3_600)), 5);
        assert_eq!(Usage::sliding(u64::MAX, u64::MAX, into(0)), u64::MAX);
    }
}
