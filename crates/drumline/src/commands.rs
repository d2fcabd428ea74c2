//! The commands that talk to a queue manager: one file each.

pub(crate) mod bulk;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod execute;
mod filter;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod postpone;
pub(crate) mod purge;
mod settle;
pub(crate) mod submit;
pub(crate) mod update;
pub(crate) mod wait;

use std::time::Duration;

use drumline_client::Client;
use uuid::Uuid;

use crate::cli::client::Remote;
use crate::exit::Result;
use crate::output::Output;
use crate::output::time::Now;

/// How long a command repeats what may be repeated. A restart of a queue
/// manager, or a fail-over behind it, takes less.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client command works with.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The queue manager. Asks once: a person at a prompt repeats a command
    /// faster than they would wait for it.
    pub(crate) client: Client,
    /// Where answers go.
    pub(crate) out: Output,
    /// See [`Caller::parent`].
    pub(crate) parent: Option<Uuid>,
}

/// What a command inherits from whoever started it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The time at the start.
    pub(crate) now: Now,
    /// The trace that it is part of: a command handler finds one in its
    /// environment, and what it submits belongs to it.
    pub(crate) traceparent: Option<String>,
    /// The operation whose command handler started us: what we submit is its
    /// child, so that operations that create each other without end are found.
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
        let client = builder.build()?;
        Ok(Self {
            client,
            out: Output::new(remote.output.output, caller.now),
            parent: caller.parent,
        })
    }

    /// The queue manager, asked again while it is away: for what takes long
    /// anyway, or runs where nobody watches.
    pub(crate) fn patient(&self) -> Client {
        self.client.with_patience(PATIENCE)
    }

    /// The same, once the queue manager has answered: a wrong address is told at
    /// once, not after all patience.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn reached(&self) -> Result<Client> {
        self.client.ready().await?;
        Ok(self.patient())
    }
}
