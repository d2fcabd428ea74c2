//! Flags of `drumline key`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use drumline_auth::Role;

use super::client::Output;
use super::values;

pub(crate) const KEY_HELP: &str = "\
The file has hashes only. A key is shown once, when it is made: keep it. Queue managers that run with --auth-file read the file \
again when it changes, so a new key is in force, and a revoked one refused, within five seconds.

Roles: reader sees the operations of its organizations; producer creates and controls single ones, too; operator does \
everything to many and sees workers and queues; admin may do everything; metrics sees metrics, workers and queues, and no operation.

Examples:
  drumline key create --org contoso --role producer --caller orders --expires 180d
  drumline key create --org '*' --role operator --caller jo
  drumline key rotate k7f3q2ab                     makes a second secret; the first stays valid
  drumline key rotate k7f3q2ab --finish            forgets the first one
  drumline key revoke k7f3q2ab";

/// `drumline key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// TOML file with the keys; made if it does not exist
    #[arg(
        long,
        global = true,
        env = "DRUMLINE_AUTH_FILE",
        value_name = "FILE",
        default_value = "auth.toml"
    )]
    pub(crate) auth_file: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

/// A change of the keys, or a look at them.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key, and show it once
    Create(CreateKey),
    /// Make a second secret for a key, and show it once
    Rotate {
        /// Id of the key
        id: String,
        /// Forget all but the newest secret instead
        #[arg(long)]
        finish: bool,
    },
    /// Remove a key
    Revoke {
        /// Id of the key
        id: String,
    },
    /// Show the keys, without their secrets
    List,
}

/// `drumline key create`.
#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Organization that the key may act in; repeat it for several, * for all
    #[arg(long = "org", value_name = "NAME", required = true)]
    pub(crate) organizations: Vec<String>,
    /// Role; repeat it for several
    #[arg(long = "role", value_name = "ROLE", required = true, value_parser = role)]
    pub(crate) roles: Vec<Role>,
    /// Name that owns what the key creates
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) caller: String,
    /// Time after which the key is refused, such as 180d [default: never]
    #[arg(long, value_name = "SPAN", value_parser = values::positive_duration)]
    pub(crate) expires: Option<Duration>,
    /// Let the key name other callers in Drumline-Caller: for a gateway that authenticates people
    #[arg(long)]
    pub(crate) may_act_for: bool,
}

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or_else(|| {
        let known = Role::ALL.map(Role::name);
        format!("expected one of {}", known.join(", "))
    })
}
