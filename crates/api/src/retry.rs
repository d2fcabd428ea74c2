//! `retryPolicy`: members that are missing are taken from the default policy.

use drumline_protocol::{Exhausted, RetryPolicy};
use serde_json::value::RawValue;

use crate::error::FieldError;
use crate::fields::Fields;

/// Reads a retry policy; its faults go to `errors`.
pub(crate) fn policy(value: &RawValue, errors: &mut Vec<FieldError>) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    let Some(mut given) = Fields::of(value, "retryPolicy.") else {
        errors.push(FieldError::new("retryPolicy", "must be an object"));
        return policy;
    };
    const U32: &str = "from 0 to 4294967295";
    const U64: &str = "of milliseconds";
    set(&mut policy.max_retries, given.number("maxRetries", U32));
    set(&mut policy.initial_ms, given.number("initialMs", U64));
    set(&mut policy.factor, given.number("factor", U32));
    set(&mut policy.max_ms, given.number("maxMs", U64));
    set(&mut policy.max_lost, given.number("maxLost", U32));
    let share = given.number("jitterPercent", "from 0 to 100");
    if share.is_some_and(|share: u8| share > 100) {
        given.note("jitterPercent", "must be a number from 0 to 100");
    }
    set(&mut policy.jitter_percent, share);
    let exhausted = given.parsed("exhausted", |text| match text.as_str() {
        "fail" => Ok(Exhausted::Fail),
        "suspend" => Ok(Exhausted::Suspend),
        _ => Err("must be \"fail\" or \"suspend\"".to_owned()),
    });
    set(&mut policy.exhausted, exhausted);
    given.refuse_rest(|_name| "is unknown");
    errors.append(&mut given.errors);
    policy
}

fn set<T>(member: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *member = given;
    }
}
