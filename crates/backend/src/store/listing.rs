//! Listings: the selection, its pages, and the counts.

use drumline_protocol::{
    Body, ChainKey, FailureKey, Header, IndexKey, IndexKind, Operation, OperationId, OperationType,
    Organization, QueueName, Shelf, State, Status, Timestamp,
};
use uuid::Uuid;

use super::summary::Summary;

/// The selection of a listing. An empty filter selects everything; several
/// conditions must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly this name.
    pub name: Option<String>,
    /// This state.
    pub state: Option<State>,
    /// This status.
    pub status: Option<Status>,
    /// Exactly this message name.
    pub message_name: Option<String>,
    /// This operation type.
    pub operation_type: Option<OperationType>,
    /// This chain (the dependency token in the caller's organization).
    pub chain: Option<ChainKey>,
    /// Created after this time.
    pub created_after: Option<Timestamp>,
    /// Created before this time.
    pub created_before: Option<Timestamp>,
    /// Completed before this time.
    pub completed_before: Option<Timestamp>,
    /// With this correlation id.
    pub correlation_id: Option<Uuid>,
    /// Created by the handler of this operation.
    pub parent_id: Option<Uuid>,
    /// About a record of this type.
    pub primary_entity_type: Option<String>,
    /// About this record.
    pub regarding_object_id: Option<Uuid>,
    /// Owned by this caller.
    pub owner: Option<String>,
    /// In this queue.
    pub queue: Option<QueueName>,
    /// True: the operation holds its chain.
    pub holding: Option<bool>,
    /// True: the operation is Suspended and no time wakes it.
    pub waits_without_time: Option<bool>,
    /// With a last error of this failure group.
    pub failure: Option<FailureKey>,
    /// Of this tenant.
    pub organization: Option<Organization>,
}

impl Filter {
    /// Returns true if an operation is selected.
    #[must_use]
    pub fn selects(&self, operation: &Operation) -> bool {
        self.selects_parts(&operation.header, &operation.body)
    }

    /// Returns true if the operation of a summary is selected.
    #[must_use]
    pub fn selects_summary(&self, summary: &Summary) -> bool {
        self.selects_parts(&summary.header, &summary.body)
    }

    /// Looks at everything but the data.
    fn selects_parts(&self, header: &Header, body: &Body) -> bool {
        self.selects_header(header)
            && holds(self.name.as_ref(), &body.name)
            && holds(self.message_name.as_ref(), &body.message_name)
            && self.created_after.is_none_or(|time| body.created_on > time)
            && self
                .created_before
                .is_none_or(|time| body.created_on < time)
            && holds(self.correlation_id.as_ref(), &body.correlation_id)
            && (self.parent_id.is_none() || self.parent_id == body.parent_id)
            && (self.primary_entity_type.is_none()
                || self.primary_entity_type == body.primary_entity_type)
            && (self.regarding_object_id.is_none()
                || self.regarding_object_id == body.regarding_object_id)
            && holds(self.owner.as_ref(), &body.owner)
            && holds(self.queue.as_ref(), &body.queue)
            && holds(self.organization.as_ref(), &body.organization)
            && self.failure.is_none_or(|wanted| {
                let kind = header.last_fault();
                kind.is_some_and(|kind| FailureKey::of(&body.message_name, kind) == wanted)
            })
    }

    /// Returns false if the header alone shows that the operation is not
    /// selected.
    #[must_use]
    pub fn selects_header(&self, header: &Header) -> bool {
        holds(self.state.as_ref(), &header.status.state())
            && holds(self.status.as_ref(), &header.status)
            && holds(self.operation_type.as_ref(), &header.rules.operation_type)
            && self
                .chain
                .is_none_or(|chain| header.rules.chain == Some(chain))
            && self
                .completed_before
                .is_none_or(|time| header.completed_on.is_some_and(|end| end < time))
            && holds(self.holding.as_ref(), &header.holding)
            && (self.failure.is_none() || header.last_fault().is_some())
            && holds(
                self.waits_without_time.as_ref(),
                &header.waits_without_time(),
            )
    }

