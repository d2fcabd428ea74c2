//! Running an operation again: as a new operation, with the same attributes.

use drumline_protocol::{DependencyToken, Operation, QueueName};

use crate::attributes::CreateOperation;
use crate::error::{Error, Invalid};
use crate::fields::Fields;
use crate::kinds::{Flag, Kind as _, Payload, Queue, Token};

/// The differences between an operation and the new one that does its work again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunAgain {
    /// Other data, as JSON text.
    pub data: Option<String>,
    /// Another dependency token.
    pub dependency_token: Option<DependencyToken>,
    /// True: the new operation has no token, so it waits for no other one.
    pub leave_token: bool,
    /// Another queue.
    pub queue: Option<QueueName>,
}

impl RunAgain {
    /// Reads a request; an empty body changes nothing.
    ///
    /// # Errors
    /// [`Error::Syntax`] when the body is not JSON, and [`Error::Invalid`] with every
    /// attribute that is unknown or breaks a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = if body.is_empty() {
            Fields::empty("")
        } else {
            Fields::of_body(body)?
        };
        let request = Self {
            data: Payload::take(&mut given, "data"),
            dependency_token: Token::take(&mut given, "dependencyToken"),
            leave_token: Flag::take(&mut given, "leaveToken").unwrap_or_default(),
            queue: Queue::take(&mut given, "queue"),
        };
        given.refuse_rest(|_name| "is unknown");
        if request.leave_token && request.dependency_token.is_some() {
            given.note("leaveToken", "does not go with dependencyToken");
        }
        if given.errors.is_empty() {
            Ok(request)
        } else {
            Err(Invalid::arguments(given.errors).into())
        }
    }

    /// The create that does the work of `operation` again.
    #[must_use]
    pub fn create(self, operation: &Operation) -> CreateOperation {
        let mut create = CreateOperation::like(operation);
        if let Some(data) = self.data {
            create.data = Some(data);
        }
        if let Some(token) = self.dependency_token {
            create.dependency_token = Some(token);
            create.in_order_of_requests = false;
        }
        if self.leave_token {
            create.dependency_token = None;
        }
        if let Some(queue) = self.queue {
            create.queue = queue;
        }
        create
    }
}
