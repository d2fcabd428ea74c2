//! The description of a child that a handler wants.

use std::time::Duration;

use drumline_protocol::{
    ChainKey, DependencyToken, OperationType, QueueName, RetryPolicy, Rules, Timestamp,
    TokenPolicy, limits,
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
    message_name: String,
    key: Option<String>,
    name: String,
    operation_type: OperationType,
    queue: Option<QueueName>,
    token: Option<String>,
    token_policy: TokenPolicy,
    /// JSON text, or the reason that the data cannot be written as JSON.
    data: Option<Result<String, String>>,
    start: Start,
    retry: RetryPolicy,
    at_most_once: bool,
    retain_job_history: bool,
    primary_entity_type: Option<String>,
    regarding_object_id: Option<Uuid>,
}

/// A child that keeps all rules.
pub(super) struct Checked {
    pub(super) message_name: String,
    pub(super) key: Option<String>,
    pub(super) name: String,
    pub(super) operation_type: OperationType,
    pub(super) queue: QueueName,
    pub(super) dependency_token: Option<DependencyToken>,
    pub(super) token_policy: TokenPolicy,
    pub(super) data: Option<String>,
    pub(super) start: Start,
    pub(super) retry: RetryPolicy,
    pub(super) at_most_once: bool,
    pub(super) retain_job_history: bool,
    pub(super) primary_entity_type: Option<String>,
    pub(super) regarding_object_id: Option<Uuid>,
}

impl NewChild {
    /// A child with a message name (1 to 160 characters), and defaults.
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: message_name.into(),
            key: None,
            name: String::new(),
            operation_type: OperationType::DEFAULT,
            queue: None,
            token: None,
            token_policy: TokenPolicy::Continue,
            data: None,
            start: Start::Now,
            retry: RetryPolicy::default(),
            at_most_once: false,
            retain_job_history: true,
            primary_entity_type: None,
            regarding_object_id: None,
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
        self.name = name.into();
        self
    }

    /// The operation type.
    pub const fn operation_type(mut self, operation_type: OperationType) -> Self {
        self.operation_type = operation_type;
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
        self.token_policy = policy;
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

    /// The retry policy.
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Lets the child fail instead of starting a second time.
    pub const fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }

    /// `retainJobHistory`. The default is `true`.
    pub const fn retain_job_history(mut self, retain: bool) -> Self {
        self.retain_job_history = retain;
        self
    }

    /// The kind of the record that the child is about, up to 256 characters, and
    /// the id of the record.
    pub fn regarding(mut self, entity_type: impl Into<String>, id: Uuid) -> Self {
        self.primary_entity_type = Some(entity_type.into());
        self.regarding_object_id = Some(id);
        self
    }

    /// Checks the child against the rules that the API has for a create, and
    /// fills in the parent's queue.
    pub(super) fn check(self, parents: &QueueName) -> Result<Checked, CreateError> {
        if self.message_name.is_empty() {
            return Err(invalid("messageName", "must not be empty".to_owned()));
        }
        check_length(
            "messageName",
            &self.message_name,
            limits::MESSAGE_NAME_CHARS,
        )?;
        check_length("name", &self.name, limits::NAME_CHARS)?;
        if let Some(entity_type) = &self.primary_entity_type {
            check_length("primaryEntityType", entity_type, limits::ENTITY_TYPE_CHARS)?;
        }
        if self.token.is_some() && !self.operation_type.can_have_token() {
            let why = format!(
                "is not allowed for operations of type {}",
                self.operation_type.0
            );
            return Err(invalid("dependencyToken", why));
        }
        let dependency_token = self.token.map(DependencyToken::try_from).transpose();
        let dependency_token = dependency_token
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
        Ok(Checked {
            message_name: self.message_name,
            key: self.key,
            name: self.name,
            operation_type: self.operation_type,
            queue: self.queue.unwrap_or_else(|| parents.clone()),
            dependency_token,
            token_policy: self.token_policy,
            data,
            start: self.start,
            retry: self.retry,
            at_most_once: self.at_most_once,
            retain_job_history: self.retain_job_history,
            primary_entity_type: self.primary_entity_type,
            regarding_object_id: self.regarding_object_id,
        })
    }
}

impl Checked {
    /// The attributes that transitions depend on.
    pub(super) fn rules(&self, chain: Option<ChainKey>) -> Rules {
        Rules {
            operation_type: self.operation_type,
            chain,
            token_policy: self.token_policy,
            transient: !self.retain_job_history,
            webhook: false,
            at_most_once: self.at_most_once,
            retry: self.retry.clone(),
        }
    }
}

fn check_length(attribute: &'static str, text: &str, limit: usize) -> Result<(), CreateError> {
    // A text has at least as many bytes as characters, and its bytes are counted
    // for free.
    if text.len() > limit && text.chars().count() > limit {
        let why = format!("is too long: {limit} characters are allowed");
        return Err(invalid(attribute, why));
    }
    Ok(())
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
            (NewChild::new("A").data(&"x".repeat(DATA_BYTES)), "data"),
        ] {
            assert_eq!(broken(child), expected);
        }
    }
}
