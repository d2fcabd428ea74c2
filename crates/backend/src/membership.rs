//! Membership: workers and managers report that they are alive, and read which
//! other members are.
//!
//! Safety does not depend on membership. Two members that disagree for a moment
//! cost a duplicate delivery or a duplicate look, which the claim and the
//! commit resolve.

use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::{Formats, QueueName, Timestamp, version};
use serde::{Deserialize, Serialize};

use crate::broker::Bypassed;
pub use crate::member_id::MemberId;
use crate::store;

/// The interval between two beats of a member.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The time for which a member that does not beat is still listed. Ten missed
/// beats: a long garbage collection or a slow disk of the store is not a death.
pub const MEMBER_TIMEOUT: Duration = Duration::from_secs(10);

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs handlers.
    Worker,
    /// Takes requests and looks after partitions.
    Manager,
}

/// The report of a member about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The id of this life of the process.
    pub id: MemberId,
    /// The member's role.
    pub role: Role,
    /// A name for people: host and process id, or the configured one.
    pub host: String,
    /// The queues that a worker serves.
    pub queues: Vec<QueueName>,
    /// The message names that a worker has handlers for; `*` for all.
    pub messages: Vec<String>,
    /// The number of operations that it runs at once.
    pub concurrency: u32,
    /// The number of operations that it runs now.
    pub running: u32,
    /// True if the member takes nothing new.
    pub draining: bool,
    /// The time when the member started.
    pub started_on_ms: i64,
    /// The queues of the broker that the member cannot use, at most
    /// [`BYPASSED_MAX`]. Members of earlier releases leave this out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypassed: Vec<Bypassed>,
    /// The message names whose handler has failed too often, at most
    /// [`THROTTLED_MAX`]: the member does not take them at present. Members of
    /// earlier releases leave this out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub throttled: Vec<String>,
    /// The member's release, and the formats that it reads.
    #[serde(default)]
    pub build: Build,
    /// True if a manager can send webhooks; `None` for members that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_webhooks: Option<bool>,
}

/// The release of a member, and the formats that it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The formats; `None` for a member that does not announce them.
    pub formats: Option<Formats>,
    /// The release: `0.1.0`. Empty for a member that does not announce it.
    pub release: String,
}

impl Build {
    /// The build of this process.
    #[must_use]
    pub fn current() -> Self {
        Self {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            formats: Some(version::CURRENT),
        }
    }
}

/// The most by-passed queues that a member reports. Every member reads every
/// beat, so a beat must stay small; each process detects the rest by itself.
pub const BYPASSED_MAX: usize = 32;

/// The most message names that a member reports as throttled, for the same reason.
pub const THROTTLED_MAX: usize = 64;

impl Member {
    /// Returns true if the member would take operations with this message name
    /// from this queue.
    #[must_use]
    pub fn serves(&self, queue: &QueueName, message_name: &str) -> bool {
        self.role == Role::Worker
            && !self.draining
            && self.queues.contains(queue)
            && self
                .messages
                .iter()
                .any(|name| name == "*" || name == message_name)
    }

    /// Returns true if the member serves this message name and takes its operations
    /// at present.
    #[must_use]
    pub fn takes(&self, queue: &QueueName, message_name: &str) -> bool {
        self.serves(queue, message_name) && !self.throttled.iter().any(|name| name == message_name)
    }

    /// The time when the member started.
    #[must_use]
    pub const fn started_on(&self) -> Timestamp {
        Timestamp::from_millis(self.started_on_ms)
    }
}

/// Membership keeps the list of the members that are alive.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Reports that `member` is alive, and returns the members that are, in
    /// order of their ids.
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn beat(&self, member: &Member) -> store::Result<Vec<Member>>;

    /// Reports that a member is gone, so that other members need not wait for
    /// [`MEMBER_TIMEOUT`].
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn leave(&self, id: MemberId) -> store::Result<()>;

    /// Returns the members that are alive, in order of their ids.
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn members(&self) -> store::Result<Vec<Member>>;
}
