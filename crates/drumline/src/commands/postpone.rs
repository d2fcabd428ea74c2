//! `drumline postpone`: until a time, or for a span.

use drumline_protocol::Action;
use serde_json::json;

use super::{Session, control};
use crate::cli::client::Postpone;
use crate::exit::{Exit, Result};
use crate::output::time::rfc3339;

/// Postpones every operation.
pub(crate) async fn run(session: &Session, postpone: &Postpone) -> Result<Exit> {
    // The grammar asks for one of the two.
    let until = postpone
        .until
        .unwrap_or_else(|| session.out.now().later(postpone.in_.unwrap_or_default()));
    let body = json!({ "postponeUntil": rfc3339(until) });
    control::run(session, &postpone.ids, Action::Postpone, Some(&body)).await
}
