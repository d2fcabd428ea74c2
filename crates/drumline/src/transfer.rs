//! `drumline export` and `drumline import`: the operations of a store as lines of JSON,
//! for moving to another Redis, or from one durable process to Redis and back.
//!
//! ```text
//! store ─→ head, pauses, operations, end ─→ file ─→ parked ─ commit ─→ other store
//! ```
//!
//! Both work on the store itself, while no queue manager and no worker does. So nothing
//! changes between the first line and the last, and an operation that is half imported
//! is seen by no one else.

mod export;
mod import;
mod line;

use std::io::BufRead;

use drumline_backend::Random;
use drumline_backend::store::{self, Import};
use drumline_protocol::text::counted;

use crate::cli::service::Servers;
use crate::cli::tools;
use crate::exit::{Exit, Failure, Result};
use crate::output::time::Now;
use crate::output::{self, Output};
use crate::run::backend::at_rest::AtRest;

/// The operations between two lines about the progress.
const PROGRESS: u64 = 10_000;

/// Writes the operations of the store to standard output.
pub(crate) async fn export(export: &tools::Export, now: Now) -> Result<Exit> {
    let out = Output::new(crate::cli::values::Format::Json, now);
    let at_rest = AtRest::existing(&export.servers, export.data.as_deref(), "export").await?;
    let exported = export_from(&at_rest, export, out).await;
    at_rest.close().await;
    exported
}

async fn export_from(at_rest: &AtRest, export: &tools::Export, out: Output) -> Result<Exit> {
    let store = at_rest.store();
    check_alone(at_rest, export.ignore_members, &export.servers).await?;
    let wanted = export::Wanted {
        organization: export.organization.clone(),
        history: export.history,
        id: Some(Random::from_entropy().uuid().to_string()),
    };
    let counts = store.counts().await.map_err(of_store)?;
    let still_alone = async || {
        check_alone(at_rest, export.ignore_members, &export.servers).await?;
        // A process may have come and gone.
        if store.counts().await.map_err(of_store)? == counts {
            Ok(())
        } else {
            Err(export::changed(
                "operations have come, gone or changed their states",
            ))
        }
    };
    let mut emit = |line: &line::Line| out.json(line).map_err(Failure::from);
    let mut progress = told("exported");
    let exporting = export::run(store, &wanted, &mut emit, &mut progress, still_alone);
    let totals = exporting.await?;
    output::hint(&format!(
        "exported {} and {}",
        counted(totals.operations, "operation", "operations"),
        counted(totals.pauses, "pause", "pauses")
    ));
    if totals.left_out == 0 {
        return Ok(Exit::Ok);
    }
    let text = format!(
        "{} not exported, because this release cannot decode what they hold, among them {}\n  what to do: export with \
         the release that has written them",
        counted(totals.left_out, "record was", "records were"),
        store.unreadable().join(", ")
    );
    Err(Failure::new(Exit::Failed, text))
}

/// Stores the operations of a file from standard input.
pub(crate) async fn import(import: &tools::Import) -> Result<Exit> {
    if import.give_up {
        return give_up(import).await;
    }
    let mut lines = line::Lines::new(std::io::stdin().lock());
    let head = lines.head()?;
    let data = import.data.as_deref();
    let at_rest = AtRest::with_partitions(&import.servers, data, head.partitions).await?;
    let imported = import_into(&at_rest, import, &head, lines).await;
    at_rest.close().await;
    let imported = imported?;
    output::hint(&format!(
        "imported {}, {} of which were running and are Ready again, suspended or ended; {} were there \
         already; {}",
        counted(imported.new, "operation", "operations"),
        imported.were_running,
        imported.known,
        counted(imported.pauses, "pause", "pauses")
    ));
    if imported.foreign.is_empty() {
        return Ok(Exit::Ok);
    }
    let shown: Vec<String> = imported.foreign.iter().map(ToString::to_string).collect();
    let text = format!(
        "{} not imported, because others with their ids are there: {}{}\n  what to do: import into a namespace or a \
         folder of its own (--namespace, --data)",
        counted(imported.refused as u64, "operation was", "operations were"),
        shown.join(", "),
        if imported.refused > imported.foreign.len() {
            ", …"
        } else {
            ""
        }
    );
    Err(Failure::new(Exit::Refused, text))
}

