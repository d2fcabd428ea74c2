//! Requests as a client builds them: nothing is checked, and what is not said
//! is not sent. The service checks everything, and names every mistake.
//!
//! ```
//! use std::time::Duration;
//!
//! use drumline_api::draft::{NewOperation, RetryPolicy};
//! use drumline_protocol::TokenPolicy;
//! use serde_json::json;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let import = NewOperation::new("ImportSolution")
//!     .name("CRM 1.0")
//!     .token("crm")
//!     .token_policy(TokenPolicy::Hold)
//!     .data(&json!({"file": "crm_1_0.zip"}))?
//!     .retry(RetryPolicy::default().max_retries(5).initial(Duration::from_secs(2)))
//!     .idempotency_key("crm 1.0");
//! let nightly = NewOperation::new("Report").recurrence("FREQ=DAILY;BYHOUR=3");
//! # assert_eq!(serde_json::to_value(&nightly)?["recurrencePattern"], "FREQ=DAILY;BYHOUR=3");
//! # assert_eq!(serde_json::to_value(&import)?["retryPolicy"]["initialMs"], 2000);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use drumline_protocol::{
    self as protocol, DependencyToken, OperationType, QueueName, State, Status, Timestamp,
    TokenPolicy,
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::view::{ExhaustedView, RetryPolicyView};

pub use crate::attributes::{Filter, NewOperation, Update};

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

fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl NewOperation {
    /// An operation with this message name, which picks the handler: 1 to 160
    /// characters.
    pub fn new(message_name: impl Into<String>) -> Self {
        Self {
            message_name: Some(message_name.into()),
            ..Self::default()
        }
    }

    /// The payload: anything that can be JSON.
    ///
    /// # Errors
    /// When it cannot.
    pub fn data(self, data: &(impl Serialize + ?Sized)) -> serde_json::Result<Self> {
        Ok(self.raw_data(serde_json::value::to_raw_value(data)?))
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
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }
}

impl Update {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns true if nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Filter {
    /// All operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a held token: the operation ended Failed or Canceled, and its chain
    /// waits until a person resumes it. Not known to `RetrieveMultiple`.
    pub const fn holds_token(mut self) -> Self {
        self.holds_token = Some(true);
        self
    }

    /// Returns true if every operation matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A value that a request carries, as JSON for people: times as RFC 3339,
/// policies by their words. Bincode writes some of them otherwise.
pub(crate) trait Write {
    /// Writes the value.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// A value as JSON.
pub(crate) struct Written<'a, T>(pub(crate) &'a T);

impl<T: Write> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<T: Write> Written<'_, T> {
    /// The value as a parameter of an address.
    pub(crate) fn text(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err(_unwritable) => String::new(),
        }
    }
}

macro_rules! write_as_it_is {
    ($($type:ty),+) => {
        $(
            impl Write for $type {
                fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.serialize(serializer)
                }
            }
        )+
    };
}

write_as_it_is!(
    bool,
    String,
    Uuid,
    OperationType,
    Status,
    DependencyToken,
    QueueName,
    RetryPolicy,
    Box<RawValue>
);

impl Write for State {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.code().serialize(serializer)
    }
}

impl Write for protocol::FailureKey {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Write for Timestamp {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Write for TokenPolicy {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name().serialize(serializer)
    }
}

impl Write for protocol::RetryPolicy {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RetryPolicyView::from(self).serialize(serializer)
    }
}

#[cfg(test)]
mod tests;
