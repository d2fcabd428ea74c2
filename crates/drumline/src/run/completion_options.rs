//! The settings about the ends of operations, in the manager's types.

use std::num::NonZeroU64;

use drumline_protocol::TokenPolicy;
use drumline_queue_manager::maintenance::{MaintenanceOptions, Retention};
use drumline_queue_manager::webhook::{BadSecret, Secret, Webhooks};

use crate::cli::attributes::OnTrouble;
use crate::cli::completion_options::CompletionOptions;
use crate::cli::limits::Limits;
use crate::exit::{Exit, Failure, Result};

/// The policy of a chain whose head fails or is cancelled.
pub(crate) const fn token_policy(options: &CompletionOptions) -> TokenPolicy {
    match options.token_policy {
        OnTrouble::Continue => TokenPolicy::Continue,
        OnTrouble::Hold => TokenPolicy::Hold,
    }
}

/// The options of maintenance: the time that Completed operations and unused queues are
/// kept.
pub(crate) fn maintenance(options: &CompletionOptions, limits: &Limits) -> MaintenanceOptions {
    let succeeded = options.remove_succeeded_after.0;
    MaintenanceOptions {
        keep: Retention {
            succeeded,
            unsuccessful: options.remove_failed_after.0,
            transient: options.remove_transient_after.or(succeeded),
            completed_bytes: NonZeroU64::new(options.max_completed_bytes),
            ..Retention::default()
        },
        forget_queues: limits.forget_queues_after.0,
        ..MaintenanceOptions::default()
    }
}

/// The options of webhooks.
///
/// # Errors
/// When a secret is not valid. The message does not name the secret, which may
/// be nearly right.
pub(crate) fn webhooks(options: &CompletionOptions) -> Result<Webhooks> {
    let given = options.webhook_secret.as_ref();
    let given = given.map_or("", |given| given.0.as_str());
    let texts = given.split(',').map(str::trim);
    let secrets: std::result::Result<Vec<Secret>, BadSecret> = texts
        .filter(|text| !text.is_empty())
        .map(str::parse)
        .collect();
    let secrets = secrets.map_err(|error| {
        let what = format!("--webhook-secret (DRUMLINE_WEBHOOK_SECRET): {error}");
        Failure::new(Exit::Usage, what)
    })?;
    Ok(Webhooks {
        secrets,
        allow_private: options.webhook_allow_private,
        ..Webhooks::default()
    })
}
