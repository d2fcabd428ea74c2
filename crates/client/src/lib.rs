//! A client of Drumline, the asynchronous operation service.
//!
//! One [`Client`] talks to one queue manager (or to a load balancer before
//! several) over HTTP and JSON. It is cheap to clone and may be used from many
//! tasks at once.
//!
//! ```no_run
//! use drumline_client::{Client, NewOperation};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080").build()?;
//! let import = NewOperation::new("ImportSolution")
//!     .token("crm") // strictly after everything else with this token
//!     .data(&json!({"file": "crm_1_0.zip"}))?;
//! let created = client.create(&import).await?;
//! let ended = client.wait(&created.operation.id, None).await?;
//! println!("{}: {:?}", ended.status, ended.result);
//! # Ok(())
//! # }
//! ```
//!
//! | to | call |
//! |---|---|
//! | create one, or thousands | [`Client::create`], [`Client::create_all`] |
//! | look | [`Client::get`], [`Client::get_explained`], [`Client::history`], [`Client::attempts`], [`Client::list`], [`Client::list_all`] |
//! | wait for one, or hear of all that end | [`Client::wait`], [`Client::events`] |
//! | control one | [`Client::cancel`], [`Client::pause`], [`Client::resume`], [`Client::postpone`], [`Client::update`], [`Client::delete`] |
//! | control all that match | [`Client::bulk`] |
//! | stop a queue, a message name or a token | [`Client::pauses`], [`Client::set_pause`], [`Client::lift_pause`] |
//! | stop everything, in all organizations | [`Client::freeze`], [`Client::thaw`] |
//! | send organization requests, or thousands | [`Client::execute`], [`Client::execute_all`] |
//! | see the live processes | [`Client::workers`], [`Client::queues`], [`Client::ready`] |
//! | see what the API key may do | [`Client::whoami`] |
//! | see what the organization has and may have | [`Client::quotas`] |
//!
//! # What is repeated
//!
//! Requests that may safely be sent twice are repeated for a while
//! ([`Builder::patience`], 30 s unless said otherwise) when the service is
//! unavailable, or says that it is busy. They are never repeated earlier than
//! its `Retry-After` asks. Safe are all reads, and creates, because every
//! create carries an idempotency key: yours ([`NewOperation::idempotency_key`])
//! or one that the client makes up. Anything else is repeated only if certainly
//! nothing was done: the connection could not be made, or the answer was 429.
//!
//! # What is shared
//!
//! Creates that are called for while some others are not answered yet share requests. Each
//! has its own answer, its own errors and its own repetitions, and a create that comes
//! alone is sent alone and at once. A program that creates much gets most of it by calling
//! [`Client::create`] from many tasks with one client.
//!
//! # Errors
//!
//! [`Error`] tells apart the cases that a caller would handle differently: the
//! service says no ([`Error::Refused`], with the numbers that users of the
//! Dynamics service know), or it is unavailable ([`Error::Unreachable`]).
//! [`Error::hint`] gives advice for people.
//!
//! # TLS
//!
//! An `https://` address is verified with the CAs of the system, or with those in
//! [`Builder::ca_file`]. [`Builder::client_certificate`] is for services that want a
//! certificate. Nothing turns the verification off.
//!
//! The HTTP library needs a `rustls` cryptography provider. The client installs *ring*
//! for the process when it is built and none is there; install another one before that
//! to have it used.

mod actions;
mod audit;
mod backup;
mod batch;
mod builder;
mod bulk;
mod client;
mod create;
mod error;
mod events;
mod execute;
mod fleet;
mod gathering;
mod http;
mod keys;
mod list;
mod operation;
mod pauses;
mod preview;
mod retry;
mod run_again;
mod stats;
mod update;

pub use actions::NewAction;
pub use audit::{AuditEntry, AuditFilter, AuditPage};
pub use backup::Backup;
pub use batch::{BATCH_ITEMS, Outcome};
pub use builder::Builder;
pub use bulk::{Bulk, BulkAction, BulkRefusal, BulkStep, BulkTotal};
pub use client::Client;
pub use create::Created;
pub use error::{Error, Fault, Problem, Result, Unreachable, WrongAttribute};
pub use events::{Event, EventFilter};
pub use execute::{
    AsyncRequest, BatchSettings, ItemResponse, OrganizationRequest, OrganizationResponse, Retrieve,
    RetrieveMultiple, Retrieved,
};
pub use fleet::{
    Counts, Finding, Fleet, Member, Now, NowCounts, NowFleet, NowOperation, Queue, Queues,
    QuotaUse, Quotas, Readiness, WhoAmI,
};
pub use list::{Page, Paging};
pub use operation::{Explained, Root, WaitingFor};
pub use pauses::NewPause;
pub use run_again::RunAgain;
pub use stats::{
    FailureGroup, FailureMute, Stats, StatsBreakdown, StatsCounts, StatsFilter, StatsSlot,
};

// The names of settings in [`Unreachable::tls_hint`].
pub use drumline_tls::Names as TlsNames;

// The types of operations and their attributes, so that users need not name the
// crate below.
pub use drumline_api::actions::{ActionPreview, ActionRefusal, ActionView, ActionsView};
pub use drumline_api::attempts::{AttemptView, AttemptsView};
pub use drumline_api::draft::{Filter, NewOperation, RetryPolicy, Update};
pub use drumline_api::history::{
    ActorView as HistoryActor, EntryView as HistoryEntry, HistoryView,
};
pub use drumline_api::pause::PauseView;
pub use drumline_api::preview::Preview;
pub use drumline_api::view::{ExhaustedView, OperationView, ProgressView, RetryPolicyView};
pub use drumline_protocol::{
    Action, ErrorCode, OperationType, PauseKind, State, Status, Timestamp, TokenPolicy,
};
