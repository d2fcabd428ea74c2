//! `drumline get`: operations, with all their attributes.

use super::Session;
use crate::cli::client::Get;
use crate::exit::{Exit, Result};

/// Shows each operation; ends with the first error.
pub(crate) async fn run(session: &Session, get: &Get) -> Result<Exit> {
    for (index, id) in get.ids.iter().enumerate() {
        let explained = session.client.get_explained(id).await?;
        if index > 0 && !session.out.is_json() {
            session.out.line("")?;
        }
        session.out.explained(&explained)?;
    }
    Ok(Exit::Ok)
}
