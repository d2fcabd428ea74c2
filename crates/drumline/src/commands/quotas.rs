//! `drumline quotas`: what the organization has in the store, and what it may have.

use super::Session;
use crate::exit::{Exit, Result};
use crate::output::table::table;

/// Asks, and shows the answer.
pub(crate) async fn run(session: &Session) -> Result<Exit> {
    let found = session.client.quotas().await?;
    if session.out.is_json() {
        session.out.json(&found)?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(&["QUOTA", "USED", "LIMIT"]);
    for one in &found.quotas {
        let limit = one
            .limit
            .map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        rows.add_row([one.name.clone(), one.used.to_string(), limit]);
    }
    session.out.line(&rows.text())?;
    Ok(Exit::Ok)
}
