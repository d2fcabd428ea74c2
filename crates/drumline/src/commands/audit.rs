//! `drumline audit`: who has asked for which change, and who was denied.

use drumline_client::{AuditEntry, AuditFilter, Paging};

use super::Session;
use super::paging::{self, Listed};
use crate::cli::client::Audit;
use crate::cli::values::{Since, timestamp};
use crate::exit::{Exit, Result};
use crate::output::table::table;

/// Entries asked for in one request.
const PAGE: usize = 200;
/// Ids that a row of the table has.
const IDS: usize = 2;

/// Lists.
pub(crate) async fn run(session: &Session, args: &Audit) -> Result<Exit> {
    let time = |since: Since| match since {
        Since::Time(time) => timestamp(time),
        Since::Ago(span) => timestamp(session.out.now().earlier(span)),
    };
    let filter = AuditFilter {
        who: args.who.clone(),
        action: args.action.clone(),
        id: args.id.clone(),
        organization: args.of.clone(),
        outcome: args.outcome.clone(),
        since: args.since.map(time),
        until: args.until.map(time),
    };
    let mut rows = table(&["TIME", "BY", "ORGANIZATION", "ACTION", "OUTCOME", "ABOUT"]);
    let listed = paging::list(
        args.limit,
        PAGE,
        async |paging: Paging| {
            let page = session.client.audit(&filter, &paging).await?;
            Ok((page.entries, page.next_cursor))
        },
        |entry: &AuditEntry| {
            if session.out.is_json() {
                session.out.json(entry)?;
            } else {
                rows.add_row(row(entry, session));
            }
            Ok(())
        },
    );
    let Listed { shown, has_more } = listed.await?;
    session.out.end_of_list("entries", shown, &rows, has_more)?;
    Ok(Exit::Ok)
}

fn row(entry: &AuditEntry, session: &Session) -> [String; 6] {
    let AuditEntry {
        time,
        action,
        outcome,
        principal,
        organization,
        caller,
        reason,
        ids,
        count,
        others: _,
    } = entry;
    let by = caller.as_ref().or(principal.as_ref()).cloned();
    let mut about: Vec<String> = ids.iter().take(IDS).cloned().collect();
    if ids.len() > IDS {
        about.push("…".to_owned());
    }
    about.extend(count.map(|count| format!("{count} in all")));
    about.extend(reason.clone());
    [
        session.out.now().tell(time),
        by.unwrap_or_else(|| "not known".to_owned()),
        organization.clone().unwrap_or_default(),
        action.clone(),
        outcome.clone(),
        about.join(" "),
    ]
}
