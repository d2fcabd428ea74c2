//! Actions on many operations, by their ids.

use std::collections::BTreeMap;
use std::ops::Bound;

use drumline_backend::store::{ActionWrite, OpenAction};
use drumline_protocol::{ActionId, BulkAction, Organization, PauseScope, Timestamp, limits};

use super::State;

/// The actions that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Actions(pub(super) BTreeMap<ActionId, BulkAction>);

impl Actions {
    /// The action that leaves when there are as many as may be: the oldest that has
    /// ended.
    fn oldest_ended(&self) -> Option<ActionId> {
        let ended = self.0.values().find(|action| !action.is_open());
        ended.map(|action| action.id)
    }
}

impl State {
    /// Writes an action on the revision before it.
    pub fn put_action(&mut self, action: BulkAction) -> ActionWrite {
        let present = self.actions.0.get(&action.id);
        if present == Some(&action) {
            return ActionWrite::Written;
        }
        let revision = present.map_or(0, |present| present.revision);
        if revision.checked_add(1) != Some(action.revision) {
            return ActionWrite::Changed;
        }
        if present.is_none() && self.actions.0.len() >= limits::ACTIONS {
            let Some(oldest) = self.actions.oldest_ended() else {
                return ActionWrite::Full;
            };
            self.touched.action(oldest);
            self.actions.0.remove(&oldest);
        }
        self.touched.action(action.id);
        self.actions.0.insert(action.id, action);
        ActionWrite::Written
    }

    /// One action.
    #[must_use]
    pub fn action(&self, id: ActionId) -> Option<BulkAction> {
        self.actions.0.get(&id).cloned()
    }

    /// The actions of an organization, newest first, older than one of them.
    #[must_use]
    pub fn actions(
        &self,
        organization: &Organization,
        before: Option<ActionId>,
        limit: usize,
    ) -> Vec<BulkAction> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let older = self.actions.0.range((Bound::Unbounded, end));
        older
            .rev()
            .map(|(_, action)| action)
            .filter(|action| action.organization == *organization)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The heads of the actions that have not ended, oldest first.
    #[must_use]
    pub fn open_actions(&self, limit: usize) -> Vec<OpenAction> {
        let open = self.actions.0.values().filter(|action| action.is_open());
        let heads = open.map(|action| OpenAction {
            id: action.id,
            organization: PauseScope::organization(action.organization.clone()).key(),
            revision: action.revision,
        });
        heads.take(limit).collect()
    }

    /// Removes actions that have ended and were started before a time.
    pub fn remove_actions(&mut self, before: Timestamp) -> usize {
        let all = self.actions.0.iter();
        let goes = all.filter(|(id, action)| id.created() < before && !action.is_open());
        let goes: Vec<ActionId> = goes.map(|(id, _)| *id).collect();
        for id in &goes {
            self.touched.action(*id);
            self.actions.0.remove(id);
        }
        goes.len()
    }
}
