//! The request to create an operation.

use drumline_protocol::{
    DependencyToken, OperationType, QueueName, RetryPolicy, Timestamp, limits,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::attributes::Attributes;
use super::{READ_ONLY, RECURRENCE, payload, retry};
use crate::error::{Error, Invalid, Wrong};

/// An operation that is to be created. What a Rust program puts into it is
/// checked when it is created, what comes as JSON while it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateRequest {
    /// What is asked for: picks the handler. 1 to 160 characters.
    pub message_name: String,
    /// A name for people, up to 256 characters.
    pub name: String,
    /// Its type.
    pub operation_type: OperationType,
    /// Equal token, strict order.
    pub dependency_token: Option<DependencyToken>,
    /// The pool of workers.
    pub queue: QueueName,
    /// Not before this time.
    pub postpone_until: Option<Timestamp>,
    /// The payload: JSON text.
    pub data: Option<String>,
    /// Equal for operations that belong together; made up where missing.
    pub correlation_id: Option<Uuid>,
    /// The request that it comes from.
    pub request_id: Option<Uuid>,
    /// The operation whose handler creates it.
    pub parent_id: Option<Uuid>,
    /// What kind of record it is about, up to 256 characters.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// Whether a Succeeded one is kept for the whole retention time.
    pub retain_job_history: bool,
    /// When it is tried again.
    pub retry: RetryPolicy,
    /// Fails instead of starting a second time.
    pub at_most_once: bool,
}

impl CreateRequest {
    /// A request with a message name and defaults.
    #[must_use]
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: message_name.into(),
            name: String::new(),
            operation_type: OperationType::DEFAULT,
            dependency_token: None,
            queue: QueueName::default(),
            postpone_until: None,
            data: None,
            correlation_id: None,
            request_id: None,
            parent_id: None,
            primary_entity_type: None,
            regarding_object_id: None,
            retain_job_history: true,
            retry: RetryPolicy::default(),
            at_most_once: false,
        }
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are unknown or break a rule.
    pub fn from_json(body: &[u8]) -> Result<Self, Error> {
        let mut given = Attributes::of_body(body)?;
        let mut request = Self::new("");
        let message_name = given.text("messageName", limits::MESSAGE_NAME_CHARS);
        if message_name.is_none() && !is_noted(&given.wrong, "messageName") {
            given.note("messageName", "is required");
        }
        request.message_name = message_name.unwrap_or_default();
        request.name = given.text("name", limits::NAME_CHARS).unwrap_or_default();
        if let Some(number) = given.number("operationType", "from 0 to 4294967295") {
            request.operation_type = OperationType(number);
        }
        request.dependency_token = given.parsed("dependencyToken", |text| {
            DependencyToken::try_from(text).map_err(|_too_long| {
                format!(
                    "is too long: {} characters are allowed",
                    limits::TOKEN_CHARS
                )
            })
        });
        let queue = given.parsed("queue", |text| {
            QueueName::try_from(text).map_err(|error| format!("is not valid: {error}"))
        });
        request.queue = queue.unwrap_or_default();
        request.postpone_until = given.time("postponeUntil");
        request.data = read_data(&mut given);
        request.correlation_id = given.uuid("correlationId");
        request.request_id = given.uuid("requestId");
        request.parent_id = given.uuid("parentId");
        request.primary_entity_type = given.text("primaryEntityType", limits::ENTITY_TYPE_CHARS);
        request.regarding_object_id = given.uuid("regardingObjectId");
        request.retain_job_history = given.boolean("retainJobHistory").unwrap_or(true);
        request.at_most_once = given.boolean("atMostOnce").unwrap_or(false);
        if let Some(policy) = given.take("retryPolicy") {
            request.retry = retry::policy(policy, &mut given.wrong);
        }
        refuse_recurrence(&mut given);
        given.refuse_rest(why_not);
        for wrong in request.rules_broken() {
            if !is_noted(&given.wrong, &wrong.name) {
                given.wrong.push(wrong);
            }
        }
        given.finish()?;
        Ok(request)
    }

    /// Whether it keeps the rules that the types of its fields do not.
    ///
    /// # Errors
    /// With all attributes that break one.
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = self.rules_broken();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Invalid::arguments(wrong))
        }
    }

    fn rules_broken(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if self.message_name.is_empty() {
            wrong.push(Wrong::new("messageName", "must not be empty"));
        }
        let texts = [
            (
                "messageName",
                &self.message_name,
                limits::MESSAGE_NAME_CHARS,
            ),
            ("name", &self.name, limits::NAME_CHARS),
        ];
        let entity = self.primary_entity_type.as_ref();
        let entity = entity.map(|text| ("primaryEntityType", text, limits::ENTITY_TYPE_CHARS));
        for (name, text, limit) in texts.into_iter().chain(entity) {
            // Bytes are at least as many as characters, and counted for free.
            if text.len() > limit && text.chars().count() > limit {
                let why = format!("is too long: {limit} characters are allowed");
                wrong.push(Wrong::new(name, why));
            }
        }
        if self.dependency_token.is_some() && !self.operation_type.can_have_token() {
            let why = format!(
                "is not allowed for operations of type {} ({})",
                self.operation_type.0,
                self.operation_type.name().unwrap_or("a bulk operation"),
            );
            wrong.push(Wrong::new("dependencyToken", why));
        }
        wrong
    }
}

fn is_noted(wrong: &[Wrong], name: &str) -> bool {
    wrong.iter().any(|wrong| wrong.name == name)
}

fn read_data(given: &mut Attributes<'_>) -> Option<String> {
    let value: &RawValue = given.take("data")?;
    if let Err(why) = payload::check(value) {
        given.note("data", why);
        return None;
    }
    Some(value.get().to_owned())
}

/// Accepting a rule that nothing follows would be worse than refusing it.
fn refuse_recurrence(given: &mut Attributes<'_>) {
    for &name in RECURRENCE {
        let value = given.take(name);
        // The documents: an empty pattern is none.
        if value.is_some_and(|value| value.get() != "\"\"") {
            given.note(name, "is not supported by this release");
        }
    }
}

fn why_not(name: &str) -> &'static str {
    if READ_ONLY.contains(&name) {
        "is set by the service"
    } else {
        "is unknown"
    }
}
