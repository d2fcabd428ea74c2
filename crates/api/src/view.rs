//! The operation as programs and people see it: JSON, camelCase, every
//! attribute that users of the Dynamics service know.
//!
//! A view is apart from the stored [`Operation`], so that either can change
//! without the other. The HTTP API answers it, clients read it, and a command
//! handler finds it on its standard input; being one type, these cannot drift
//! apart. It decides nothing and is never stored.

use std::borrow::Cow;

use drumline_protocol::operation::execution_time_span;
use drumline_protocol::transition::legal_actions;
use drumline_protocol::{Exhausted, Operation, Progress, RetryPolicy, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// One operation as the API shows it. Unknown or unset attributes are `null`.
///
/// Times are RFC 3339 in UTC with milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationView {
    /// `AsyncOperationId`.
    pub id: String,
    /// A name for people; may be empty.
    pub name: String,
    /// The number of the type.
    pub operation_type: u32,
    /// The name of the type; `null` for a number outside the list.
    pub operation_type_name: Option<Cow<'static, str>>,
    /// The message name, which picks the handler.
    pub message_name: String,
    /// The number of the state.
    pub state_code: u8,
    /// The number of the status.
    pub status_code: u8,
    /// The name of the state.
    pub state: Cow<'static, str>,
    /// The name of the status.
    pub status: Cow<'static, str>,
    /// Equal token = strict order.
    pub dependency_token: Option<String>,
    /// The fate of the chain when the operation fails or is cancelled:
    /// `continue` or `hold`.
    pub token_policy: Cow<'static, str>,
    /// True while the chain stands still behind it, until a person resumes it.
    pub holds_token: bool,
    /// The time when a Suspended operation wakes, and a series has its next
    /// occurrence.
    pub postpone_until: Option<String>,
    /// The recurrence rule; `null` for operations that do not recur.
    pub recurrence_pattern: Option<String>,
    /// The time when the recurrence starts.
    pub recurrence_start_time: Option<String>,
    /// The times of the next occurrences. Only in the answer for a single
    /// series; a view that is made of a stored operation has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_occurrences: Option<Vec<String>>,
    /// The payload, exactly as it was given.
    pub data: Option<Box<RawValue>>,
    /// Equal for operations that belong together.
    pub correlation_id: Uuid,
    /// The request that created it.
    pub request_id: Option<Uuid>,
    /// The operation whose handler created it.
    pub parent_id: Option<Uuid>,
    /// Its parent's depth + 1.
    pub depth: u32,
    /// The type of the record that it is about.
    pub primary_entity_type: Option<String>,
    /// The record it is about.
    pub regarding_object_id: Option<Uuid>,
    /// The owner of the operation.
    pub owner_id: String,
    /// The caller that created it.
    pub created_by: String,
    /// The caller that changed it last.
    pub modified_by: String,
    /// The tenant.
    pub organization: String,
    /// The pool of workers.
    pub queue: String,
    /// The worker that holds it, or held it last.
    pub host_id: Option<String>,
    /// The last fault, for people.
    pub friendly_message: Option<String>,
    /// The last fault, for experts.
    pub message: Option<String>,
    /// The last fault, for programs: `0x8004A001`.
    pub error_code: Option<String>,
    /// The number of times that the retry policy put it off.
    pub retry_count: u32,
    /// Order of submission.
    pub sequence: u64,
    /// The time when it was created.
    pub created_on: String,
    /// The time when it was changed last.
    pub modified_on: String,
    /// The time when the last handler was started.
    pub started_on: Option<String>,
    /// The time when it was Completed.
    pub completed_on: Option<String>,
    /// Seconds spent in handlers, two decimals.
    pub execution_time_span: f64,
    /// The progress of its handler.
    pub progress: Option<ProgressView>,
    /// The result of its handler.
    pub result: Option<Box<RawValue>>,
    /// True: a Succeeded operation is kept for the whole retention time.
    pub retain_job_history: bool,
    /// The address that is notified of its end.
    pub webhook_url: Option<String>,
    /// The number of handler starts, with any outcome.
    pub start_count: u32,
    /// The number of starts that ended with the loss of the worker.
    pub lost_count: u32,
    /// The attempt that runs, or ran last: 1 for the first, 0 before it.
    pub attempt: u32,
    /// Fails instead of starting a second time.
    pub at_most_once: bool,
    /// The policy for trying it again.
    pub retry_policy: RetryPolicyView,
    /// Grows by one with each change.
    pub version: u64,
    /// The actions that a client could ask for now, each as the last part of
    /// its address.
    pub legal_actions: Vec<Cow<'static, str>>,
}

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
    /// The number of times that it is put off before it fails.
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

impl From<&Operation> for OperationView {
    fn from(operation: &Operation) -> Self {
        let Operation {
            id,
            header,
            body,
            report,
            sequence,
        } = operation;
        let fault = report.fault.as_ref();
        let recurrence = header.recurrence.as_ref();
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        Self {
            id: id.to_string(),
            name: body.name.clone(),
            operation_type: header.rules.operation_type.0,
            operation_type_name: header.rules.operation_type.name().map(Cow::Borrowed),
            message_name: body.message_name.clone(),
            state_code: header.status.state().code(),
            status_code: header.status.code(),
            state: Cow::Borrowed(header.status.state().name()),
            status: Cow::Borrowed(header.status.name()),
            dependency_token: body
                .dependency_token
                .as_ref()
                .map(|token| token.as_str().to_owned()),
            token_policy: Cow::Borrowed(header.rules.token_policy.name()),
            holds_token: header.holding,
            postpone_until: time(header.postpone_until),
            recurrence_pattern: recurrence.map(|recurrence| recurrence.pattern.clone()),
            recurrence_start_time: time(recurrence.map(|recurrence| recurrence.start)),
            next_occurrences: None,
            data: body.data.as_deref().map(json),
            correlation_id: body.correlation_id,
            request_id: body.request_id,
            parent_id: body.parent_id,
            depth: body.depth,
            primary_entity_type: body.primary_entity_type.clone(),
            regarding_object_id: body.regarding_object_id,
            owner_id: body.owner.clone(),
            created_by: body.owner.clone(),
            modified_by: body.owner.clone(),
            organization: body.organization.0.clone(),
            queue: body.queue.as_str().to_owned(),
            host_id: header.host_id.clone(),
            friendly_message: fault.map(|fault| fault.friendly_message.clone()),
            message: fault.map(|fault| fault.message.clone()),
            error_code: fault.map(|fault| fault.code.to_string()),
            retry_count: header.retry_count,
            sequence: *sequence,
            created_on: body.created_on.to_string(),
            modified_on: header.modified_on.to_string(),
            started_on: time(header.started_on),
            completed_on: time(header.completed_on),
            execution_time_span: execution_time_span(header),
            progress: report.progress.as_ref().map(ProgressView::from),
            result: report.result.as_deref().map(json),
            retain_job_history: body.retain_job_history,
            webhook_url: body.webhook_url.clone(),
            start_count: header.starts,
            lost_count: header.lost,
            attempt: header.attempt(),
            at_most_once: header.rules.at_most_once,
            retry_policy: RetryPolicyView::from(&header.rules.retry),
            version: header.version,
            legal_actions: legal_actions(header)
                .into_iter()
                .map(|action| Cow::Borrowed(action.name()))
                .collect(),
        }
    }
}

/// Stored JSON text as it is; text that is not JSON (which we never store) is
/// shown as a string rather than making the whole operation unreadable.
fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned())
        .or_else(|_not_json| serde_json::value::to_raw_value(text))
        .unwrap_or_else(|_unwritable| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests;
