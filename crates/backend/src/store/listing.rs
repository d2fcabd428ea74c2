//! Listings: the selection, its pages, and the counts.

use drumline_protocol::{
    ChainKey, Operation, OperationId, OperationType, Organization, State, Status, Timestamp,
};

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
    pub correlation_id: Option<uuid::Uuid>,
    /// True: the operation holds its chain.
    pub holding: Option<bool>,
    /// Of this tenant.
    pub organization: Option<Organization>,
}

impl Filter {
    /// Returns true if an operation is selected.
    #[must_use]
    pub fn selects(&self, operation: &Operation) -> bool {
        fn holds<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == found)
        }
        let Operation { header, body, .. } = operation;
        holds(self.name.as_ref(), &body.name)
            && holds(self.state.as_ref(), &header.status.state())
            && holds(self.status.as_ref(), &header.status)
            && holds(self.message_name.as_ref(), &body.message_name)
            && holds(self.operation_type.as_ref(), &header.rules.operation_type)
            && self
                .chain
                .is_none_or(|chain| header.rules.chain == Some(chain))
            && self.created_after.is_none_or(|time| body.created_on > time)
            && self
                .created_before
                .is_none_or(|time| body.created_on < time)
            && self
                .completed_before
                .is_none_or(|time| header.completed_on.is_some_and(|end| end < time))
            && holds(self.correlation_id.as_ref(), &body.correlation_id)
            && holds(self.holding.as_ref(), &header.holding)
            && holds(self.organization.as_ref(), &body.organization)
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
        let by_status = self.status.map(Status::state);
        State::ALL
            .into_iter()
            .filter(|state| self.state.is_none_or(|wanted| wanted == *state))
            .filter(|state| by_status.is_none_or(|wanted| wanted == *state))
            .filter(|state| self.holding != Some(true) || *state == State::Completed)
            .filter(|state| self.completed_before.is_none() || *state == State::Completed)
            .collect()
    }
}

/// One page of a listing, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The operations.
    pub operations: Vec<Operation>,
    /// The start of the next page (exclusive): everything listed further on is
    /// older. `None`: that was all. A page may be short, even empty, and still
    /// have a next one, because one call looks at a bounded number of records.
    pub next: Option<OperationId>,
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
