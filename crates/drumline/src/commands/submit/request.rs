//! The create request that the flags describe.

use drumline_client::{ExhaustedView, NewOperation, OperationType, RetryPolicy};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cli::submit::Attributes;
use crate::commands::filter::timestamp;
use crate::output::time::Now;

/// Creates the request; attributes that are not given are left to the service.
/// `parent` is the operation whose handler runs this command, if there is one.
pub(super) fn of(
    message: &str,
    attributes: &Attributes,
    data: Option<Box<RawValue>>,
    parent: Option<Uuid>,
    now: Now,
) -> NewOperation {
    let Attributes {
        // Read already: it may be a file.
        data: _,
        name,
        token,
        token_policy,
        recurrence,
        recurrence_start,
        webhook,
        operation_type,
        queue,
        postpone_until,
        in_,
        correlation_id,
        request_id,
        parent_id,
        entity_type,
        regarding,
        forget,
        at_most_once,
        retry_max: _,
        retry_initial: _,
        retry_factor: _,
        retry_longest: _,
        retry_exhausted: _,
    } = attributes;
    let mut new = NewOperation::new(message);
    if let Some(data) = data {
        new = new.raw_data(data);
    }
    if let Some(name) = name {
        new = new.name(name);
    }
    if let Some(token) = token {
        new = new.token(token);
    }
    if let Some(policy) = token_policy {
        new = new.token_policy((*policy).into());
    }
    if let Some(pattern) = recurrence {
        new = new.recurrence(pattern);
    }
    if let Some(start) = recurrence_start {
        new = new.recurrence_start(timestamp(*start));
    }
    if let Some(url) = webhook {
        new = new.webhook(url);
    }
    if let Some(number) = operation_type {
        new = new.operation_type(OperationType(*number));
    }
    if let Some(queue) = queue {
        new = new.queue(queue.as_str());
    }
    if let Some(until) = postpone_until.or_else(|| in_.map(|span| now.later(span))) {
        new = new.postpone_until(timestamp(until));
    }
    if let Some(id) = correlation_id {
        new = new.correlation_id(*id);
    }
    if let Some(id) = request_id {
        new = new.request_id(*id);
    }
    if let Some(id) = parent_id.or(parent) {
        new = new.parent_id(id);
    }
    if let Some(kind) = entity_type {
        new = new.primary_entity_type(kind);
    }
    if let Some(id) = regarding {
        new = new.regarding_object_id(*id);
    }
    if *forget {
        new = new.retain_job_history(false);
    }
    if *at_most_once {
        new = new.at_most_once(true);
    }
    let retry = retry_policy(attributes);
    if !retry.is_default() {
        new = new.retry(retry);
    }
    new
}

fn retry_policy(attributes: &Attributes) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    if let Some(times) = attributes.retry_max {
        policy = policy.max_retries(times);
    }
    if let Some(delay) = attributes.retry_initial {
        policy = policy.initial(delay);
    }
    if let Some(factor) = attributes.retry_factor {
        policy = policy.factor(factor);
    }
    if let Some(delay) = attributes.retry_longest {
        policy = policy.longest(delay);
    }
    if let Some(what) = attributes.retry_exhausted {
        policy = policy.exhausted(ExhaustedView::from(what));
    }
    policy
}
