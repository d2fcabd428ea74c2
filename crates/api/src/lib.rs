//! The parts that HTTP, AMQP, the client and the command line share: requests
//! about operations, and operations as they are shown.
//!
//! Everything here is a plain function of its arguments, as in the core below:
//! nothing awaits, nothing reads a clock, nothing makes an id.
//!
//! | | |
//! |---|---|
//! | [`view`] | the operation as it is shown |
//! | [`history`], [`attempts`] | its history and its attempts as they are shown |
//! | [`CreateOperation`], [`UpdateOperation`], [`RunAgain`] | requests about one operation, read and checked |
//! | [`creates_from_json`] | several creates in one request, read and checked |
//! | [`pause`] | pauses: the request that sets one, and a pause as it is shown |
//! | [`execute`] | organization requests, read and checked |
//! | [`wire`] | requests as bincode, for producers over AMQP |
//! | [`Error`] | every attribute of a request that breaks a rule |
//!
//! Readers take JSON and return values that cannot be wrong, or a list of
//! everything that is wrong. One client mistake should cost one round, so every
//! attribute is checked before anything is refused, and each refusal names its
//! attribute.

pub mod actions;
pub mod attempts;
mod attributes;
mod content;
mod create;
mod create_many;
mod deployment;
pub mod draft;
mod error;
pub mod execute;
mod fields;
pub mod history;
mod kinds;
pub mod mute;
pub mod pause;
pub mod payload;
pub mod preview;
mod recurrence;
mod retry;
mod run_again;
pub mod schema;
mod table;
mod update;
pub mod view;
pub mod wire;

pub use attributes::{CreateOperation, ListFilter, Origin};
pub use create::check_idempotency_key;
pub use create_many::creates_from_json;
pub use deployment::{Deployment, Grammar};
pub use error::{Error, FieldError, Invalid, Result};
pub use execute::OrganizationRequest;
pub use recurrence::RuleChange;
pub use run_again::RunAgain;
pub use update::{Control, UpdateOperation};

/// Returns true if operations have an attribute of this name.
fn is_attribute(name: &str) -> bool {
    // The name of `id` in the Dynamics service.
    name == "asyncOperationId" || view::OperationView::NAMES.contains(&name)
}

/// Returns true if operations have an attribute of this name, and no request
/// gives it: a client that does so misunderstands something, which deserves
/// another answer than a typing error.
fn is_set_by_service(name: &str) -> bool {
    is_attribute(name) && !CreateOperation::NAMES.contains(&name)
}
