//! The common parts of processes on Redis and RabbitMQ: those of the binary, and
//! those of users, on the SDK.
//!
//! - [`Servers`]: connections, and patience for servers that are not up yet
//! - [`Signals`]: SIGTERM and SIGINT
//! - [`protect`]: passwords kept from the commands of handlers
//! - [`settings`]: the environment, and values in `drumline.toml`
//!
//! Names and meanings of settings are not here, nor is a runtime or a log: the
//! binary has a command line, and a user's program has its own.

mod protection;
mod servers;
pub mod settings;
mod signals;

use std::error::Error;

pub use protection::protect;
pub use servers::{ConnectError, Servers};
pub use signals::{Interrupted, Signals};

/// Returns the name of this process for people, of host name and process id:
/// the default of `hostId`, and a part of the connection's name in RabbitMQ.
#[must_use]
pub fn host_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_no_proc| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_else(|_unknown| "host".to_owned());
    format!("{}-{}", host.trim(), std::process::id())
}

/// Returns a URL without its password and its query. Everything before the last `@` is
/// taken for a user and a password, so that a character that ought to be escaped in a
/// password shows nothing of it.
#[must_use]
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Not a URL, and perhaps a password.
        return "…".to_owned();
    };
    let without_query = |text: &str| {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        text.get(..end).unwrap_or_default().to_owned()
    };
    match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split([':', '/', '?', '#', '@', ',']).next();
            let (user, place) = (user.unwrap_or_default(), without_query(place));
            format!("{scheme}://{user}:***@{place}")
        }
        None => format!("{scheme}://{}", without_query(rest)),
    }
}

/// Returns the text of an error and of its causes. Many errors repeat their
/// cause, which is left out here.
pub fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_password_is_shown() {
        for (url, shown) in [
            ("redis://host:1/2", "redis://host:1/2"),
            (
                "redis://me:hush@host:1/2?password=hush",
                "redis://me:***@host:1/2",
            ),
            ("redis://:hu?sh@host", "redis://:***@host"),
            ("redis://me:hu/sh@host/1", "redis://me:***@host/1"),
            ("redis://me:hu#sh@sh@host", "redis://me:***@host"),
            ("redis://me:hu%2Fsh@host", "redis://me:***@host"),
            (
                "amqp://a:hush@one/v,amqp://b:hush@other/v",
                "amqp://a:***@other/v",
            ),
            ("amqps://rabbit/%2f#hush", "amqps://rabbit/%2f"),
            ("me:hush@host", "…"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
