//! `drumline whoami`: who the queue manager takes this caller for.

use super::Session;
use crate::exit::{Exit, Result};

/// Asks, and shows the answer.
pub(crate) async fn run(session: &Session) -> Result<Exit> {
    let who = session.client.whoami().await?;
    if session.out.is_json() {
        session.out.json(&who)?;
        return Ok(Exit::Ok);
    }
    let key = who.key_id.as_deref().unwrap_or("none");
    let lines = [
        ("caller", who.caller.clone()),
        ("organization", who.organization.clone()),
        ("key", key.to_owned()),
        ("roles", who.roles.join(", ")),
        ("may act in", who.organizations.join(", ")),
        (
            "expires",
            who.expires_on.clone().unwrap_or_else(|| "never".to_owned()),
        ),
    ];
    // Without keys there is nothing to tell but the names.
    let shown = if who.authenticated { lines.len() } else { 2 };
    for (name, value) in lines.into_iter().take(shown) {
        session.out.line(&format!("{name:<14}{value}"))?;
    }
    if !who.authenticated {
        session
            .out
            .line("This service has no keys: callers name themselves, and may do everything.")?;
    }
    Ok(Exit::Ok)
}
