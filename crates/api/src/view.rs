//! The operation as programs and people see it: JSON, camelCase, every
//! attribute that users of the Dynamics service know.
//!
//! A view is apart from the stored
//! [`Operation`](drumline_protocol::Operation), so that either can change
//! without the other. The HTTP API answers with it, clients read it, and a
//! command handler finds it on its standard input. One type for all of them
//! cannot drift apart. It decides nothing and is never stored.

use drumline_protocol::{Exhausted, Progress, RetryPolicy};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use crate::attributes::OperationView;

/// The progress of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressView {
    /// 0 to 100.
    pub percent: u8,
    /// For people; may be empty.
    #[serde(default)]
    pub text: String,
}

/// A retry policy as JSON. Missing members are read as the default policy's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicyView {
    /// The number of times that it is delayed before it fails.
    pub max_retries: u32,
    /// The first delay, in milliseconds.
    pub initial_ms: u64,
    /// Each further delay is this many times the one before.
    pub factor: u32,
    /// No delay is longer, in milliseconds.
    pub max_ms: u64,
    /// The share of each delay that jitter may take off, 0 to 100.
    pub jitter_percent: u8,
    /// The step after the last retry: `fail` or `suspend`.
    pub exhausted: ExhaustedView,
    /// The number of lost workers after which the operation is called
    /// poisonous.
    pub max_lost: u32,
}

/// The step after the last retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExhaustedView {
    /// Completed, Failed.
    Fail,
    /// Suspended until a person looks at the operation.
    Suspend,
}

impl From<&RetryPolicy> for RetryPolicyView {
    fn from(policy: &RetryPolicy) -> Self {
        Self {
            max_retries: policy.max_retries,
            initial_ms: policy.initial_ms,
            factor: policy.factor,
            max_ms: policy.max_ms,
            jitter_percent: policy.jitter_percent,
            exhausted: match policy.exhausted {
                Exhausted::Fail => ExhaustedView::Fail,
                Exhausted::Suspend => ExhaustedView::Suspend,
            },
            max_lost: policy.max_lost,
        }
    }
}

impl From<RetryPolicyView> for RetryPolicy {
    fn from(view: RetryPolicyView) -> Self {
        Self {
            max_retries: view.max_retries,
            initial_ms: view.initial_ms,
            factor: view.factor,
            max_ms: view.max_ms,
            jitter_percent: view.jitter_percent,
            exhausted: match view.exhausted {
                ExhaustedView::Fail => Exhausted::Fail,
                ExhaustedView::Suspend => Exhausted::Suspend,
            },
            max_lost: view.max_lost,
        }
    }
}

impl Default for RetryPolicyView {
    fn default() -> Self {
        Self::from(&RetryPolicy::default())
    }
}

impl From<&Progress> for ProgressView {
    fn from(progress: &Progress) -> Self {
        Self {
            percent: progress.percent,
            text: progress.text.clone(),
        }
    }
}

/// Stored JSON text as it is; text that is not JSON (which we never store) is
/// shown as a string rather than making the whole operation unreadable.
pub(crate) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_not_json| serde_json::value::to_raw_value(text))
        .unwrap_or_else(|_unwritable| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests;
