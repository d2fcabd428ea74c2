//! Membership in one process: the members that have beaten within the last
//! [`MEMBER_TIMEOUT`], by the backend's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::membership::{MEMBER_TIMEOUT, MemberPage, MemberPlace};
use drumline_backend::store;
use drumline_backend::{Member, MemberId, Membership, Roster};
use drumline_protocol::Timestamp;
use parking_lot::Mutex;

use crate::clock::Clock;

/// The membership of the embedded backend: the last beat of each member.
#[derive(Debug)]
pub struct EmbeddedMembership {
    clock: Arc<dyn Clock>,
    alive: Mutex<Alive>,
}

#[derive(Debug, Default)]
struct Alive {
    beats: BTreeMap<MemberId, Beat>,
    /// The number of changes of the roster.
    version: u64,
    /// The roster, unless a member has changed since.
    roster: Option<Arc<Roster>>,
}

#[derive(Debug)]
struct Beat {
    member: Member,
    /// True if it was asked to drain.
    is_asked: bool,
    /// True if its last beat was answered so.
    has_heard: bool,
    /// The change that the profile came with.
    version: u64,
    last: Timestamp,
}

impl Alive {
    fn beat(&mut self, member: &Member, now: Timestamp) {
        let before = self.beats.get(&member.id);
        let is_asked = before.is_some_and(|before| before.is_asked);
        let unchanged = before.filter(|before| before.member.profile == member.profile);
        let version = match unchanged {
            Some(before) => before.version,
            None => self.changed(),
        };
        let beat = Beat {
            member: member.clone(),
            is_asked,
            has_heard: is_asked,
            version,
            last: now,
        };
        self.beats.insert(member.id, beat);
    }

    fn remove(&mut self, id: MemberId) {
        if self.beats.remove(&id).is_some() {
            self.changed();
        }
    }

    fn remove_silent(&mut self, now: Timestamp) {
        let before = self.beats.len();
        self.beats
            .retain(|_, beat| now.since(beat.last) < MEMBER_TIMEOUT);
        if self.beats.len() != before {
            self.changed();
        }
    }

    fn changed(&mut self) -> u64 {
        self.version += 1;
        self.roster = None;
        self.version
    }

    fn roster(&mut self) -> Arc<Roster> {
        let beats = &self.beats;
        let read = || Arc::new(Roster::of_members(beats.values().map(|beat| &beat.member)));
        Arc::clone(self.roster.get_or_insert_with(read))
    }

    fn page(&self, after: MemberPlace, limit: usize) -> MemberPage {
        let later = |beat: &&Beat| beat.version > after.0;
        let mut found: Vec<&Beat> = self.beats.values().filter(later).collect();
        found.sort_unstable_by_key(|beat| beat.version);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().map(|beat| MemberPlace(beat.version));
        MemberPage {
            members: found.into_iter().map(|beat| beat.member.clone()).collect(),
            next: last.filter(|_last| has_more),
        }
    }
}

impl EmbeddedMembership {
    /// Makes a membership without members.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            alive: Mutex::default(),
        }
    }
}

#[async_trait]
impl Membership for EmbeddedMembership {
    async fn beat(&self, member: &Member) -> store::Result<Arc<Roster>> {
        let now = self.clock.now();
        let mut alive = self.alive.lock();
        alive.beat(member, now);
        alive.remove_silent(now);
        Ok(alive.roster())
    }

    async fn leave(&self, id: MemberId) -> store::Result<()> {
        self.alive.lock().remove(id);
        Ok(())
    }

    async fn ask_to_drain(&self, id: MemberId) -> store::Result<bool> {
        let now = self.clock.now();
        let mut alive = self.alive.lock();
        alive.remove_silent(now);
        let asked = alive.beats.get_mut(&id);
        Ok(asked.map(|beat| beat.is_asked = true).is_some())
    }

    fn is_asked_to_drain(&self, id: MemberId) -> bool {
        let alive = self.alive.lock();
        alive.beats.get(&id).is_some_and(|beat| beat.has_heard)
    }

    async fn roster(&self) -> store::Result<Arc<Roster>> {
        let now = self.clock.now();
        let mut alive = self.alive.lock();
        alive.remove_silent(now);
        Ok(alive.roster())
    }

    async fn members(&self, after: Option<MemberPlace>, limit: usize) -> store::Result<MemberPage> {
        let now = self.clock.now();
        let mut alive = self.alive.lock();
        alive.remove_silent(now);
        Ok(alive.page(after.unwrap_or(MemberPlace(0)), limit.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::membership::all_members;
    use drumline_backend::{Ids, Profile, Role};

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_silent_member_is_forgotten_after_the_silence_and_not_before() {
        let clock = ManualClock::new(Timestamp::from_millis(0));
        let membership = EmbeddedMembership::new(Arc::new(clock.clone()));
        let member = Member {
            id: Ids::seeded(1).member(),
            host: "host:1".to_owned(),
            running: 0,
            started_on_ms: 0,
            profile: Profile::new(Role::Worker),
        };
        membership.beat(&member).await.unwrap();
        clock.advance(MEMBER_TIMEOUT - std::time::Duration::from_millis(1));
        assert_eq!(membership.roster().await.unwrap().len(), 1);
        assert_eq!(all_members(&membership).await.unwrap(), [member]);
        clock.advance(std::time::Duration::from_millis(1));
        assert!(membership.roster().await.unwrap().is_empty());
        assert_eq!(all_members(&membership).await.unwrap(), []);
    }
}
