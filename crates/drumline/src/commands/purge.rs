//! `drumline purge`: removes operations that were Completed long ago.

use drumline_client::{BulkAction, Filter};

use super::{Session, bulk};
use crate::cli::control::Purge;
use crate::cli::values::timestamp;
use crate::exit::{Exit, Result};

/// Purges.
pub(crate) async fn run(session: &Session, purge: &Purge) -> Result<Exit> {
    let before = session.out.now().earlier(purge.older_than);
    let mut filter = Filter::new().completed_before(timestamp(before));
    if let Some(status) = purge.status {
        filter = filter.status(status);
    }
    if let Some(message) = &purge.message {
        filter = filter.message_name(message);
    }
    if let Some(token) = &purge.token {
        filter = filter.token(token);
    }
    let delete = session.reached().await?.bulk(BulkAction::Delete, filter);
    bulk::run(session, delete, BulkAction::Delete, purge.consent).await
}
