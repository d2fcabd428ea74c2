//! The position of an operation among those that belong together: below the
//! operation whose handler creates it.

use drumline_api::CreateOperation;
use drumline_protocol::{Operation, OperationId};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::service::{Actor, QueueManager};

/// The position of an operation among those that belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage {
    /// The number of operations above it.
    pub(super) depth: u32,
    /// The correlation id of the group, and of the operation too unless it
    /// names another.
    pub(super) correlation_id: Option<Uuid>,
}

impl Lineage {
    /// The lineage of an operation that no handler creates.
    pub(super) const TOP: Self = Self {
        depth: 0,
        correlation_id: None,
    };
}

impl QueueManager {
    /// The lineage of an operation below a parent. An operation without a parent
    /// is at the top, and so is an operation with a parent of another tenant:
    /// that parent does not exist for the caller, and not even its depth is
    /// reported.
    pub(super) fn lineage_below(
        &self,
        parent: Option<&Operation>,
        actor: &Actor,
    ) -> Result<Lineage> {
        let ours = parent.filter(|parent| parent.body.organization == actor.organization);
        let Some(parent) = ours else {
            return Ok(Lineage::TOP);
        };
        let depth = parent.body.depth.saturating_add(1);
        let limit = self.options().limits.depth;
        if depth > limit {
            return Err(Error::TooDeep { depth, limit });
        }
        Ok(Lineage {
            depth,
            correlation_id: Some(parent.body.correlation_id),
        })
    }
}

/// The operation whose handler creates the new one, if it is an operation of
/// this service.
pub(super) fn parent_of(request: &CreateOperation) -> Option<OperationId> {
    OperationId::from_bytes(request.parent_id?.into_bytes())
}
