//! `drumline postpone`: until a time, or for a span.

use drumline_client::BulkAction;

use super::{Session, control};
use crate::cli::control::Postpone;
use crate::cli::values::timestamp;
use crate::exit::{Exit, Result};

/// Postpones every operation.
pub(crate) async fn run(session: &Session, postpone: &Postpone) -> Result<Exit> {
    // The grammar requires one of the two.
    let until = postpone
        .until
        .unwrap_or_else(|| session.out.now().later(postpone.in_.unwrap_or_default()));
    let action = BulkAction::Postpone(timestamp(until));
    control::run(session, &postpone.ids, &postpone.selection, action).await
}
