//! Who is alive: workers and managers say so, and read who else does.
//!
//! Nothing unsafe hangs on it. Two members that disagree for a moment cost a
//! duplicate delivery or a duplicate look, which the claim and the commit sort
//! out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::{QueueName, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::broker::Bypassed;
use crate::store;

/// How often members beat.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long a member that does not beat is still listed. Ten missed beats: a
/// long garbage collection or a slow disk of the store is not a death.
pub const SILENCE: Duration = Duration::from_secs(10);

/// One life of one process. A restarted worker is another member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId(pub Uuid);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs handlers.
    Worker,
    /// Takes requests and looks after partitions.
    Manager,
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Which life of which process.
    pub id: MemberId,
    /// What it is.
    pub role: Role,
    /// A name for people: host and process id, or what it was told.
    pub host: String,
    /// The queues that a worker serves.
    pub queues: Vec<QueueName>,
    /// The message names that a worker has handlers for; `*` for all.
    pub messages: Vec<String>,
    /// How many operations it runs at once.
    pub concurrency: u32,
    /// How many it runs now.
    pub running: u32,
    /// It takes nothing new.
    pub draining: bool,
    /// When it started.
    pub started_on_ms: i64,
    /// The queues of the broker that it cannot use, at most
    /// [`BYPASSED_MAX`]. Members of earlier releases do not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypassed: Vec<Bypassed>,
}

/// The most by-passed queues that a member reports. Every member reads every
/// beat, so a beat must stay small; each process finds out the rest by itself.
pub const BYPASSED_MAX: usize = 32;

impl Member {
    /// Whether it would take operations with this message name from this queue.
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

    /// When it started.
    #[must_use]
    pub const fn started_on(&self) -> Timestamp {
        Timestamp::from_millis(self.started_on_ms)
    }
}

/// Membership: see the module's text.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Says that `member` is alive, and answers who is, in order of their ids.
    ///
    /// # Errors
    /// When the store behind it is away.
    async fn beat(&self, member: &Member) -> store::Result<Vec<Member>>;

    /// Says that a member is gone, so that others need not wait for silence.
    ///
    /// # Errors
    /// When the store behind it is away.
    async fn leave(&self, id: MemberId) -> store::Result<()>;

    /// Who is alive, in order of their ids.
    ///
    /// # Errors
    /// When the store behind it is away.
    async fn members(&self) -> store::Result<Vec<Member>>;
}
