//! `drumline index`: shows the further indexes, switches one off, rebuilds one.
//!
//! The command works on the store itself: the setting is there, and every
//! process follows it.

use drumline_backend::store;
use drumline_backend_redis::{IndexUse, RedisStore};
use drumline_protocol::IndexKind;
use serde::Serialize;

use crate::cli::tools::Index;
use crate::exit::{Exit, Failure, Result};
use crate::output::Output;
use crate::output::time::Now;
use crate::run::backend::servers::existing_redis_store;

/// One index, for programs.
#[derive(Debug, Serialize)]
struct Shown {
    index: &'static str,
    used: &'static str,
}

/// Does what the flags ask for, and shows the indexes.
pub(crate) async fn run(index: &Index, now: Now) -> Result<Exit> {
    let out = Output::new(index.output.output, now);
    let store = existing_redis_store(&index.servers).await;
    let store = store.map_err(|error| Failure::caused(Exit::Unavailable, error))?;
    let Some(store) = store else {
        let text = format!(
            "namespace {} is unused: the first process creates the store, with all indexes on",
            index.servers.namespace
        );
        return Err(Failure::new(Exit::NotFound, text));
    };
    for kind in &index.off {
        reach(&store, *kind, IndexUse::Off).await.map_err(failure)?;
    }
    for kind in &index.rebuild {
        reach(&store, *kind, IndexUse::On).await.map_err(failure)?;
    }
    for (kind, used) in store.indexes().await.map_err(failure)? {
        let shown = Shown {
            index: kind.name(),
            used: word(used),
        };
        if out.is_json() {
            out.json(&shown)?;
        } else {
            out.line(&format!("{:<12}  {}", shown.index, shown.used))?;
        }
    }
    Ok(Exit::Ok)
}

/// Switches an index, and goes through all operations. A rebuild that was
/// interrupted goes on where it was.
pub(crate) async fn reach(
    store: &RedisStore,
    kind: IndexKind,
    wanted: IndexUse,
) -> store::Result<()> {
    let is_on = wanted == IndexUse::On;
    let under_way = if is_on {
        IndexUse::Building
    } else {
        IndexUse::Off
    };
    if used(store, kind).await? != under_way {
        store.switch_index(kind, is_on).await?;
    }
    loop {
        while !store.rebuild_step(kind).await?.is_done {}
        if used(store, kind).await? == wanted {
            return Ok(());
        }
        // The switch was interrupted before the rebuild began.
        store.switch_index(kind, is_on).await?;
    }
}

async fn used(store: &RedisStore, kind: IndexKind) -> store::Result<IndexUse> {
    let all = store.indexes().await?;
    let found = all.into_iter().find(|(found, _)| *found == kind);
    Ok(found.map_or(IndexUse::On, |(_, used)| used))
}

const fn word(used: IndexUse) -> &'static str {
    match used {
        IndexUse::On => "on",
        IndexUse::Building => "building",
        IndexUse::Off => "off",
    }
}

fn failure(error: store::Error) -> Failure {
    Failure::caused(Exit::Unavailable, error)
}
