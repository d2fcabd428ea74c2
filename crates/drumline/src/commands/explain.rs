//! `drumline explain`: why operations do not run, or do not end.

use serde_json::json;

use super::Session;
use crate::cli::client::Explain;
use crate::exit::{Exit, Result};

/// Explains each operation, in one line; ends with the first error.
pub(crate) async fn run(session: &Session, explain: &Explain) -> Result<Exit> {
    for id in &explain.ids {
        let explained = session.client.get_explained(id).await?;
        if session.out.is_json() {
            let operation = &explained.operation;
            session.out.json(&json!({
                "id": operation.id,
                "state": operation.state,
                "status": operation.status,
                "waitingFor": explained.waiting_for,
            }))?;
            continue;
        }
        session.out.explanation(&explained)?;
    }
    Ok(Exit::Ok)
}
