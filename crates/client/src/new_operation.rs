//! The operation that is to be created.

use std::time::Duration;

use drumline_api::view::ExhaustedView;
use drumline_protocol::{OperationType, Timestamp};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::Result;

/// An operation that is to be created: a message name and further attributes.
/// Attributes that are not set are left to the service, which also checks them
/// all.
///
/// ```no_run
/// use std::time::Duration;
/// use drumline_client::{NewOperation, RetryPolicy, TokenPolicy};
/// use serde_json::json;
///
/// # fn example() -> drumline_client::Result<()> {
/// let import = NewOperation::new("ImportSolution")
///     .name("CRM 1.0")
///     .token("crm")
///     .token_policy(TokenPolicy::Hold)
///     .data(&json!({"file": "crm_1_0.zip"}))?
///     .retry(RetryPolicy::default().max_retries(5).initial(Duration::from_secs(2)))
///     .idempotency_key("crm 1.0");
/// let nightly = NewOperation::new("Report").recurrence("FREQ=DAILY;BYHOUR=3");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct NewOperation {
    message_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation_type: Option<OperationType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dependency_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_policy: Option<TokenPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    postpone_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurrence_pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339")]
    recurrence_start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_entity_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regarding_object_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain_job_history: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most_once: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_policy: Option<RetryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
    /// Beside the request, not in it.
    #[serde(skip)]
    idempotency_key: Option<String>,
}

/// The policy for a token's chain when its first operation ends as Failed or
/// Canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenPolicy {
    /// The next operation starts.
    Continue,
    /// The chain stops, until a person resumes (skips) that operation.
    Hold,
}

/// The policy for trying an operation again; the service's defaults for values
/// that are not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct RetryPolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    initial_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted: Option<ExhaustedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_lost: Option<u32>,
}

impl NewOperation {
    /// An operation with this message name, which picks the handler: 1 to 160
    /// characters.
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: message_name.into(),
            ..Self::default()
        }
    }

    /// A name for people, up to 256 characters.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Its type; 54, Execute Async Request, unless said.
    pub const fn operation_type(mut self, operation_type: OperationType) -> Self {
        self.operation_type = Some(operation_type);
        self
    }

    /// Operations with an equal token run strictly in the order in which they
    /// are created. Up to 256 characters.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.dependency_token = Some(token.into());
        self
    }

    /// The policy for its token's chain when it does not succeed.
    pub const fn token_policy(mut self, policy: TokenPolicy) -> Self {
        self.token_policy = Some(policy);
        self
    }

    /// The pool of workers that does it.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Not before this time.
    pub const fn postpone_until(mut self, until: Timestamp) -> Self {
        self.postpone_until = Some(until);
        self
    }

    /// It recurs: an RFC 5545 rule, as `FREQ=DAILY;INTERVAL=3`, in UTC. The
    /// created operation is a series; each time it comes due, it creates an
    /// operation.
    pub fn recurrence(mut self, pattern: impl Into<String>) -> Self {
        self.recurrence_pattern = Some(pattern.into());
        self
    }

    /// The time at which the recurrence starts; now unless said.
    pub const fn recurrence_start(mut self, start: Timestamp) -> Self {
        self.recurrence_start_time = Some(start);
        self
    }

    /// The payload: anything that can be JSON.
    ///
    /// # Errors
    /// [`Error::Unwritable`](crate::Error::Unwritable) when it cannot.
    pub fn data(mut self, data: &(impl Serialize + ?Sized)) -> Result<Self> {
        self.data = Some(serde_json::value::to_raw_value(data)?);
        Ok(self)
    }

    /// The payload as JSON text. The text stays as it is: numbers keep their
    /// digits and objects their order.
    pub fn raw_data(mut self, data: Box<RawValue>) -> Self {
        self.data = Some(data);
        self
    }

    /// Equal for operations that belong together; made up if missing.
    pub const fn correlation_id(mut self, id: Uuid) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// The request that it comes from.
    pub const fn request_id(mut self, id: Uuid) -> Self {
        self.request_id = Some(id);
        self
    }

    /// The operation whose handler creates it.
    pub const fn parent_id(mut self, id: Uuid) -> Self {
        self.parent_id = Some(id);
        self
    }

    /// The kind of record that it is about, up to 256 characters.
    pub fn primary_entity_type(mut self, name: impl Into<String>) -> Self {
        self.primary_entity_type = Some(name.into());
        self
    }

    /// The record that it is about.
    pub const fn regarding_object_id(mut self, id: Uuid) -> Self {
        self.regarding_object_id = Some(id);
        self
    }

    /// Keeps it for the whole retention time when it has Succeeded, which is
    /// the default.
    pub const fn retain_job_history(mut self, retain: bool) -> Self {
        self.retain_job_history = Some(retain);
        self
    }

    /// Fails it instead of starting it a second time.
    pub const fn at_most_once(mut self, at_most_once: bool) -> Self {
        self.at_most_once = Some(at_most_once);
        self
    }

    /// The retry policy.
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry_policy = Some(policy);
        self
    }

    /// The receiver of a notice when it is Completed: an address that gets a
    /// signed POST.
    pub fn webhook(mut self, url: impl Into<String>) -> Self {
        self.webhook_url = Some(url.into());
        self
    }

    /// The key that identifies this create. A create that is repeated with the
    /// same key and the same content within a day answers with the first
    /// operation, and creates nothing. The client makes a key up if there is
    /// none, which protects against broken connections, but not against a
    /// restart of the caller.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// See [`Self::idempotency_key`].
    pub(crate) fn key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// Makes up a key if there is none, so that the create may be repeated.
    pub(crate) fn ensure_key(&mut self) {
        self.idempotency_key.get_or_insert_with(new_key);
    }
}

