//! The history of an operation, as the document describes it.

use serde::Serialize;
use utoipa::ToSchema;

/// The history of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct History {
    /// The first and the last entries, oldest first. Where `number` jumps, entries
    /// were dropped.
    entries: Vec<HistoryEntry>,
    /// The number of entries that were dropped.
    omitted: u64,
}

/// One change of an operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryEntry {
    /// The place of the change among all changes of the operation.
    #[schema(minimum = 1)]
    number: u64,
    /// The time of the change.
    #[schema(format = DateTime)]
    at: String,
    /// The event, as in the table of transitions: `create`, `claim`, `succeed`,
    /// `fail`, `retry`, `suspend`, `stopped`, `release`, `leaseExpired`, `pause`,
    /// `resume`, `postpone`, `cancel`, `discard`, `due`, `occur`, `reschedule`,
    /// `unhandled`, `throttle`. Later releases may add others.
    #[schema(example = "claim")]
    event: String,
    /// The state after the change.
    #[schema(example = "Locked")]
    state: String,
    /// The status after the change.
    #[schema(example = "InProgress")]
    status: String,
    /// The attempt that runs, or that ran last; 0 before the first.
    attempt: u32,
    /// The author of the change.
    actor: HistoryActor,
    /// The time until which the operation is to wait, if it waits for a time.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// The code of the fault, if there was one.
    error_code: Option<String>,
    /// The reason for people, cut to 120 characters.
    reason: Option<String>,
}

/// The author of a change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HistoryActor {
    /// `caller`, `worker`, `handler`, `manager` or `schedule`.
    #[schema(example = "worker")]
    kind: String,
    /// The name of the caller, the host id of the worker, the id of the operation
    /// whose handler created this one, the maintenance task of the manager, or the
    /// id of the series.
    name: String,
}