/// Takes the imports that have not come to their end for done.
async fn give_up(import: &tools::Import) -> Result<Exit> {
    let data = import.data.as_deref();
    let at_rest = AtRest::existing(&import.servers, data, "give up").await?;
    let given_up = give_up_in(&at_rest, import).await;
    at_rest.close().await;
    let given_up = given_up?;
    output::hint(&format!(
        "{} given up",
        counted(given_up, "import was", "imports were")
    ));
    Ok(Exit::Ok)
}

async fn give_up_in(at_rest: &AtRest, import: &tools::Import) -> Result<u64> {
    check_alone(at_rest, import.ignore_members, &import.servers).await?;
    let imports = at_rest.imports().imports().await.map_err(of_store)?;
    let mut given_up = 0;
    for open in imports.into_iter().filter(|import| !import.is_done) {
        let done = Import {
            is_done: true,
            since: at_rest.store().now().to_string(),
            ..open
        };
        let noted = at_rest.imports().note_import(&done).await;
        noted.map_err(of_store)?;
        given_up += 1;
    }
    Ok(given_up)
}

async fn import_into(
    at_rest: &AtRest,
    import: &tools::Import,
    head: &line::Head,
    lines: line::Lines<impl BufRead>,
) -> Result<import::Imported> {
    check_alone(at_rest, import.ignore_members, &import.servers).await?;
    import::check_partitions(at_rest.store(), head)?;
    begin(at_rest, head, import.again).await?;
    let imported = import::run(at_rest.store(), lines, &mut told("read")).await?;
    // Also if others have the ids of some: to repeat it would change nothing.
    note(at_rest, head, true).await?;
    Ok(imported)
}

/// Notes in the store that an import begins: until it is done, operations may be
/// suspended that were not when they were exported. One that is done is not repeated:
/// what was removed since would be there again.
async fn begin(at_rest: &AtRest, head: &line::Head, again: bool) -> Result<()> {
    let Some(id) = &head.id else {
        if let AtRest::Folder(_) = at_rest {
            let text = "the export has no name, so that an import of a part of it could not be noted\n  what to do: export \
                 once more, with this release";
            return Err(Failure::new(Exit::Data, text));
        }
        return Ok(());
    };
    let imports = at_rest.imports().imports().await.map_err(of_store)?;
    let before = imports.iter().find(|import| import.id == *id);
    match before {
        Some(import) if import.is_done && !again => {
            let text = format!(
                "this export was imported to its end before {}: a repetition would create again what was removed since\n  \
                 what to do: add --again if that is meant",
                import.since
            );
            Err(Failure::new(Exit::Refused, text))
        }
        Some(_) | None => note(at_rest, head, false).await,
    }
}

/// The sentence about an import that has not come to its end.
pub(crate) fn unfinished(import: &Import) -> String {
    format!(
        "the import of export {} was begun at {} and has not come to its end: some operations may be missing, and \
         others suspended; repeat `drumline import` with the same file before anything starts, or, without the file, run \
         `drumline import --give-up`",
        import.id, import.since
    )
}

async fn note(at_rest: &AtRest, head: &line::Head, is_done: bool) -> Result<()> {
    let Some(id) = &head.id else { return Ok(()) };
    let import = Import {
        id: id.clone(),
        is_done,
        since: at_rest.store().now().to_string(),
    };
    let noted = at_rest.imports().note_import(&import).await;
    noted.map_err(of_store)
}

fn told(what: &'static str) -> impl FnMut(u64) {
    move |count| {
        if count.is_multiple_of(PROGRESS) {
            output::hint(&format!(
                "{what} {}",
                counted(count, "operation", "operations")
            ));
        }
    }
}

/// Refuses to work on a store that others work on.
async fn check_alone(at_rest: &AtRest, is_ignored: bool, servers: &Servers) -> Result<()> {
    let members = at_rest.members().await.map_err(of_store)?;
    if members == 0 || is_ignored {
        return Ok(());
    }
    let text = format!(
        "namespace {} has {members} queue managers and workers\n  what to do: end them all first; or, if they were \
         killed and are listed still, add --ignore-members",
        servers.namespace
    );
    Err(Failure::new(Exit::Refused, text))
}

fn of_store(error: store::Error) -> Failure {
    Failure::caused(Exit::Unavailable, error)
}

#[cfg(test)]
mod tests;
