//! The request to create an operation.

use drumline_protocol::{
    DependencyToken, OperationType, QueueName, RetryPolicy, Timestamp, TokenPolicy, limits,
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::deployment::Grammar;
use crate::error::{Error, FieldError, Invalid};
use crate::fields::Fields;
use crate::{READ_ONLY, payload, recurrence, retry};

/// The longest idempotency key, in bytes. A UUID has 36.
const KEY_BYTES: usize = 255;

/// An operation that is to be created. The fields that a Rust program sets are
/// checked when the operation is created; JSON is checked while it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOperation {
    /// The message name, which picks the handler. 1 to 160 characters.
    pub message_name: String,
    /// A name for people, up to 256 characters.
    pub name: String,
    /// Its type.
    pub operation_type: OperationType,
    /// Equal token, strict order.
    pub dependency_token: Option<DependencyToken>,
    /// The policy of the chain when the operation fails or is cancelled;
    /// `None`: the deployment's default.
    pub token_policy: Option<TokenPolicy>,
    /// In order of arrival with all asynchronous requests of the organization,
    /// one at a time, instead of a token: set on what `ExecuteAsync` creates.
    pub in_order_of_requests: bool,
    /// The pool of workers.
    pub queue: QueueName,
    /// Not before this time.
    pub postpone_until: Option<Timestamp>,
    /// The rule by which it recurs, if it does: an RFC 5545 rule, up to 256
    /// characters.
    pub recurrence_pattern: Option<String>,
    /// The time from which the rule counts; `None`: the creation.
    pub recurrence_start_time: Option<Timestamp>,
    /// The payload: JSON text.
    pub data: Option<String>,
    /// Equal for operations that belong together; made up if missing.
    pub correlation_id: Option<Uuid>,
    /// The request that it comes from.
    pub request_id: Option<Uuid>,
    /// The operation whose handler creates it.
    pub parent_id: Option<Uuid>,
    /// The kind of record it is about, up to 256 characters.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// True if a Succeeded one is kept for the whole retention time.
    pub retain_job_history: bool,
    /// The policy of further tries.
    pub retry: RetryPolicy,
    /// Fails instead of starting a second time.
    pub at_most_once: bool,
    /// The receiver that is notified of the end: an absolute http or https
    /// address of up to 2048 bytes.
    pub webhook_url: Option<String>,
}

impl CreateOperation {
    /// A request with a message name and defaults.
    #[must_use]
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: message_name.into(),
            name: String::new(),
            operation_type: OperationType::DEFAULT,
            dependency_token: None,
            token_policy: None,
            in_order_of_requests: false,
            queue: QueueName::default(),
            postpone_until: None,
            recurrence_pattern: None,
            recurrence_start_time: None,
            data: None,
            correlation_id: None,
            request_id: None,
            parent_id: None,
            primary_entity_type: None,
            regarding_object_id: None,
            retain_job_history: true,
            retry: RetryPolicy::default(),
            at_most_once: false,
            webhook_url: None,
        }
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// [`Error::Syntax`] when it is not JSON; [`Error::Invalid`] with all
    /// attributes that are unknown or break a rule.
    pub fn from_json(body: &[u8], grammar: &Grammar) -> Result<Self, Error> {
        let mut given = Fields::of_body(body)?;
        let mut request = Self::new("");
        let message_name = given.text("messageName", limits::MESSAGE_NAME_CHARS);
        if message_name.is_none() && !given.is_noted("messageName") {
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
        request.token_policy = given.parsed("tokenPolicy", |text| {
            TokenPolicy::from_name(&text).ok_or_else(|| "must be continue or hold".to_owned())
        });
        request.postpone_until = given.time("postponeUntil");
        (request.recurrence_pattern, request.recurrence_start_time) = recurrence::take(&mut given);
        request.data = read_data(&mut given);
        request.correlation_id = given.uuid("correlationId");
        request.request_id = given.uuid("requestId");
        request.parent_id = given.uuid("parentId");
        request.primary_entity_type = given.text("primaryEntityType", limits::ENTITY_TYPE_CHARS);
        request.regarding_object_id = given.uuid("regardingObjectId");
        request.retain_job_history = given.boolean("retainJobHistory").unwrap_or(true);
        request.at_most_once = given.boolean("atMostOnce").unwrap_or(false);
        request.webhook_url = given.parsed("webhookUrl", Ok);
        if let Some(policy) = given.take("retryPolicy") {
            request.retry = retry::policy(policy, &mut given.errors);
        }
        given.refuse_rest(why_not);
        for error in request.rules_broken(grammar) {
            if !given.is_noted(&error.name) {
                given.errors.push(error);
            }
        }
        given.finish()?;
        Ok(request)
    }

    /// Checks the rules that the types of its fields do not enforce.
    ///
    /// # Errors
    /// With all attributes that break one.
    pub fn check(&self, grammar: &Grammar) -> Result<(), Invalid> {
        let errors = self.rules_broken(grammar);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Invalid::arguments(errors))
        }
    }

    fn rules_broken(&self, grammar: &Grammar) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.message_name.is_empty() {
            errors.push(FieldError::new("messageName", "must not be empty"));
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
                errors.push(FieldError::new(name, why));
            }
        }
        let webhook = self.webhook_url.as_deref().map(grammar.webhook_url);
        if let Some(Err(why)) = webhook {
            errors.push(FieldError::new("webhookUrl", why));
        }
        if let Some(pattern) = &self.recurrence_pattern {
            errors.extend(recurrence::objections(
                Some(pattern),
                self.recurrence_start_time,
                grammar,
            ));
            if self.postpone_until.is_some() {
                let why = "does not go with recurrencePattern: give recurrenceStartTime";
                errors.push(FieldError::new("postponeUntil", why));
            }
            if self.in_order_of_requests {
                let why = "does not go with the order of asynchronous requests";
                errors.push(FieldError::new("recurrencePattern", why));
            }
        }
        if self.dependency_token.is_some() && self.in_order_of_requests {
            let why = "does not go with the order of asynchronous requests";
            errors.push(FieldError::new("dependencyToken", why));
        }
        if self.dependency_token.is_some() && !self.operation_type.can_have_token() {
            let why = format!(
                "is not allowed for operations of type {} ({})",
                self.operation_type.0,
                self.operation_type.name().unwrap_or("a bulk operation"),
            );
            errors.push(FieldError::new("dependencyToken", why));
        }
        errors
    }
}

/// Checks an idempotency key.
///
/// # Errors
/// The rule that it breaks, as a clause about it.
pub fn check_idempotency_key(key: &str) -> Result<(), String> {
    if (1..=KEY_BYTES).contains(&key.len()) {
        Ok(())
    } else {
        Err(format!("must have 1 to {KEY_BYTES} bytes"))
    }
}

fn read_data(given: &mut Fields<'_>) -> Option<String> {
    let value: &RawValue = given.take("data")?;
    if let Err(why) = payload::check(value) {
        given.note("data", why);
        return None;
    }
    Some(value.get().to_owned())
}

fn why_not(name: &str) -> &'static str {
    if READ_ONLY.contains(&name) {
        "is set by the service"
    } else {
        "is unknown"
    }
}
