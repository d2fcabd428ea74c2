//! The commands that talk to a queue manager: one file each.

pub(crate) mod actions;
pub(crate) mod attempts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bulk;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod execute;
pub(crate) mod explain;
pub(crate) mod freeze;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod list;
mod paging;
pub(crate) mod pauses;
pub(crate) mod postpone;
pub(crate) mod purge;
pub(crate) mod quotas;
pub(crate) mod run_again;
mod settle;
pub(crate) mod stats;
pub(crate) mod submit;
pub(crate) mod top;
pub(crate) mod update;
pub(crate) mod wait;
pub(crate) mod whoami;
pub(crate) mod workers;

use std::time::Duration;

use chrono::{DateTime, Utc};
use drumline_client::Client;
use drumline_protocol::Timestamp;
use uuid::Uuid;

use crate::cli::client::Remote;
use crate::cli::values::timestamp;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::output::time::Now;

/// The time for which a command repeats requests that may be repeated. A
/// restart of a queue manager, or a fail-over behind it, takes less.
const PATIENCE: Duration = Duration::from_secs(30);

/// The surroundings of a client command.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The queue manager. The client asks once: a person at a prompt repeats a
    /// command faster than they would wait for it.
    pub(crate) client: Client,
    /// The output for answers.
    pub(crate) out: Output,
    /// The parent of created operations, as [`Caller::parent`].
    pub(crate) parent: Option<Uuid>,
}

/// The values that a command inherits from the process that started it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The time at the start.
    pub(crate) now: Now,
    /// The trace that the command is part of: a command handler finds one in
    /// its environment, and the operations that it submits belong to that
    /// trace.
    pub(crate) traceparent: Option<String>,
    /// The operation whose command handler started this process. Operations
    /// that it submits are children, so that endless creation is found.
    pub(crate) parent: Option<Uuid>,
}

impl Session {
    /// A session with the server that the flags name.
    ///
    /// # Errors
    /// When TLS cannot be set up, or a name cannot be sent.
    pub(crate) fn open(remote: &Remote, caller: &Caller) -> Result<Self> {
        let mut builder = Client::builder(remote.server.as_str())
            .user_agent(concat!("drumline/", env!("CARGO_PKG_VERSION")))
            .timeout(remote.request_timeout)
            .patience(Duration::ZERO);
        if let Some(traceparent) = &caller.traceparent {
            builder = builder.traceparent(traceparent);
        }
        if let Some(organization) = &remote.organization {
            builder = builder.organization(organization);
        }
        if let Some(name) = &remote.caller {
            builder = builder.caller(name);
        }
        if let Some(key) = api_key(remote)? {
            builder = builder.api_key(key);
        }
        let client = remote.tls.apply(builder)?.build()?;
        Ok(Self {
            client,
            out: Output::new(remote.output.output, caller.now),
            parent: caller.parent,
        })
    }

    /// The end that the flags of a pause name: a time, or a span from now on.
    pub(crate) fn end_of(
        &self,
        until: Option<DateTime<Utc>>,
        span: Option<Duration>,
    ) -> Option<Timestamp> {
        let later = span.map(|span| self.out.now().later(span));
        until.or(later).map(timestamp)
    }

    /// The queue manager, asked again while it is unavailable: for commands
    /// that take long anyway, or run unattended.
    pub(crate) fn patient(&self) -> Client {
        self.client.with_patience(PATIENCE)
    }

    /// The same, once the queue manager has answered: a wrong address is
    /// reported at once, not after all patience.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn reached(&self) -> Result<Client> {
        self.client.ready().await?;
        Ok(self.patient())
    }
}

/// The key that the caller sends.
///
/// # Errors
/// When its file cannot be read.
fn api_key(remote: &Remote) -> Result<Option<String>> {
    if let Some(key) = &remote.api_key {
        return Ok(Some(key.0.trim().to_owned()));
    }
    let Some(path) = &remote.api_key_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let text = format!("--api-key-file {}: {error}", path.display());
        Failure::new(Exit::Usage, text)
    })?;
    Ok(Some(text.trim().to_owned()))
}
