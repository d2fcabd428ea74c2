//! The description of a child that a handler wants.

use std::time::Duration;

use drumline_api::CreateOperation;
use drumline_protocol::{
    ChainKey, DependencyToken, OperationType, QueueName, RetryPolicy, Rules, Timestamp, TokenPolicy,
};
use serde::Serialize;
use uuid::Uuid;

use super::{CreateError, Start};

/// The largest payload of a child, in bytes of JSON: the default limit of a
/// queue manager.
pub const DATA_BYTES: usize = 1 << 20;

/// An operation that a handler wants created: see
/// [`Context::create`](crate::Context::create). An attribute that is not set
/// has the default that a producer gets, except the queue, which is the
/// parent's.
#[derive(Clone, Debug)]
#[must_use = "nothing is created before it is given to `Context::create`"]
pub struct NewChild {
    /// The attributes, but for those below.
    request: CreateOperation,
    key: Option<String>,
    queue: Option<QueueName>,
    token: Option<String>,
    /// JSON text, or the reason that the data cannot be written as JSON.
    data: Option<Result<String, String>>,
    start: Start,
}

/// A child that keeps all rules.
pub(super) struct Checked {
    pub(super) request: CreateOperation,
    pub(super) key: Option<String>,
    pub(super) start: Start,
}

impl NewChild {
    /// A child with a message name (1 to 160 characters), and defaults.
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            request: CreateOperation::new(message_name),
            key: None,
            queue: None,
            token: None,
            data: None,
            start: Start::Now,
        }
    }

    /// The child's name among its parent's children, any string. A run that
    /// creates a child with the key of an earlier run's child gets the earlier
    /// child, even if the other attributes differ. The token must then be the
    /// same in every run.
    ///
    /// Children without a key are told apart by their attributes (message name,
    /// type, queue, token, data, record) and, if these are equal, by their
    /// number. Give a key if the data differ from run to run: a time, a random
    /// number.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// A name for people, up to 256 characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.request.name = name.into();
        self
    }

    /// The operation type.
    pub const fn operation_type(mut self, operation_type: OperationType) -> Self {
        self.request.operation_type = operation_type;
        self
    }

    /// The pool of workers, if it is not the parent's.
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// The dependency token, up to 256 characters. Operations with an equal token
    /// run in strict order.
    ///
    /// A child with the parent's own token starts after the parent is Completed,
    /// so the parent must not wait for the child.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The policy for the chain when the child fails or is cancelled.
    pub const fn token_policy(mut self, policy: TokenPolicy) -> Self {
        self.request.token_policy = Some(policy);
        self
    }

    /// The payload: any value that can be written as JSON, up to [`DATA_BYTES`].
    pub fn data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = Some(serde_json::to_string(data).map_err(|error| error.to_string()));
        self
    }

    /// Starts the child no earlier than this time, by the store's clock.
    pub const fn postpone_until(mut self, time: Timestamp) -> Self {
        self.start = Start::At(time);
        self
    }

    /// Starts the child no earlier than so much time after it was first created.
    pub const fn postpone_for(mut self, delay: Duration) -> Self {
        self.start = Start::In(delay);
        self
    }

    /// Lets the child expire if no worker has started it by this time: it fails
    /// with [`ErrorCode::EXPIRED`](drumline_protocol::ErrorCode::EXPIRED).
    pub const fn not_after(mut self, time: Timestamp) -> Self {
        self.request.not_after = Some(time);
        self
    }

    /// The retry policy.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.request.retry = policy;
        self
    }

    /// Lets the child fail instead of starting a second time.
    pub const fn at_most_once(mut self) -> Self {
        self.request.at_most_once = true;
        self
    }

    /// `retainJobHistory`. The default is `true`.
    pub const fn retain_job_history(mut self, retain: bool) -> Self {
        self.request.retain_job_history = retain;
        self
    }

    /// The kind of the record that the child is about, up to 256 characters, and
    /// the id of the record.
    pub fn regarding(mut self, entity_type: impl Into<String>, id: Uuid) -> Self {
        self.request.primary_entity_type = Some(entity_type.into());
        self.request.regarding_object_id = Some(id);
        self
    }

    /// Checks the child against the rules that the API has for a create, and
    /// fills in the parent's queue.
    pub(super) fn check(self, parents: &QueueName) -> Result<Checked, CreateError> {
        let mut request = self.request;
        if self.token.is_some() && !request.operation_type.can_have_token() {
            let why = format!(
                "is not allowed for operations of type {}",
                request.operation_type.0
            );
            return Err(invalid("dependencyToken", why));
        }
        let dependency_token = self.token.map(DependencyToken::try_from).transpose();
        request.dependency_token = dependency_token
            .map_err(|error| invalid("dependencyToken", format!("is not valid: {error}")))?;
        let data = self.data.transpose();
        let data =
            data.map_err(|error| invalid("data", format!("cannot be written as JSON: {error}")))?;
        if let Some(json) = &data
            && json.len() > DATA_BYTES
        {
            let why = format!("has {} bytes; {DATA_BYTES} are allowed", json.len());
            return Err(invalid("data", why));
        }
        if let (Start::At(from), Some(to)) = (self.start, request.not_after)
            && to <= from
        {
            let why = "is not later than the time of the start".to_owned();
            return Err(invalid("notAfter", why));
        }
        request.data = data;
        request.queue = self.queue.unwrap_or_else(|| parents.clone());
        if let Some((attribute, why)) = request.kinds_broken().into_iter().next() {
            return Err(invalid(attribute, why));
        }
        Ok(Checked {
            request,
            key: self.key,
            start: self.start,
        })
    }
}

impl Checked {
    /// The attributes that transitions depend on.
    pub(super) fn rules(&self, chain: Option<ChainKey>) -> Rules {
        let policy = self.request.token_policy.unwrap_or_default();
        self.request.rules(chain, policy)
    }
}

const fn invalid(attribute: &'static str, why: String) -> CreateError {
    CreateError::Invalid { attribute, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(child: NewChild) -> &'static str {
        match child.check(&QueueName::default()) {
            Err(CreateError::Invalid { attribute, .. }) => attribute,
            Err(other) => panic!("{other:?}"),
            Ok(_) => "nothing",
        }
    }

    #[test]
    fn the_rules_of_a_create_are_kept() {
        let long = "ü".repeat(257);
        let bulk = OperationType(13);
        let soon = Timestamp::from_millis(1);
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        for (child, expected) in [
            (
                NewChild::new("A").name("ü".repeat(256)).token(""),
                "nothing",
            ),
            (NewChild::new(""), "messageName"),
            (NewChild::new("m".repeat(161)), "messageName"),
            (NewChild::new("A").name(&*long), "name"),
            (NewChild::new("A").token(&*long), "dependencyToken"),
            (
                NewChild::new("A").operation_type(bulk).token("t"),
                "dependencyToken",
            ),
            (
                NewChild::new("A").regarding(&*long, Uuid::nil()),
                "primaryEntityType",
            ),
            (NewChild::new("A").data(&no_json), "data"),
            (
                NewChild::new("A").postpone_until(soon).not_after(soon),
                "notAfter",
            ),
            (NewChild::new("A").data(&"x".repeat(DATA_BYTES)), "data"),
        ] {
            assert_eq!(broken(child), expected);
        }
    }
}
