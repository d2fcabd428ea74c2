//! One `[[handler]]` of a file, read from its table.

use std::path::Path;
use std::time::Duration;

use drumline_protocol::limits::MESSAGE_NAME_CHARS;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::table::Table;
use super::{Action, FileHandler};
use crate::handlers::Limits;
use crate::handlers::command::{Command, KILL_MARGIN, is_never_inherited};
use crate::handlers::http::Endpoint;
use crate::throttle::Throttle;

/// The time from SIGTERM to SIGKILL, unless the file states another.
const GRACE: Duration = Duration::from_secs(10);

/// The keys of either kind of handler.
const OF_EITHER: &[&str] = &[
    "command",
    "directory",
    "env",
    "headers",
    "http",
    "inherit",
    "private",
    "retry_codes",
    "suspend_codes",
];

/// Reads one handler. `None` if a mistake leaves no handler to speak of.
pub(super) fn handler(table: &mut Table<'_, '_>, directory: &Path) -> Option<FileHandler> {
    let message = message(table);
    let timeout = table.duration("timeout");
    let grace = table.duration("grace");
    let retry_on_timeout = table.boolean("retry_on_timeout").unwrap_or(false);
    let mut limits = Limits::new();
    limits.timeout = timeout;
    limits.retry_on_timeout = retry_on_timeout;
    limits.throttle = throttle(table);
    let action = match (table.has("command"), table.has("http")) {
        (true, false) => {
            let grace = grace.unwrap_or(GRACE);
            limits = limits.grace(grace + KILL_MARGIN);
            command(table, directory, grace).map(Action::Command)
        }
        (false, true) => {
            limits.grace = grace;
            endpoint(table).map(Action::Http)
        }
        (true, true) => {
            table.mistake("a handler has a command or http, not both");
            table.skip(OF_EITHER);
            None
        }
        (false, false) => {
            table.mistake("a handler needs a command or http");
            table.skip(OF_EITHER);
            None
        }
    };
    Some(FileHandler {
        message: message?,
        limits,
        action: action?,
    })
}

/// Reads `throttle`. All three members are required, because the limit of
/// failures has no sensible default.
pub(super) fn throttle(table: &mut Table<'_, '_>) -> Option<Throttle> {
    let (at, own) = table.table("throttle")?;
    let mut own = Table::new(own, at, table.mistakes());
    let failures = own.number("failures");
    let within = own.duration("within");
    let pause = own.duration("pause");
    for key in ["failures", "within", "pause"] {
        if !own.has(key) {
            own.mistake(format!("throttle: {key} is missing"));
        }
    }
    own.finish();
    Some(Throttle {
        failures: failures?,
        within: within?,
        pause: pause?,
    })
}

fn message(table: &mut Table<'_, '_>) -> Option<String> {
    let Some((at, name)) = table.string("message") else {
        if !table.has("message") {
            table.mistake("a handler needs a message: a message name, or \"*\"");
        }
        return None;
    };
    let length = name.chars().count();
    if length == 0 || length > MESSAGE_NAME_CHARS {
        let what = format!("message: a name has 1 to {MESSAGE_NAME_CHARS} characters");
        table.mistake_at(at, what);
        return None;
    }
    Some(name)
}

fn command(table: &mut Table<'_, '_>, directory: &Path, grace: Duration) -> Option<Command> {
    let command = table.strings("command");
    let own = table.string("directory");
    let environment = table.pairs("env");
    let (inherit_at, inherit) = table.strings("inherit").unwrap_or_default();
    let retry_codes = table.codes("retry_codes");
    let suspend_codes = table.codes("suspend_codes");
    let (at, command) = command?;
    if command.first().is_none_or(String::is_empty) {
        table.mistake_at(at, "command: the first element is the program");
        return None;
    }
    for (at, name, value) in &environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            table.mistake_at(*at, format!("env: {name:?} cannot be set"));
        }
    }
    if let Some(never) = inherit.iter().find(|name| is_never_inherited(name)) {
        let what =
            format!("inherit: {never:?} stays with the worker, because it may hold a password");
        table.mistake_at(inherit_at, what);
    }
    Some(Command {
        command,
        inherit,
        directory: directory.join(own.map_or_else(String::new, |(_at, own)| own)),
        environment: environment
            .into_iter()
            .map(|(_at, name, value)| (name, value))
            .collect(),
        retry_codes,
        suspend_codes,
        grace,
    })
}

fn endpoint(table: &mut Table<'_, '_>) -> Option<Endpoint> {
    let url = table.string("http");
    let mut headers = HeaderMap::new();
    for (at, name, value) in table.pairs("headers") {
        let header = HeaderName::try_from(&name)
            .ok()
            .zip(HeaderValue::try_from(&value).ok());
        match header {
            Some((name, mut value)) => {
                // A header may carry a password, which a debug print must not show.
                value.set_sensitive(true);
                headers.insert(name, value);
            }
            None => table.mistake_at(at, format!("headers: {name:?} is not a header")),
        }
    }
    let private = table.boolean("private").unwrap_or(false);
    let (at, url) = url?;
    // A URL may hold a password, so no mistake repeats it.
    let endpoint = match Url::parse(&url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Endpoint {
            url,
            headers,
            private,
        },
        Ok(_) => {
            table.mistake_at(at, "http: expected an address with http:// or https://");
            return None;
        }
        Err(error) => {
            table.mistake_at(at, format!("http: {error}"));
            return None;
        }
    };
    if !endpoint.reach().allows_text(&endpoint.url) {
        let what = "http: this address is link-local, or that of a cloud's metadata service";
        table.mistake_at(at, what);
        return None;
    }
    Some(endpoint)
}
