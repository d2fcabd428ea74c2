//! `drumline list`: a table, or one JSON object per line; follows the cursor
//! as far as the limit goes.

use super::Session;
use crate::cli::client::{Filter, List};
use crate::cli::values::Since;
use crate::exit::{Exit, Result};
use crate::output::operation::{HEADINGS, row};
use crate::output::table::{self, table};
use crate::output::time::{Now, rfc3339};

/// Operations asked for in one request.
const PAGE: usize = 200;

/// Lists.
pub(crate) async fn run(session: &Session, list: &List) -> Result<Exit> {
    let conditions = query(&list.filter, session.out.now());
    let limit = match list.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let mut rows = table(&HEADINGS);
    let mut shown = 0;
    let mut cursor = None;
    loop {
        let mut query = conditions.clone();
        query.push(("limit", PAGE.min(limit - shown).to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page = session.client.list(&query).await?;
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
    if !session.out.is_json() {
        match shown {
            0 => crate::output::hint("no operations"),
            _ => session.out.line(&table::text(rows))?,
        }
        if cursor.is_some() {
            crate::output::hint(&format!("the newest {shown}; more with --limit"));
        }
    }
    Ok(Exit::Ok)
}

/// The conditions as the API wants them.
fn query(filter: &Filter, now: Now) -> Vec<(&'static str, String)> {
    let Filter {
        state,
        status,
        message,
        name,
        token,
        operation_type,
        correlation_id,
        created_after,
    } = filter;
    let created_after = created_after.map(|since| match since {
        Since::Time(time) => time,
        Since::Ago(span) => now.earlier(span),
    });
    [
        ("state", state.map(|state| state.code().to_string())),
        ("status", status.map(|status| status.code().to_string())),
        ("messageName", message.clone()),
        ("name", name.clone()),
        ("dependencyToken", token.clone()),
        (
            "operationType",
            operation_type.map(|number| number.to_string()),
        ),
        ("correlationId", correlation_id.map(|id| id.to_string())),
        ("createdAfter", created_after.map(rfc3339)),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.map(|value| (key, value)))
    .collect()
}