    /// The keys of the indexes that contain every selected operation. A filter
    /// without an organization has none: each index is about one.
    #[must_use]
    pub fn index_keys(&self) -> Vec<IndexKey> {
        let mut keys: Vec<IndexKey> = self.chain.map(IndexKey::token).into_iter().collect();
        let Some(organization) = &self.organization else {
            return keys;
        };
        // Operations without a name are in no index.
        let name = self.name.as_ref().filter(|name| !name.is_empty());
        keys.extend(
            self.correlation_id
                .map(|id| IndexKey::correlation(organization, id)),
        );
        keys.extend(self.parent_id.map(|id| IndexKey::parent(organization, id)));
        keys.extend(
            self.regarding_object_id
                .map(|id| IndexKey::record(organization, id)),
        );
        keys.extend(name.map(|name| IndexKey::name(organization, name)));
        keys.extend(
            self.message_name
                .as_ref()
                .map(|name| IndexKey::message_name(organization, name)),
        );
        keys.extend(
            self.owner
                .as_ref()
                .map(|owner| IndexKey::owner(organization, owner)),
        );
        let ended_badly = |status: &Status| IndexKind::Outcome.shelf(*status).is_some();
        if self.statuses().iter().all(ended_badly) {
            keys.push(IndexKey::outcome(organization));
        }
        keys
    }

    /// The shelves of an index on which a selected operation can stand.
    #[must_use]
    pub fn shelves(&self, kind: IndexKind) -> Vec<Shelf> {
        let statuses = self.statuses().into_iter();
        let mut shelves: Vec<Shelf> = statuses.filter_map(|status| kind.shelf(status)).collect();
        shelves.dedup();
        shelves
    }

    /// Returns true if a selected operation can be Locked, and the index leaves
    /// Locked operations out: the locks show them.
    #[must_use]
    pub fn needs_locks(&self, kind: IndexKind) -> bool {
        let statuses = self.statuses();
        let mut locked = statuses
            .iter()
            .filter(|status| status.state() == State::Locked);
        kind == IndexKind::MessageName && locked.next().is_some()
    }

    /// The operation that is found without its entry in an index: the one whose
    /// own id is the correlation id.
    #[must_use]
    pub fn own_of(&self, kind: IndexKind) -> Option<OperationId> {
        let id = self
            .correlation_id
            .filter(|_| kind == IndexKind::Correlation);
        OperationId::from_bytes(id?.into_bytes())
    }

    /// The time before which every selected operation was created, if the
    /// filter implies one: an operation that ended before a time was created
    /// before it, too.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        let both = [self.created_before, self.completed_before];
        both.into_iter().flatten().min()
    }

    /// The states that a selected operation can be in.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let mut states: Vec<State> = self.statuses().into_iter().map(Status::state).collect();
        states.dedup();
        states
    }

    /// The statuses that a selected operation can have.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        Status::ALL
            .into_iter()
            .filter(|status| self.state.is_none_or(|wanted| wanted == status.state()))
            .filter(|status| self.status.is_none_or(|wanted| wanted == *status))
            .filter(|status| {
                self.holding != Some(true) || matches!(status, Status::Failed | Status::Canceled)
            })
            .filter(|status| self.completed_before.is_none() || status.state() == State::Completed)
            // The last error is forgotten with success.
            .filter(|status| self.failure.is_none() || *status != Status::Succeeded)
            .collect()
    }
}

fn holds<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

/// One page of a listing, newest first.
#[derive(Clone, Debug)]
pub struct Page<T = Operation> {
    /// The operations.
    pub operations: Vec<T>,
    /// The start of the next page (exclusive): everything listed further on is
    /// older. `None`: that was all. A page may be short, even empty, and still
    /// have a next one, because one call looks at a bounded number of records.
    pub next: Option<OperationId>,
}

// Derived, it would ask the same of the operations.
impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            operations: Vec::new(),
            next: None,
        }
    }
}

/// The number of operations in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ready.
    pub ready: u64,
    /// Suspended.
    pub suspended: u64,
    /// Locked.
    pub locked: u64,
    /// Completed and not yet removed.
    pub completed: u64,
    /// In the outbox.
    pub undispatched: u64,
}

#[cfg(test)]
mod tests;
