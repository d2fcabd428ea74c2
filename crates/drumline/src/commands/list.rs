//! `drumline list`: a table, or one JSON object per line; follows the cursor
//! as far as the limit goes.

use drumline_client::Paging;

use super::Session;
use crate::cli::client::List;
use crate::exit::{Exit, Result};
use crate::output::operation::{HEADINGS, row};
use crate::output::table::table;

/// Operations asked for in one request.
const PAGE: usize = 200;

/// Lists.
pub(crate) async fn run(session: &Session, list: &List) -> Result<Exit> {
    let filter = list.filter.conditions(session.out.now());
    let limit = match list.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let mut rows = table(&HEADINGS);
    let mut shown = 0;
    let mut cursor = None;
    loop {
        let paging = Paging {
            limit: Some(PAGE.min(limit - shown)),
            cursor,
        };
        let page = session.client.list(&filter, &paging).await?;
        for operation in page.operations.iter().take(limit - shown) {
            shown += 1;
            if session.out.is_json() {
                session.out.json(operation)?;
            } else {
                rows.add_row(row(operation, session.out.now()));
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() || shown >= limit {
            break;
        }
    }
    let has_more = cursor.is_some();
    session
        .out
        .end_of_list("operations", shown, &rows, has_more)?;
    Ok(Exit::Ok)
}
