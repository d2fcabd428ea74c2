//! Membership: workers and managers report that they are alive, and read which
//! other members are.
//!
//! ```text
//! beat ─→ membership ─→ roster: which ids have which profile, kept up to date
//!                   └─→ pages of reports, for people
//! ```
//!
//! A beat costs the same whatever the number of members is, while no profile
//! changes: the roster is the same then, and nothing is read. So a report has
//! two halves. The [`Profile`] is what other members act on, and changes rarely.
//! The rest is for people, and the number of running operations, which changes
//! all the time, is part of it.
//!
//! Safety does not depend on membership. Two members that disagree for a moment
//! cost a duplicate delivery or a duplicate look, which the claim and the
//! commit resolve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drumline_protocol::{Formats, QueueName, Timestamp, version};
use serde::{Deserialize, Serialize};

use crate::broker::Bypassed;
pub use crate::member_id::MemberId;
pub use crate::roster::{Group, Roster};
use crate::store;

/// The interval between two beats of a member of a small fleet.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest interval between two beats: a member that loses two beats in a row
/// is still listed.
const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_secs(3);
/// The beats of all members together in one second, at most, until the interval is
/// at its longest. They cost Redis some 2 % of a core.
const BEATS_PER_SECOND: u32 = 330;
/// The time for which a member that does not beat is still listed. Ten missed
/// beats: a long garbage collection or a slow disk of the store is not a death.
pub const MEMBER_TIMEOUT: Duration = Duration::from_secs(10);

/// The members in one page of [`Membership::members`] when all are read.
const PAGE: usize = 500;

/// The interval between two beats of a member of a fleet of this size. A larger
/// fleet beats more slowly, so that it does not keep the store busy.
#[must_use]
pub fn heartbeat_interval(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    let interval = Duration::from_secs(1).saturating_mul(members) / BEATS_PER_SECOND;
    interval.clamp(HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL_MAX)
}

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs handlers.
    Worker,
    /// Takes requests and looks after partitions.
    Manager,
}

/// The part of a member's report that other members act on. Workers that were
/// started alike have equal profiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The member's role.
    pub role: Role,
    /// The queues that a worker serves.
    pub queues: Vec<QueueName>,
    /// The message names that a worker has handlers for; `*` for all.
    pub messages: Vec<String>,
    /// The number of operations that it runs at once.
    pub concurrency: u32,
    /// True if the member takes nothing new.
    pub draining: bool,
    /// The queues of the broker that the member cannot use, at most
    /// [`BYPASSED_MAX`].
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
    /// True if the member's writes are counted in [`Store::changes`]. Members of
    /// earlier releases leave this out.
    ///
    /// [`Store::changes`]: crate::store::Store::changes
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts_changes: bool,
}

/// The report of a member about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The id of this life of the process.
    pub id: MemberId,
    /// A name for people: host and process id, or the configured one.
    pub host: String,
    /// The number of operations that it runs now.
    pub running: u32,
    /// The time when the member started.
    pub started_on_ms: i64,
    /// The part that other members act on.
    pub profile: Profile,
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
/// profile, so a profile must stay small; each process detects the rest by itself.
pub const BYPASSED_MAX: usize = 32;

/// The most message names that a member reports as throttled, for the same reason.
pub const THROTTLED_MAX: usize = 64;

impl Profile {
    /// The profile of a process of this release that serves no queue.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            queues: Vec::new(),
            messages: Vec::new(),
            concurrency: 0,
            draining: false,
            bypassed: Vec::new(),
            throttled: Vec::new(),
            build: Build::current(),
            sends_webhooks: None,
            counts_changes: true,
        }
    }

    /// Returns true if the member takes operations from this queue.
    #[must_use]
    pub fn serves_queue(&self, queue: &QueueName) -> bool {
        self.role == Role::Worker && !self.draining && self.queues.contains(queue)
    }

    /// Returns true if the member would take operations with this message name
    /// from this queue.
    #[must_use]
    pub fn serves(&self, queue: &QueueName, message_name: &str) -> bool {
        self.serves_queue(queue)
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
}

impl Member {
    /// The time when the member started.
    #[must_use]
    pub const fn started_on(&self) -> Timestamp {
        Timestamp::from_millis(self.started_on_ms)
    }
}

/// A place in the pages of the live members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberPlace(pub u64);

/// A page of the live members.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberPage {
    /// The members, those with the earliest change of their profiles first.
    pub members: Vec<Member>,
    /// The place after them; `None` after the last page.
    pub next: Option<MemberPlace>,
}

