//! Failure groups: what fails, how often, and in which hours of the last day.

use drumline_backend::store::{FailureGroup, FailureHours, hour_of, minute_of};
use drumline_protocol::Organization;

use super::{Actor, QueueManager};
use crate::error::Result;

/// A failure group as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The group.
    pub group: FailureGroup,
    /// Its failures in each of the last hours, the oldest first. The last one is not
    /// over yet.
    pub hours: FailureHours,
}

impl QueueManager {
    /// Reads the failure groups of the caller's organization, the last failure first.
    /// A failure is in its group some seconds later.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn failing(&self, actor: &Actor, limit: usize) -> Result<Vec<Failing>> {
        self.failing_of(&actor.organization, limit).await
    }

    async fn failing_of(&self, organization: &Organization, limit: usize) -> Result<Vec<Failing>> {
        let groups = self.store().failure_groups(organization, limit).await?;
        let keys: Vec<_> = groups.iter().map(|group| group.key).collect();
        let hour = hour_of(minute_of(self.store().now()));
        let hours = self.store().failure_hours(organization, &keys, hour);
        let groups = groups.into_iter().zip(hours.await?);
        Ok(groups
            .map(|(group, hours)| Failing { group, hours })
            .collect())
    }
}
