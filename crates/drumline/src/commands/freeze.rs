//! `drumline freeze` and `drumline thaw`: nothing starts any more, in any
//! organization, until the service is thawed.

use serde_json::json;

use super::Session;
use crate::cli::control::Freeze;
use crate::exit::{Exit, Result};

/// Freezes the service.
pub(crate) async fn freeze(session: &Session, args: &Freeze) -> Result<Exit> {
    let until = session.end_of(args.until, args.for_);
    let client = session.reached().await?;
    let set = client.freeze(args.reason.as_deref(), until).await?;
    if session.out.is_json() {
        session.out.json(&set)?;
    } else {
        session
            .out
            .line("frozen: nothing starts until `drumline thaw`; what runs goes on")?;
    }
    Ok(Exit::Ok)
}

/// Thaws the service.
pub(crate) async fn thaw(session: &Session) -> Result<Exit> {
    session.client.thaw().await?;
    if session.out.is_json() {
        session.out.json(&json!({ "thawed": true }))?;
    } else {
        session.out.line("thawed: what waited goes on")?;
    }
    Ok(Exit::Ok)
}