/// Membership keeps the list of the members that are alive.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// Reports that `member` is alive, and returns all live members, with
    /// `member` among them. The roster is the one of the beat before if nothing
    /// has changed: callers may compare the pointers.
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn beat(&self, member: &Member) -> store::Result<Arc<Roster>>;

    /// Reports that a member is gone, so that other members need not wait for
    /// [`MEMBER_TIMEOUT`].
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn leave(&self, id: MemberId) -> store::Result<()>;

    /// Asks a live member to take nothing new. It hears of that with its next beat, and
    /// its profile says then that it drains. Returns false if no live member has this
    /// id. May be repeated.
    ///
    /// # Errors
    /// When the store behind it is unavailable: the member may have been asked.
    async fn ask_to_drain(&self, id: MemberId) -> store::Result<bool>;

    /// Returns true if the answer to the last beat of this member, through this
    /// membership, said that it was asked to drain.
    fn is_asked_to_drain(&self, id: MemberId) -> bool;

    /// Returns all live members, for a caller that need not be one. A member
    /// that has died is listed until another member has noticed.
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn roster(&self) -> store::Result<Arc<Roster>>;

    /// Returns the reports of the live members, at most `limit` of them. The page
    /// may be empty and not be the last. A member that is alive all the time is on
    /// one of the pages; one whose profile changes meanwhile may be on two.
    ///
    /// # Errors
    /// When the store behind it is unavailable.
    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> store::Result<MemberPage>;
}

/// Reads the reports of all live members, in order of their ids, page by page.
/// That takes as long as there are members: it is for people, not for a task
/// that repeats.
///
/// # Errors
/// When the store behind it is unavailable.
pub async fn all_members(membership: &dyn Membership) -> store::Result<Vec<Member>> {
    let mut found = BTreeMap::new();
    let mut place = None;
    loop {
        let page = membership.members(place, PAGE).await?;
        // The later report of a member is the newer one.
        found.extend(page.members.into_iter().map(|member| (member.id, member)));
        place = page.next;
        if place.is_none() {
            return Ok(found.into_values().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_fleet_beats_more_slowly_and_never_too_slowly() {
        let second = Duration::from_secs(1);
        assert_eq!(heartbeat_interval(0), second);
        assert_eq!(heartbeat_interval(330), second);
        assert_eq!(heartbeat_interval(660), 2 * second);
        assert_eq!(heartbeat_interval(usize::MAX), 3 * second);
        assert!(heartbeat_interval(usize::MAX) * 3 < MEMBER_TIMEOUT);
    }

    #[test]
    fn a_worker_serves_its_handlers_in_its_queues() {
        let queue = QueueName::default();
        let other: QueueName = "other".parse().unwrap();
        let worker = |messages: &[&str]| Profile {
            queues: vec![queue.clone()],
            messages: messages.iter().map(|&name| name.to_owned()).collect(),
            throttled: vec!["B".to_owned()],
            ..Profile::new(Role::Worker)
        };
        let some = worker(&["A", "B"]);
        assert!(some.serves_queue(&queue) && !some.serves_queue(&other));
        assert!(some.serves(&queue, "A") && some.takes(&queue, "A"));
        assert!(some.serves(&queue, "B") && !some.takes(&queue, "B"));
        assert!(!some.serves(&queue, "C") && !some.takes(&queue, "C"));
        assert!(!some.serves(&other, "A") && !some.takes(&other, "A"));
        let all = worker(&["*"]);
        assert!(all.takes(&queue, "C") && !all.takes(&other, "C"));
        assert!(!all.takes(&queue, "B"), "it is throttled");

        let draining = Profile {
            draining: true,
            ..worker(&["*"])
        };
        let manager = Profile {
            role: Role::Manager,
            ..worker(&["*"])
        };
        for profile in [draining, manager] {
            assert!(!profile.serves_queue(&queue), "{profile:?}");
            assert!(!profile.serves(&queue, "A"), "{profile:?}");
            assert!(!profile.takes(&queue, "A"), "{profile:?}");
        }
    }

    #[test]
    fn a_member_announces_its_release_and_its_formats() {
        let build = Profile::new(Role::Manager).build;
        assert_eq!(build.formats, Some(version::CURRENT));
        assert_eq!(build.release, env!("CARGO_PKG_VERSION"));
    }

    fn member(number: u128, running: u32) -> Member {
        Member {
            id: MemberId(uuid::Uuid::from_u128(number)),
            host: String::new(),
            running,
            started_on_ms: 0,
            profile: Profile::new(Role::Worker),
        }
    }

    /// Three pages, one of them empty, and a member on two of them.
    struct Pages;

    #[async_trait]
    impl Membership for Pages {
        async fn beat(&self, _: &Member) -> store::Result<Arc<Roster>> {
            Ok(Arc::default())
        }

        async fn leave(&self, _: MemberId) -> store::Result<()> {
            Ok(())
        }

        async fn ask_to_drain(&self, _: MemberId) -> store::Result<bool> {
            Ok(false)
        }

        fn is_asked_to_drain(&self, _: MemberId) -> bool {
            false
        }

        async fn roster(&self) -> store::Result<Arc<Roster>> {
            Ok(Arc::default())
        }

        async fn members(&self, after: Option<MemberPlace>, _: usize) -> store::Result<MemberPage> {
            let (members, next) = match after.map_or(0, |place| place.0) {
                0 => (vec![member(2, 1), member(3, 1)], Some(MemberPlace(1))),
                1 => (Vec::new(), Some(MemberPlace(2))),
                _ => (vec![member(1, 1), member(2, 5)], None),
            };
            Ok(MemberPage { members, next })
        }
    }

    #[tokio::test]
    async fn all_members_are_read_from_all_pages_and_each_is_told_once() {
        let found = all_members(&Pages).await.unwrap();
        assert_eq!(found, [member(1, 1), member(2, 5), member(3, 1)]);
    }
}
