//! The commands that talk to a queue manager: one file each.

pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod postpone;
pub(crate) mod submit;
pub(crate) mod wait;

use uuid::Uuid;

use crate::cli::client::Remote;
use crate::client::Client;
use crate::exit::Result;
use crate::output::Output;
use crate::output::time::Now;

/// What a client command works with.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The queue manager.
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
    /// When TLS cannot be set up.
    pub(crate) fn open(remote: &Remote, caller: &Caller) -> Result<Self> {
        let client = Client::new(
            remote.server.clone(),
            remote.request_timeout,
            caller.traceparent.as_deref(),
        )?;
        Ok(Self {
            client,
            out: Output::new(remote.output.output, caller.now),
            parent: caller.parent,
        })
    }
}
