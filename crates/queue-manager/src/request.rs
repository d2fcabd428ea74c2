//! The form of a request: JSON in, values that cannot be wrong out, or a list
//! of everything that is wrong with it.
//!
//! One client mistake should cost one round, so every attribute is checked
//! before anything is refused, and each refusal names its attribute.
//!
//! `Attributes` walks through an object; [`CreateRequest`] and [`Changes`]
//! say which attributes there are.

mod attributes;
mod changes;
mod create;
mod execute;
mod payload;
mod recurrence;
mod retry;

pub use changes::{Act, Changes};
pub use create::CreateRequest;
pub use execute::OrganizationRequest;
pub use recurrence::{NewRule, Recurring};

pub(crate) use execute::{
    Ask, Batch, Item, Look, Name, Search, Settings, Step, Transaction, Update, Which, Wish,
};
pub(crate) use recurrence::next_time;

/// Attributes that exist and that the service sets: a client that gives or
/// changes one misunderstands something, which deserves another answer than a
/// typing error.
pub(crate) const READ_ONLY: &[&str] = &[
    "id",
    "asyncOperationId",
    "stateCode",
    "statusCode",
    "state",
    "status",
    "operationTypeName",
    "depth",
    "ownerId",
    "createdBy",
    "modifiedBy",
    "organization",
    "hostId",
    "friendlyMessage",
    "message",
    "errorCode",
    "retryCount",
    "sequence",
    "createdOn",
    "modifiedOn",
    "startedOn",
    "completedOn",
    "executionTimeSpan",
    "progress",
    "result",
    "startCount",
    "lostCount",
    "attempt",
    "version",
    "legalActions",
    "holdsToken",
    "nextOccurrences",
];

/// Attributes that are given at creation or never.
pub(crate) const CREATE_ONLY: &[&str] = &[
    "name",
    "operationType",
    "messageName",
    "dependencyToken",
    "data",
    "correlationId",
    "requestId",
    "parentId",
    "primaryEntityType",
    "regardingObjectId",
    "retainJobHistory",
    "retryPolicy",
    "queue",
    "atMostOnce",
    "webhookUrl",
    "tokenPolicy",
];

/// Attributes of operations that recur.
pub(crate) const RECURRENCE: &[&str] = &["recurrencePattern", "recurrenceStartTime"];

/// The longest idempotency key, in bytes. A UUID has 36.
const KEY_BYTES: usize = 255;

/// The rule that an idempotency key breaks, if any, as a clause about it.
pub(crate) fn objection_to_key(key: &str) -> Option<String> {
    let fits = (1..=KEY_BYTES).contains(&key.len());
    (!fits).then(|| format!("must have 1 to {KEY_BYTES} bytes"))
}
