//! Membership: a hash of the members' reports, and their last beats.
//!
//! The server's clock judges silence, in the script. Safety does not depend on
//! membership, so a step of that clock, forward or back, may show all members
//! as gone until their next beat.

use async_trait::async_trait;
use drumline_backend::membership::MEMBER_TIMEOUT;
use drumline_backend::store::Result;
use drumline_backend::{Member, MemberId, Membership};

use crate::keys::Keys;
use crate::link::Link;
use crate::reply;
use crate::scripts::SCRIPTS;
use crate::store::RedisStore;

/// Membership on the connection of a store.
#[derive(Debug)]
pub struct RedisMembership {
    link: Link,
    members: String,
    beats: String,
}

impl RedisMembership {
    /// Makes the membership of a store's namespace.
    #[must_use]
    pub fn new(store: &RedisStore) -> Self {
        Self::of(store.link().clone(), store.keys())
    }

    fn of(link: Link, keys: &Keys) -> Self {
        Self {
            link,
            members: keys.members(),
            beats: keys.beats(),
        }
    }

    /// Beats for a member, or for none; returns the live members.
    async fn call(&self, member: Option<&Member>) -> Result<Vec<Member>> {
        let mut command = SCRIPTS.beat.call(&[&self.members, &self.beats]);
        command.arg(u64::try_from(MEMBER_TIMEOUT.as_millis()).unwrap_or(u64::MAX));
        match member {
            Some(member) => command
                .arg(member.id.0.as_bytes().as_slice())
                .arg(serde_json::to_vec(member).unwrap_or_default()),
            None => command.arg("").arg(""),
        };
        let answer = self.link.run_one("members", command).await?;
        let mut members = Vec::new();
        for value in reply::array(answer)? {
            let Some(said) = reply::maybe_bytes(value)? else {
                continue;
            };
            match serde_json::from_slice(&said) {
                Ok(member) => members.push(member),
                // The report may be of another release; we can do without it.
                Err(error) => tracing::warn!(%error, "a member cannot be decoded"),
            }
        }
        members.sort_by_key(|member: &Member| member.id);
        Ok(members)
    }
}

#[async_trait]
impl Membership for RedisMembership {
    async fn beat(&self, member: &Member) -> Result<Vec<Member>> {
        self.call(Some(member)).await
    }

    async fn leave(&self, id: MemberId) -> Result<()> {
        let id = id.0.as_bytes().as_slice();
        let mut commands = redis::pipe();
        commands.cmd("ZREM").arg(&self.beats).arg(id);
        commands.cmd("HDEL").arg(&self.members).arg(id);
        self.link.run("leave", &commands).await?;
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>> {
        self.call(None).await
    }
}