impl RetryPolicy {
    /// The number of retries before it fails; 0: the first failure is final.
    pub const fn max_retries(mut self, times: u32) -> Self {
        self.max_retries = Some(times);
        self
    }

    /// The first delay.
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial_ms = Some(ms(delay));
        self
    }

    /// Each further delay is this many times the one before.
    pub const fn factor(mut self, factor: u32) -> Self {
        self.factor = Some(factor);
        self
    }

    /// No delay is longer.
    pub fn longest(mut self, delay: Duration) -> Self {
        self.max_ms = Some(ms(delay));
        self
    }

    /// The share of each delay that chance may take off, 0 to 100.
    pub const fn jitter_percent(mut self, percent: u8) -> Self {
        self.jitter_percent = Some(percent);
        self
    }

    /// The step that follows the last retry.
    pub const fn exhausted(mut self, what: ExhaustedView) -> Self {
        self.exhausted = Some(what);
        self
    }

    /// The number of lost workers at which the operation counts as poisonous.
    pub const fn max_lost(mut self, times: u32) -> Self {
        self.max_lost = Some(times);
        self
    }

    /// Returns true if no value is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A key that was never used before.
#[expect(
    clippy::disallowed_methods,
    reason = "a client has no generator injected: its keys name requests, and nothing is derived from them"
)]
pub(crate) fn new_key() -> String {
    Uuid::new_v4().to_string()
}

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A time as the API reads it.
pub(crate) fn rfc3339<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        let new = NewOperation::new("Echo").idempotency_key("k");
        assert_eq!(
            serde_json::to_value(&new).unwrap(),
            json!({"messageName": "Echo"})
        );
    }

    #[test]
    fn attributes_have_the_names_of_the_api() {
        let id = Uuid::nil();
        let new = NewOperation::new("Echo")
            .name("n")
            .operation_type(OperationType(10))
            .token("t")
            .token_policy(TokenPolicy::Hold)
            .queue("q")
            .postpone_until(Timestamp::from_millis(0))
            .recurrence("FREQ=DAILY")
            .recurrence_start(Timestamp::from_millis(1))
            .raw_data(RawValue::from_string("1.10".to_owned()).unwrap())
            .correlation_id(id)
            .request_id(id)
            .parent_id(id)
            .primary_entity_type("account")
            .regarding_object_id(id)
            .retain_job_history(false)
            .at_most_once(true)
            .retry(RetryPolicy::default().initial(Duration::from_secs(1)))
            .webhook("https://example.org");
        let text = serde_json::to_string(&new).unwrap();
        assert!(text.contains("\"data\":1.10"), "{text}");
        let nil = "00000000-0000-0000-0000-000000000000";
        assert_eq!(
            serde_json::to_value(&new).unwrap(),
            json!({
                "messageName": "Echo", "name": "n", "operationType": 10, "dependencyToken": "t",
                "tokenPolicy": "hold", "queue": "q", "postponeUntil": "1970-01-01T00:00:00.000Z",
                "recurrencePattern": "FREQ=DAILY", "recurrenceStartTime": "1970-01-01T00:00:00.001Z",
                "data": 1.1, "correlationId": nil, "requestId": nil, "parentId": nil,
                "primaryEntityType": "account", "regardingObjectId": nil, "retainJobHistory": false,
                "atMostOnce": true, "retryPolicy": {"initialMs": 1000}, "webhookUrl": "https://example.org",
            })
        );
    }
}
