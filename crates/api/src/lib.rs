//! What everything that speaks of operations shares: HTTP, AMQP, the client and
//! the command line.
//!
//! Everything here is a plain function of its arguments, as in the core below:
//! nothing awaits, nothing reads a clock, nothing makes an id.
//!
//! | | |
//! |---|---|
//! | [`view`] | the operation as it is shown |
//! | [`CreateOperation`], [`UpdateOperation`] | requests about one operation, read and checked |
//! | [`execute`] | organization requests, read and checked |
//! | [`wire`] | requests as bincode, for producers over AMQP |
//! | [`Error`] | every attribute of a request that breaks a rule |
//!
//! Readers take JSON and return values that cannot be wrong, or a list of
//! everything that is wrong. One client mistake should cost one round, so every
//! attribute is checked before anything is refused, and each refusal names its
//! attribute.

mod create;
mod deployment;
mod error;
pub mod execute;
mod fields;
mod filter;
pub mod payload;
mod recurrence;
mod retry;
mod update;
pub mod view;
pub mod wire;

pub use create::{CreateOperation, check_idempotency_key};
pub use deployment::{Deployment, Grammar};
pub use error::{Error, FieldError, Invalid, Result};
pub use execute::OrganizationRequest;
pub use filter::ListFilter;
pub use recurrence::RuleChange;
pub use update::{Control, UpdateOperation};

/// Attributes that exist and that the service sets: a client that gives or
/// changes one misunderstands something, which deserves another answer than a
/// typing error.
const READ_ONLY: &[&str] = &[
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
const CREATE_ONLY: &[&str] = &[
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
const RECURRENCE: &[&str] = &["recurrencePattern", "recurrenceStartTime"];
