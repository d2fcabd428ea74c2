//! Failure groups: what fails, how often, and in which hours of the last day; and the
//! mutes of groups that are known.
//!
//! A mute hides nothing: its group stands where groups are listed, and says who has
//! muted it. It keeps the group out of the verdict about the service.

use drumline_api::mute::SetMute;
use drumline_api::{FieldError, Invalid};
use drumline_backend::store::{FAILURE_GROUPS, FailureGroup, FailureHours, hour_of, minute_of};
use drumline_protocol::mute::LONGEST_MUTE;
use drumline_protocol::{FailureKey, Mute, Timestamp};

use super::{Actor, QueueManager};
use crate::error::{Error, Result};

/// Growth of a look for groups that are not muted, from step to step.
const WIDER: usize = 8;

/// A failure group as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// The group.
    pub group: FailureGroup,
    /// Its failures in each of the last hours, the oldest first. The last one is not
    /// over yet.
    pub hours: FailureHours,
    /// Its mute, if one is in force.
    pub mute: Option<Mute>,
}

/// The failure groups that a verdict is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The groups that are not muted, the last failure first.
    pub(crate) groups: Vec<Failing>,
    /// True if there are more.
    pub(crate) has_more: bool,
    /// The last failure of the muted groups that were met on the way.
    pub(crate) muted_last: Option<Timestamp>,
}

impl QueueManager {
    /// Reads the failure groups of the caller's organization, the last failure first.
    /// A failure is in its group some seconds later.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn failing(&self, actor: &Actor, limit: usize) -> Result<Vec<Failing>> {
        let groups = self.store().failure_groups(&actor.organization, limit);
        let groups = groups.await?;
        let mutes = self.mutes_of(actor, &groups).await?;
        self.with_hours(actor, groups.into_iter().zip(mutes)).await
    }

    /// Reads one failure group of the caller's organization.
    ///
    /// # Errors
    /// - [`Error::NoFailures`] when the organization has no group with this key.
    /// - When the store is unavailable.
    pub async fn failing_as(&self, actor: &Actor, key: FailureKey) -> Result<Failing> {
        let group = self.store().failure_group(&actor.organization, key);
        let group = group.await?.ok_or_else(|| no_failures(key))?;
        let mutes = self.mutes_of(actor, std::slice::from_ref(&group)).await?;
        let found = self.with_hours(actor, std::iter::once(group).zip(mutes));
        found.await?.pop().ok_or_else(|| no_failures(key))
    }

    /// Reads the failure groups of the caller's organization that are not muted, the
    /// last failure first, at most `limit`. It looks further only where the newest
    /// groups are muted.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub(crate) async fn heard(&self, actor: &Actor, limit: usize) -> Result<Heard> {
        let mut look = limit + 1;
        loop {
            let groups = self.store().failure_groups(&actor.organization, look);
            let groups = groups.await?;
            let is_all = groups.len() < look || look >= FAILURE_GROUPS;
            let mutes = self.mutes_of(actor, &groups).await?;
            let pairs = groups.into_iter().zip(mutes);
            let (mut heard, muted): (Vec<_>, Vec<_>) = pairs.partition(|(_, mute)| mute.is_none());
            if heard.len() > limit || is_all {
                let has_more = heard.len() > limit;
                heard.truncate(limit);
                return Ok(Heard {
                    groups: self.with_hours(actor, heard.into_iter()).await?,
                    has_more,
                    muted_last: muted.iter().map(|(group, _)| group.last).max(),
                });
            }
            look = (look * WIDER).min(FAILURE_GROUPS);
        }
    }

    /// Mutes a failure group, in place of its mute before. Returns the group.
    ///
    /// # Errors
    /// - [`Error::Invalid`] when the time is over, or too far.
    /// - [`Error::NoFailures`] when the caller's organization has no group with this key.
    /// - When the store is unavailable. May be repeated.
    pub async fn mute(&self, actor: &Actor, key: FailureKey, request: SetMute) -> Result<Failing> {
        let now = self.store().now();
        let SetMute { reason, until } = request;
        if until <= now {
            return Err(invalid("must be in the future"));
        }
        if until > now.saturating_add(LONGEST_MUTE) {
            let days = LONGEST_MUTE.as_secs() / (24 * 3600);
            let why = format!("must be within {days} days; a mute always ends");
            return Err(invalid(&why));
        }
        let mute = Mute {
            reason,
            author: actor.author(),
            since: now,
            until,
        };
        let failing = self.failing_as(actor, key).await?;
        self.store().mute(&actor.organization, key, &mute).await?;
        tracing::info!(group = %key, until = %mute.until, "a failure group is muted");
        Ok(Failing {
            mute: Some(mute),
            ..failing
        })
    }

    /// Ends the mute of a failure group.
    ///
    /// # Errors
    /// - [`Error::NoMute`] when the caller's organization has no muted group with this
    ///   key.
    /// - When the store is unavailable: the mute may have ended already.
    pub async fn unmute(&self, actor: &Actor, key: FailureKey) -> Result<()> {
        let mutes = self.store().mutes(&actor.organization, &[key]).await?;
        let now = self.store().now();
        let is_muted = mutes.iter().flatten().any(|mute| mute.is_in_force(now));
        if !is_muted {
            return Err(Error::NoMute {
                id: key.to_string(),
            });
        }
        self.store().unmute(&actor.organization, key).await?;
        tracing::info!(group = %key, "a failure group is heard again");
        Ok(())
    }

    /// The mutes in force of some groups, in their order.
    async fn mutes_of(&self, actor: &Actor, groups: &[FailureGroup]) -> Result<Vec<Option<Mute>>> {
        let keys: Vec<_> = groups.iter().map(|group| group.key).collect();
        let mutes = self.store().mutes(&actor.organization, &keys).await?;
        let now = self.store().now();
        let in_force = |mute: Option<Mute>| mute.filter(|mute| mute.is_in_force(now));
        Ok(mutes.into_iter().map(in_force).collect())
    }

    /// The groups with their failures in each hour.
    async fn with_hours(
        &self,
        actor: &Actor,
        groups: impl Iterator<Item = (FailureGroup, Option<Mute>)>,
    ) -> Result<Vec<Failing>> {
        let groups: Vec<_> = groups.collect();
        let keys: Vec<_> = groups.iter().map(|(group, _)| group.key).collect();
        let hour = hour_of(minute_of(self.store().now()));
        let hours = self.store().failure_hours(&actor.organization, &keys, hour);
        let groups = groups.into_iter().zip(hours.await?);
        let failing = |((group, mute), hours)| Failing { group, hours, mute };
        Ok(groups.map(failing).collect())
    }
}

fn no_failures(key: FailureKey) -> Error {
    Error::NoFailures {
        id: key.to_string(),
    }
}

fn invalid(why: &str) -> Error {
    Error::Invalid(Invalid::from(FieldError::new("until", why)))
}
