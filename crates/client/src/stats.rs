//! Statistics of the last hours, and failure groups.

use std::time::Duration;

use drumline_protocol::Timestamp;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::Result;
use crate::retry::Repeat;

/// The operations and the time that statistics are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsFilter {
    /// The time to look back; `None`: an hour. At most 72 hours are kept.
    pub back: Option<Duration>,
    /// The queue.
    pub queue: Option<String>,
    /// The message name.
    pub message_name: Option<String>,
}

impl StatsFilter {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let back = self
            .back
            .map(|back| ("since", format!("{}s", back.as_secs())));
        let queue = self.queue.clone().map(|queue| ("queue", queue));
        let name = self.message_name.clone();
        let name = name.map(|name| ("messageName", name));
        back.into_iter().chain(queue).chain(name).collect()
    }
}

/// Counts of the last hours, in slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// The time at which the first slot begins, RFC 3339.
    pub since: String,
    /// The length of a slot in seconds.
    pub slot_seconds: u64,
    /// All slots together.
    pub total: StatsCounts,
    /// The slots, oldest first. The last one is not over yet.
    pub slots: Vec<StatsSlot>,
    /// The time from which on [`Self::breakdown`] are counted, RFC 3339.
    pub compared_since: String,
    /// The counts of each queue and message name.
    pub breakdown: Vec<StatsBreakdown>,
}

/// The counts of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsSlot {
    /// The time at which the slot begins, RFC 3339.
    pub start: String,
    /// The counts.
    #[serde(flatten)]
    pub counts: StatsCounts,
}

/// The counts of the operations of a queue with a message name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsBreakdown {
    /// The queue; `None` for the operations that are counted without their names,
    /// because there are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The message name; `None` likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_name: Option<String>,
    /// The counts.
    #[serde(flatten)]
    pub counts: StatsCounts,
}

/// Counts, and times in milliseconds, which may be off by a factor of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsCounts {
    /// Operations that were created.
    pub created: u64,
    /// Runs that were started.
    pub started: u64,
    /// Operations that Succeeded.
    pub succeeded: u64,
    /// Operations that Failed.
    pub failed: u64,
    /// Operations that were Canceled.
    pub canceled: u64,
    /// Operations that no worker had started by their `notAfter`.
    pub expired: u64,
    /// The time that half of the started operations had waited at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p50_ms: Option<u64>,
    /// The time that 99 of 100 had waited at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p99_ms: Option<u64>,
    /// The time that half of the runs took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_p50_ms: Option<u64>,
    /// The time that 99 of 100 runs took at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_p99_ms: Option<u64>,
}

/// Failures that are the same but for numbers, ids and quoted texts in their messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureGroup {
    /// The id of the group.
    pub id: String,
    /// The message name.
    pub message_name: String,
    /// The error code.
    pub error_code: String,
    /// The messages of the errors, with `#` for each number.
    pub pattern: String,
    /// The number of failures.
    pub count: u64,
    /// The time of the first failure, RFC 3339.
    pub first: String,
    /// The time of the last failure, RFC 3339.
    pub last: String,
    /// The id of the operation that failed last. It may be removed.
    pub sample: String,
    /// The failures in each of the last 24 hours (UTC), the oldest first. The last hour
    /// is not over yet. Empty if the service is of an earlier release.
    #[serde(default)]
    pub hourly: Vec<u64>,
    /// The mute in force, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<FailureMute>,
}

/// A mute: a failure group raises no alarm for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureMute {
    /// The reason, for people.
    pub reason: String,
    /// The time at which it ends, RFC 3339.
    pub until: String,
    /// The caller that has set it.
    pub muted_by: String,
    /// The time at which it was set, RFC 3339.
    pub muted_on: String,
}

#[derive(Serialize)]
struct NewMute<'a> {
    reason: &'a str,
    until: String,
}

#[derive(Deserialize)]
struct Failures {
    groups: Vec<FailureGroup>,
}

impl Client {
    /// Counts of the last hours, of all organizations. The last minute may be
    /// incomplete.
    ///
    /// # Errors
    /// When the caller may not see the fleet, or the service is unavailable.
    pub async fn stats(&self, filter: &StatsFilter) -> Result<Stats> {
        let request = self.request(Method::GET, &["v1", "stats"]);
        let request = request.query(&filter.pairs());
        self.exchange(Repeat::Safe, request).await?.read()
    }

    /// The failure groups of the caller's organization, the last failure first, at most
    /// `limit` groups (1 to 1,000).
    ///
    /// # Errors
    /// When the service is unavailable.
    pub async fn failures(&self, limit: usize) -> Result<Vec<FailureGroup>> {
        let request = self.request(Method::GET, &["v1", "failures"]);
        let request = request.query(&[("limit", limit)]);
        let found: Failures = self.exchange(Repeat::Safe, request).await?.read()?;
        Ok(found.groups)
    }

    /// Keeps a failure group from raising an alarm until a time, 30 days from now at
    /// the latest. A mute of before is replaced. Returns the group.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if there is no such
    /// group.
    pub async fn mute_failures(
        &self,
        id: &str,
        reason: &str,
        until: Timestamp,
    ) -> Result<FailureGroup> {
        let body = NewMute {
            reason,
            until: until.to_string(),
        };
        let request = self.request(Method::PUT, &["v1", "failures", id, "mute"]);
        self.exchange(Repeat::Safe, request.json(&body))
            .await?
            .read()
    }

    /// Ends the mute of a failure group.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) with `0x80040217` if the group is not
    /// muted, or not any more.
    pub async fn unmute_failures(&self, id: &str) -> Result<()> {
        let request = self.request(Method::DELETE, &["v1", "failures", id, "mute"]);
        // A second request is refused, which would hide that the first was done.
        self.exchange(Repeat::Undone, request).await?;
        Ok(())
    }
}
