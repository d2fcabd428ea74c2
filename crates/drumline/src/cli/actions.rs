//! Flags of `drumline actions`, and of the commands that start an action.

use clap::{Args, ValueEnum};

use super::client::Remote;

pub(crate) const ACTIONS_HELP: &str = "\
An action on many operations that a command has started with --why is executed by the service, page by page. It goes on \
when the command or a queue manager ends.

Examples:
  drumline cancel --message SendMail --why 'sent by mistake' --detach
  drumline actions                                 the latest ones, with their numbers
  drumline actions show 019a9c1e-…
  drumline actions abort 019a9c1e-…                what was done stays done";

/// `drumline actions`.
#[derive(Debug, Args)]
pub(crate) struct Actions {
    /// List the latest ones, show some, or abort some
    #[arg(value_enum, default_value = "list", value_name = "list|show|abort")]
    pub(crate) verb: Verb,
    /// Ids of actions, to show or to abort
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Number of actions of the list
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The use of `drumline actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verb {
    /// The latest ones
    List,
    /// Some, by id
    Show,
    /// End some, by id
    Abort,
}

/// The service executes the action by itself.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Lasting {
    /// Let the service do it by itself, for this reason, and show the progress
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: Option<String>,
    /// With --why: do not wait for the end
    #[arg(long, requires = "why")]
    pub(crate) detach: bool,
}
