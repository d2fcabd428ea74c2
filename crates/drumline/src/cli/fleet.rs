//! Flags of `drumline workers`.

use clap::{Args, ValueEnum};

use super::client::Remote;

pub(crate) const WORKERS_HELP: &str = "\
A worker that drains takes nothing new, and runs what it has to its end. Its process goes on until it is stopped; one that \
is started again takes work. With keys, to drain needs the role operator in all organizations.

Examples:
  drumline workers
  drumline workers drain 019a9c1e-…                before its machine is stopped
  drumline workers -o json | jq -r 'select(.draining).host'";

/// `drumline workers`.
#[derive(Debug, Args)]
pub(crate) struct Workers {
    /// List those that are alive, or drain some
    #[arg(value_enum, default_value = "list", value_name = "list|drain")]
    pub(crate) verb: Verb,
    /// Ids of workers, to drain
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The use of `drumline workers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verb {
    /// Those that are alive
    List,
    /// Let some take nothing new, by id
    Drain,
}
