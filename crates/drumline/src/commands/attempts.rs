//! `drumline attempts`: the starts of handlers, and what they have printed.

use serde_json::json;

use super::Session;
use crate::cli::client::Attempts;
use crate::exit::{Exit, Result};
use crate::output::attempts;

/// Shows the attempts of each operation; ends with the first error.
pub(crate) async fn run(session: &Session, args: &Attempts) -> Result<Exit> {
    for (index, id) in args.ids.iter().enumerate() {
        let mut found = session.client.attempts(id).await?;
        if args.last {
            let earlier = found.attempts.len().saturating_sub(1);
            found.attempts.drain(..earlier);
            found.omitted += u64::try_from(earlier).unwrap_or(u64::MAX);
        }
        if session.out.is_json() {
            let (attempts, omitted) = (&found.attempts, found.omitted);
            let value = json!({ "id": id, "attempts": attempts, "omitted": omitted });
            session.out.json(&value)?;
            continue;
        }
        if index > 0 {
            session.out.line("")?;
        }
        if args.ids.len() > 1 {
            session.out.line(id)?;
        }
        session.out.line(&attempts::text(&found, args.last))?;
    }
    Ok(Exit::Ok)
}
