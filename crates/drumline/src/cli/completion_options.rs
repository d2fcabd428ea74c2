//! Flags about the ends of operations: their consequences, the time that they
//! are kept, and webhooks.

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use super::attributes::OnTrouble;
use super::values;

/// What happens after operations have ended.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "After completion")]
pub(crate) struct CompletionOptions {
    /// Token policy of operations that name none: what follows when an operation with a token fails or is cancelled
    #[arg(
        long,
        env = "DRUMLINE_TOKEN_POLICY",
        value_name = "POLICY",
        default_value = "continue"
    )]
    pub(crate) token_policy: OnTrouble,
    /// Age at which Succeeded operations are removed; `never` keeps them
    #[arg(
        long,
        env = "DRUMLINE_REMOVE_SUCCEEDED_AFTER",
        value_name = "SPAN",
        default_value = "30d",
        value_parser = values::removal
    )]
    pub(crate) remove_succeeded_after: values::Removal,
    /// Age at which Failed and Canceled operations are removed; `never` keeps them
    #[arg(
        long,
        env = "DRUMLINE_REMOVE_FAILED_AFTER",
        value_name = "SPAN",
        default_value = "90d",
        value_parser = values::removal
    )]
    pub(crate) remove_failed_after: values::Removal,
    /// Age at which Succeeded operations with `retainJobHistory: false` are removed; 0s removes them at once [default: like other Succeeded operations]
    #[arg(
        long,
        env = "DRUMLINE_REMOVE_TRANSIENT_AFTER",
        value_name = "SPAN",
        value_parser = values::duration
    )]
    pub(crate) remove_transient_after: Option<Duration>,
    /// Bytes that Completed operations may take, all together; beyond them the oldest are removed early; 0 sets no limit
    #[arg(
        long,
        env = "DRUMLINE_MAX_COMPLETED_BYTES",
        value_name = "BYTES",
        default_value = "0"
    )]
    pub(crate) max_completed_bytes: u64,
    /// Secret that signs webhooks, whsec_…; separate several with commas, to change it; without one, webhooks are refused
    // Text that is read later: a faulty secret must not be shown.
    #[arg(
        long,
        env = "DRUMLINE_WEBHOOK_SECRET",
        hide_env_values = true,
        // The value in the file is a default, too.
        hide_default_value = true,
        value_name = "SECRET"
    )]
    pub(crate) webhook_secret: Option<values::Hidden>,
    /// Allow webhooks to loopback and private addresses
    #[arg(
        long,
        env = "DRUMLINE_WEBHOOK_ALLOW_PRIVATE",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        value_parser = BoolishValueParser::new()
    )]
    pub(crate) webhook_allow_private: bool,
}
