//! The environment of a command.
//!
//! A command inherits the worker's environment, except the worker's own settings,
//! which hold passwords. The facts of the run are added.

use std::ffi::OsStr;

use crate::context::Context;
#[cfg(target_os = "linux")]
use crate::handlers::supervise::Marks;

/// The prefix of the worker's own settings, and of the variables for a command.
const PREFIX: &str = "DRUMLINE_";
/// The one setting that is passed on: the address of the service, for a command
/// that creates operations.
pub(crate) const SERVER: &str = "DRUMLINE_SERVER";
const OPERATION_ID: &str = "DRUMLINE_OPERATION_ID";
const FENCE: &str = "DRUMLINE_FENCE";
/// The largest checkpoint in the environment. The system allows 128 KiB for one
/// variable. A larger one is in the input alone.
const CHECKPOINT_BYTES: usize = 96 << 10;

/// Sets the environment of a run.
pub(super) fn set(command: &mut tokio::process::Command, context: &Context) {
    for (name, _value) in std::env::vars_os() {
        if is_own(&name) {
            command.env_remove(name);
        }
    }
    let operation = context.operation();
    let token = operation.body.dependency_token.as_ref();
    let trace = context.trace();
    let mut set = |name: &str, value: &str| {
        // A token may be any string, but a variable cannot hold a NUL.
        command.env(name, value.replace('\0', "\u{fffd}"));
    };
    set(OPERATION_ID, &operation.id.to_string());
    set(FENCE, &context.fence().to_string());
    set("DRUMLINE_ATTEMPT", &context.attempt().to_string());
    set(
        "DRUMLINE_DEPENDENCY_TOKEN",
        token.map_or("", |token| token.as_str()),
    );
    set(
        "DRUMLINE_CHECKPOINT",
        context
            .raw_checkpoint()
            .filter(|json| json.len() <= CHECKPOINT_BYTES)
            .unwrap_or(""),
    );
    // For an operation that the command creates: it belongs to the same tenant.
    set("DRUMLINE_ORGANIZATION", &operation.body.organization.0);
    if !operation.body.owner.is_empty() {
        set("DRUMLINE_CALLER", &operation.body.owner);
    }
    if let Some(token) = context.token() {
        set("DRUMLINE_TOKEN", token);
    }
    set("TRACEPARENT", &trace.traceparent);
    if !trace.tracestate.is_empty() {
        set("TRACESTATE", &trace.tracestate);
    }
}

/// The variables that no other run has: they name the operation and the run.
#[cfg(target_os = "linux")]
pub(super) fn marks(context: &Context) -> Marks {
    Marks::new(&[
        (OPERATION_ID, context.operation().id.to_string()),
        (FENCE, context.fence().to_string()),
    ])
}

fn is_own(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(PREFIX) && name != SERVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_worker_stay_with_it_but_for_the_way_to_the_service() {
        assert!(is_own(OsStr::new("DRUMLINE_REDIS_URL")));
        assert!(!is_own(OsStr::new(SERVER)));
        assert!(!is_own(OsStr::new("PATH")));
    }
}
