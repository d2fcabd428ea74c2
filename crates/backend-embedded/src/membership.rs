//! Membership in one process: the members that have beaten within the last
//! [`MEMBER_TIMEOUT`], by the backend's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use drumline_backend::membership::{MEMBER_TIMEOUT, Member, MemberId, Membership};
use drumline_backend::store;
use drumline_protocol::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Clock;

/// The membership of the embedded backend: the last beat of each member.
#[derive(Debug)]
pub struct EmbeddedMembership {
    clock: Arc<dyn Clock>,
    alive: Mutex<BTreeMap<MemberId, Alive>>,
}

#[derive(Debug)]
struct Alive {
    member: Member,
    last_beat: Timestamp,
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

    fn alive(&self) -> MutexGuard<'_, BTreeMap<MemberId, Alive>> {
        self.alive.lock()
    }

    /// Removes the silent members; returns the rest in order of their ids.
    fn listed(&self, alive: &mut BTreeMap<MemberId, Alive>) -> Vec<Member> {
        let now = self.clock.now();
        alive.retain(|_, one| now.since(one.last_beat) < MEMBER_TIMEOUT);
        alive.values().map(|one| one.member.clone()).collect()
    }
}

#[async_trait]
impl Membership for EmbeddedMembership {
    async fn beat(&self, member: &Member) -> store::Result<Vec<Member>> {
        let mut alive = self.alive();
        let one = Alive {
            member: member.clone(),
            last_beat: self.clock.now(),
        };
        alive.insert(member.id, one);
        Ok(self.listed(&mut alive))
    }

    async fn leave(&self, id: MemberId) -> store::Result<()> {
        self.alive().remove(&id);
        Ok(())
    }

    async fn members(&self) -> store::Result<Vec<Member>> {
        Ok(self.listed(&mut self.alive()))
    }
}

#[cfg(test)]
mod tests {
    use drumline_backend::{Build, Ids, Role};

    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_silent_member_is_forgotten_after_the_silence_and_not_before() {
        let clock = ManualClock::new(Timestamp::from_millis(0));
        let membership = EmbeddedMembership::new(Arc::new(clock.clone()));
        let member = Member {
            id: Ids::seeded(1).member(),
            role: Role::Worker,
            host: "host:1".to_owned(),
            queues: Vec::new(),
            messages: Vec::new(),
            concurrency: 1,
            running: 0,
            draining: false,
            started_on_ms: 0,
            bypassed: Vec::new(),
            throttled: Vec::new(),
            build: Build::current(),
            sends_webhooks: None,
        };
        membership.beat(&member).await.unwrap();
        clock.advance(MEMBER_TIMEOUT - std::time::Duration::from_millis(1));
        assert_eq!(membership.members().await.unwrap(), [member]);
        clock.advance(std::time::Duration::from_millis(1));
        assert_eq!(membership.members().await.unwrap(), []);
    }
}
