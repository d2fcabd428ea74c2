//! `drumline history`: all that has happened to operations.

use serde_json::json;

use super::Session;
use crate::cli::client::History;
use crate::exit::{Exit, Result};
use crate::output::history;

/// Shows the history of each operation; ends with the first error.
pub(crate) async fn run(session: &Session, args: &History) -> Result<Exit> {
    for (index, id) in args.ids.iter().enumerate() {
        let found = session.client.history(id).await?;
        if session.out.is_json() {
            let (entries, omitted) = (&found.entries, found.omitted);
            let value = json!({ "id": id, "entries": entries, "omitted": omitted });
            session.out.json(&value)?;
            continue;
        }
        if index > 0 {
            session.out.line("")?;
        }
        if args.ids.len() > 1 {
            session.out.line(id)?;
        }
        session.out.line(&history::text(&found))?;
    }
    Ok(Exit::Ok)
}
