//! Drumline's core: what an operation is, which transitions it may take, when
//! it is retried, and how it is written down.
//!
//! Everything here is a plain function of its arguments.
//!
//! Invariants, checked in review and by the dependency list:
//! - nothing here awaits;
//! - nothing here reads a clock: `now` is an argument;
//! - nothing here makes an id or a random number: they are arguments too.
//!
//! Start reading at [`transition::apply`]; [`operation`] has the nouns.
#![cfg_attr(
    not(test),
    warn(
        clippy::wildcard_enum_match_arm,
        clippy::expect_used,
        clippy::indexing_slicing
    )
)]

pub mod attempt;
pub mod backoff;
pub mod bulk_action;
pub mod codec;
pub mod digest;
pub mod error_code;
pub mod extensions;
pub mod failure;
pub mod flow;
pub mod history;
pub mod id;
pub mod index;
mod keyed;
pub mod kind;
pub mod limits;
pub mod message;
mod modified;
pub mod mute;
pub mod operation;
pub mod output;
pub mod page;
pub mod pause;
pub mod retry;
pub mod status;
pub mod text;
pub mod time;
pub mod token;
pub mod transition;
pub mod usage;
pub mod version;

pub use attempt::Attempt;
pub use backoff::Backoff;
pub use bulk_action::{
    ActionId, Ahead, BulkAction, BulkChange, BulkCounts, BulkKind, BulkPage, BulkRefusal, Executor,
    Stage as ActionStage,
};
pub use error_code::ErrorCode;
pub use extensions::Extensions;
pub use failure::FailureKey;
pub use flow::FlowKey;
pub use history::{Author, History};
pub use id::{CommitId, Fence, OperationId, Partition, PartitionCount};
pub use index::{IndexKey, IndexKind, Shelf};
pub use kind::OperationType;
pub use mute::Mute;
pub use operation::{
    Body, Creator, Fault, Header, Operation, Progress, Recurrence, Report, Rules, StopRequest,
    TokenPolicy,
};
pub use output::{Output, OutputParts, Outputs};
pub use pause::{Pause, PauseKind, PauseScope, ScopeKey};
pub use retry::{Exhausted, Jitter, RetryPolicy};
pub use status::{State, Status};
pub use time::Timestamp;
pub use token::{ChainKey, DependencyToken, Organization, QueueName};
pub use transition::{Action, At, Effects, EndClass, Event, EventKind, Refused, Transition, apply};
pub use usage::UsageKey;
pub use version::{FormatVersion, Formats};
