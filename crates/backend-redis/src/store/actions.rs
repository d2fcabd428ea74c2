//! Actions on many operations: the records in one hash, and their ids in two sorted
//! sets, of all of them and of those that have not ended. The second has their revisions.
//!
//! A member of the sets is the id and a hash of the organization, so that a list of
//! one organization's actions reads no record of the others.

use async_trait::async_trait;
use drumline_backend::store::{ActionStore, ActionWrite, OpenAction, Result};
use drumline_protocol::{
    ActionId, BulkAction, Organization, PauseScope, ScopeKey, Timestamp, codec, limits,
};
use uuid::Uuid;

use super::RedisStore;
use crate::reply::{self, Packed, Parts};
use crate::scripts::SCRIPTS;

/// Records in one answer: a megabyte at most, of actions of which each has announced a page.
const AT_ONCE: usize = 32;
/// Actions that a removal looks at.
const LOOKED_AT: usize = 64;
/// Bytes of a time at the start of an id.
const TIME_BYTES: usize = 6;

#[async_trait]
impl ActionStore for RedisStore {
    async fn put_action(&self, action: &BulkAction) -> Result<ActionWrite> {
        let mut value = action.revision.to_be_bytes().to_vec();
        value.extend(codec::encode(action)?);
        let mut command = SCRIPTS.put_action.call(&self.keys().actions());
        command
            .arg(member(action.id, &action.organization))
            .arg(action.revision.saturating_sub(1).to_be_bytes().as_slice())
            .arg(value)
            .arg(match action.is_open() {
                true => action.revision.to_string(),
                false => "-".to_owned(),
            })
            .arg(limits::ACTIONS);
        match reply::number(self.link().run_one("actions", command).await?)? {
            0 => Ok(ActionWrite::Changed),
            1 => Ok(ActionWrite::Written),
            2 => Ok(ActionWrite::Full),
            _ => Err(reply::unexpected()),
        }
    }

    async fn action(&self, id: ActionId) -> Result<Option<BulkAction>> {
        let [records, _, _] = self.keys().actions();
        let mut command = redis::cmd("HGET");
        command.arg(records).arg(id.as_bytes().as_slice());
        let found = self.link().run_one("actions", command).await?;
        reply::maybe_bytes(found)?
            .map(|value| read(&value))
            .transpose()
    }

    async fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Result<Vec<BulkAction>> {
        let [_, order, _] = self.keys().actions();
        let below = before.map_or_else(
            || b"+".to_vec(),
            |before| [b"(", before.as_bytes().as_slice()].concat(),
        );
        let mut command = redis::cmd("ZREVRANGEBYLEX");
        command.arg(order).arg(below).arg("-");
        let found = reply::members(self.link().run_one("actions", command).await?)?;
        let ours = hash(organization);
        let mut ids = Vec::new();
        for member in found {
            let mut member = Packed::new(&member);
            let id = *member.take::<16>()?;
            if member.rest() == ours.as_bytes().as_slice() {
                ids.push(id);
            }
        }
        let mut actions = Vec::new();
        for some in ids.chunks(AT_ONCE) {
            if actions.len() >= limit {
                break;
            }
            actions.extend(self.readable_actions(some).await?);
        }
        actions.truncate(limit);
        Ok(actions)
    }

    async fn open_actions(&self, limit: usize) -> Result<Vec<OpenAction>> {
        let [_, _, open] = self.keys().actions();
        let mut command = redis::cmd("ZRANGE");
        command.arg(open).arg(0).arg(-1).arg("WITHSCORES");
        let mut parts = Parts::of(self.link().run_one("actions", command).await?)?;
        let mut found = Vec::new();
        while parts.len() > 0 {
            let (member, revision) = (parts.bytes()?, reply::text(parts.value()?)?);
            let mut member = Packed::new(&member);
            let id = ActionId::from_bytes(*member.take()?).ok_or_else(reply::unexpected)?;
            found.push(OpenAction {
                id,
                organization: ScopeKey::from_bytes(*member.take()?),
                revision: revision.parse().map_err(|_error| reply::unexpected())?,
            });
        }
        // The set is ordered by revision.
        found.sort_by_key(|action| action.id);
        found.truncate(limit);
        Ok(found)
    }

    async fn remove_actions(&self, before: Timestamp) -> Result<usize> {
        let before = before.as_millis().max(0).to_be_bytes();
        let (_, before) = before.split_at(before.len() - TIME_BYTES);
        let mut command = SCRIPTS.remove_actions.call(&self.keys().actions());
        command.arg(before).arg(LOOKED_AT);
        let removed = reply::number(self.link().run_one("actions", command).await?)?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }
}

impl RedisStore {
    /// Actions, without removed ones and those that cannot be decoded: a later release
    /// has written them, and executes them.
    async fn readable_actions(&self, ids: &[[u8; 16]]) -> Result<Vec<BulkAction>> {
        let mut actions = Vec::new();
        for some in ids.chunks(AT_ONCE) {
            let [records, _, _] = self.keys().actions();
            let mut command = redis::cmd("HMGET");
            command.arg(records);
            for id in some {
                command.arg(id.as_slice());
            }
            let mut parts = Parts::of(self.link().run_one("actions", command).await?)?;
            for id in some {
                let Some(value) = parts.maybe_bytes()? else {
                    continue;
                };
                let name = format_args!("the action {}", Uuid::from_bytes(*id));
                actions.extend(self.decoded(name, read(&value))?);
            }
        }
        Ok(actions)
    }
}

/// The action in a stored value.
fn read(value: &[u8]) -> Result<BulkAction> {
    let mut value = Packed::new(value);
    value.number()?;
    Ok(codec::decode(value.rest())?)
}

/// The member of an action in the sorted sets.
fn member(id: ActionId, organization: &Organization) -> Vec<u8> {
    let hash = hash(organization);
    [id.as_bytes().as_slice(), hash.as_bytes().as_slice()].concat()
}

/// A hash of the organization, which names it in pauses, too.
fn hash(organization: &Organization) -> ScopeKey {
    PauseScope::organization(organization.clone()).key()
}
