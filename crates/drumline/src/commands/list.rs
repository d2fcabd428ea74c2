//! `drumline list`: a table, or one JSON object per line; follows the cursor
//! as far as the limit goes.

use drumline_client::{OperationView, Paging};

use super::Session;
use super::paging::{self, Listed};
use crate::cli::client::List;
use crate::exit::{Exit, Result};
use crate::output::operation::{HEADINGS, row};
use crate::output::table::table;

/// Operations asked for in one request.
const PAGE: usize = 200;

/// Lists.
pub(crate) async fn run(session: &Session, list: &List) -> Result<Exit> {
    let filter = list.filter.conditions(session.out.now());
    let mut rows = table(&HEADINGS);
    let listed = paging::list(
        list.limit,
        PAGE,
        async |paging: Paging| {
            let page = session.client.list(&filter, &paging).await?;
            Ok((page.operations, page.next_cursor))
        },
        |operation: &OperationView| {
            if session.out.is_json() {
                session.out.json(operation)?;
            } else {
                rows.add_row(row(operation, session.out.now()));
            }
            Ok(())
        },
    );
    let Listed { shown, has_more } = listed.await?;
    session
        .out
        .end_of_list("operations", shown, &rows, has_more)?;
    Ok(Exit::Ok)
}
