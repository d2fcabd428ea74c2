//! The environment of a command.
//!
//! A command inherits what a program needs to find its way about ([`USUAL`]), and the
//! variables that its handler names (`inherit`). All others stay with the worker: they
//! hold passwords. The facts of the run are added.

use std::ffi::OsStr;

use crate::context::Context;
#[cfg(target_os = "linux")]
use crate::handlers::supervise::Marks;

/// The variables that every command inherits, or their beginnings: see [`is_named`].
const USUAL: &[&str] = &[
    "HOME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    SERVER,
    CA_FILE,
];
/// The prefix of the worker's own settings, and of the variables for a command.
const PREFIX: &str = "DRUMLINE_";
/// The address of the service, for a command that creates operations: a setting that is
/// passed on.
pub(crate) const SERVER: &str = "DRUMLINE_SERVER";
/// The file with the CAs of the service: another one.
const CA_FILE: &str = "DRUMLINE_CA_FILE";
const OPERATION_ID: &str = "DRUMLINE_OPERATION_ID";
const FENCE: &str = "DRUMLINE_FENCE";
/// The largest checkpoint in the environment. The system allows 128 KiB for one
/// variable. A larger one is in the input alone.
const CHECKPOINT_BYTES: usize = 96 << 10;

/// Sets the environment of a run. `inherit` names further variables of the worker's.
pub(super) fn set(command: &mut tokio::process::Command, inherit: &[String], context: &Context) {
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        if is_inherited(&name, inherit) {
            command.env(name, value);
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
    if let Some(token) = context.run_token() {
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

fn is_inherited(name: &OsStr, inherit: &[String]) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let named = inherit.iter().any(|pattern| is_named(pattern, name));
    USUAL.iter().any(|pattern| is_named(pattern, name)) || (named && !is_never_inherited(name))
}

/// Returns true if the pattern is the name, or its beginning and `*`.
fn is_named(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// Returns true for variables that no command inherits, whatever its handler names:
/// the settings of the worker, and the passwords of its exporter.
pub(crate) fn is_never_inherited(name: &str) -> bool {
    (name.starts_with(PREFIX) && ![SERVER, CA_FILE].contains(&name))
        || (name.starts_with("OTEL_") && name.ends_with("HEADERS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_inherits_what_is_usual_and_what_its_handler_names() {
        let inherit = ["AWS_REGION", "APP_*", "OTEL_*", "DRUMLINE_*"].map(str::to_owned);
        for (name, without, with) in [
            ("PATH", true, true),
            ("LC_TIME", true, true),
            (SERVER, true, true),
            ("AWS_REGION", false, true),
            ("AWS_REGION_2", false, false),
            ("APP_", false, true),
            ("APP_MODE", false, true),
            ("PATH_2", false, false),
            ("OTEL_SERVICE_NAME", false, true),
            ("OTEL_EXPORTER_OTLP_HEADERS", false, false),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", false, false),
            ("DRUMLINE_REDIS_URL", false, false),
            ("DRUMLINE_API_KEY", false, false),
        ] {
            let name = OsStr::new(name);
            assert_eq!(is_inherited(name, &[]), without, "{name:?}");
            assert_eq!(is_inherited(name, &inherit), with, "{name:?}");
        }
    }
}
