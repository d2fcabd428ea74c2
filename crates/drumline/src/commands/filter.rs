//! The conditions of flags, in the client's types.

use chrono::{DateTime, Utc};
use drumline_client::{Filter, OperationType, Timestamp};

use crate::cli::client;
use crate::cli::values::Since;
use crate::output::time::Now;

/// The conditions; spans count back from `now`.
pub(super) fn of(flags: &client::Filter, now: Now) -> Filter {
    let client::Filter {
        state,
        status,
        message,
        name,
        token,
        operation_type,
        correlation_id,
        created_after,
        created_before,
        completed_before,
        holds_token,
    } = flags;
    let time = |since: &Since| {
        timestamp(match since {
            Since::Time(time) => *time,
            Since::Ago(span) => now.earlier(*span),
        })
    };
    let mut filter = Filter::new();
    if let Some(state) = state {
        filter = filter.state(*state);
    }
    if let Some(status) = status {
        filter = filter.status(*status);
    }
    if let Some(message) = message {
        filter = filter.message_name(message);
    }
    if let Some(name) = name {
        filter = filter.name(name);
    }
    if let Some(token) = token {
        filter = filter.token(token);
    }
    if let Some(number) = operation_type {
        filter = filter.operation_type(OperationType(*number));
    }
    if let Some(id) = correlation_id {
        filter = filter.correlation_id(*id);
    }
    if let Some(since) = created_after {
        filter = filter.created_after(time(since));
    }
    if let Some(since) = created_before {
        filter = filter.created_before(time(since));
    }
    if let Some(since) = completed_before {
        filter = filter.completed_before(time(since));
    }
    if *holds_token {
        filter = filter.holds_token();
    }
    filter
}

/// A time in the client's type.
pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp::from_millis(time.timestamp_millis())
}
