//! `drumline export` and `drumline import`: the operations of a store as lines of JSON,
//! for moving to another Redis.
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

use drumline_backend::{Membership, Random, Store as _, store};
use drumline_backend_redis::{Import, RedisMembership, RedisStore};
use drumline_protocol::text::counted;

use crate::cli::service::Servers;
use crate::cli::tools;
use crate::exit::{Exit, Failure, Result};
use crate::output::time::Now;
use crate::output::{self, Output};
use crate::run::backend::servers::{existing_store, redis_store_with};

/// The operations between two lines about the progress.
const PROGRESS: u64 = 10_000;

/// Writes the operations of the store to standard output.
pub(crate) async fn export(export: &tools::Export, now: Now) -> Result<Exit> {
    let out = Output::new(crate::cli::values::Format::Json, now);
    let found = existing_store(&export.servers).await.map_err(unavailable)?;
    let Some((store, membership)) = found else {
        let text = format!(
            "namespace {} is unused: there is nothing to export",
            export.servers.namespace
        );
        return Err(Failure::new(Exit::NotFound, text));
    };
    check_alone(&*membership, export.ignore_members, &export.servers).await?;
    let wanted = export::Wanted {
        organization: export.organization.clone(),
        history: export.history,
        id: Some(Random::from_entropy().uuid().to_string()),
    };
    let counts = store.counts().await.map_err(of_store)?;
    let still_alone = async || {
        check_alone(&*membership, export.ignore_members, &export.servers).await?;
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
    let exporting = export::run(&*store, &wanted, &mut emit, &mut progress, still_alone);
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
    let mut lines = line::Lines::new(std::io::stdin().lock());
    let head = lines.head()?;
    let store = redis_store_with(&import.servers, head.partitions).await?;
    check_alone(
        &RedisMembership::new(&store),
        import.ignore_members,
        &import.servers,
    )
    .await?;
    begin(&store, &head, import.again).await?;
    let imported = import::run(&store, &head, lines, &mut told("read")).await?;
    // Also if others have the ids of some: to repeat it would change nothing.
    note(&store, &head, true).await?;
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
        "{} not imported, because others with their ids are there: {}{}\n  what to do: import into a namespace of its \
         own (--namespace)",
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

/// Notes in the store that an import begins: until it is done, operations may be
/// suspended that were not when they were exported. One that is done is not repeated:
/// what was removed since would be there again.
async fn begin(store: &RedisStore, head: &line::Head, again: bool) -> Result<()> {
    let Some(id) = &head.id else { return Ok(()) };
    let imports = store.imports().await.map_err(of_store)?;
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
        Some(_) | None => note(store, head, false).await,
    }
}

async fn note(store: &RedisStore, head: &line::Head, is_done: bool) -> Result<()> {
    let Some(id) = &head.id else { return Ok(()) };
    let import = Import {
        id: id.clone(),
        is_done,
        since: store.now().to_string(),
    };
    store.note_import(&import).await.map_err(of_store)
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
async fn check_alone(
    membership: &dyn Membership,
    is_ignored: bool,
    servers: &Servers,
) -> Result<()> {
    let members = membership.roster().await.map_err(of_store)?.len();
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

fn unavailable(error: anyhow::Error) -> Failure {
    Failure::caused(Exit::Unavailable, error)
}

#[cfg(test)]
mod tests;
