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
pub use settings::masked;
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
