//! `drumline workers`: the workers that are alive; and one that is to take nothing new.

use drumline_client::Member;

use super::Session;
use super::control::{for_each, usage};
use crate::cli::fleet::{Verb, Workers};
use crate::exit::{Exit, Result};
use crate::output::clean::clean;
use crate::output::hint;
use crate::output::table::table;

/// Lists workers, or drains some.
pub(crate) async fn run(session: &Session, args: &Workers) -> Result<Exit> {
    match (args.verb, args.ids.is_empty()) {
        (Verb::List, true) => list(session).await,
        (Verb::List, false) => Err(usage("a list takes no ids; `workers drain` does")),
        (Verb::Drain, true) => Err(usage(
            "name workers by id; `drumline workers` shows the ids",
        )),
        (Verb::Drain, false) => {
            for_each(session, &args.ids, "drain", async |id| {
                let worker = session.client.drain_worker(id).await?;
                asked(session, &worker)
            })
            .await
        }
    }
}

async fn list(session: &Session) -> Result<Exit> {
    let workers = session.client.workers().await?.workers;
    if session.out.is_json() {
        for worker in &workers {
            session.out.json(worker)?;
        }
        return Ok(Exit::Ok);
    }
    if workers.is_empty() {
        hint("no worker is alive");
        return Ok(Exit::Ok);
    }
    let mut rows = table(&["ID", "HOST", "RUNNING", "QUEUES", "STARTED", "STATE"]);
    for worker in &workers {
        rows.add_row([
            worker.id.clone(),
            worker.host.clone(),
            format!("{} of {}", worker.running, worker.concurrency),
            worker.queues.join(","),
            session.out.now().tell(&worker.started_on),
            state(worker).to_owned(),
        ]);
    }
    session.out.line(&rows.text())?;
    Ok(Exit::Ok)
}

/// The state of a worker in words.
const fn state(worker: &Member) -> &'static str {
    if worker.draining {
        "drains"
    } else {
        "takes work"
    }
}

/// Says that a worker was asked to drain.
fn asked(session: &Session, worker: &Member) -> Result<()> {
    if session.out.is_json() {
        session.out.json(worker)?;
        return Ok(());
    }
    let Member {
        id, host, running, ..
    } = worker;
    let text = if worker.draining {
        format!("{id}  {host} drains already, and runs {running}")
    } else {
        format!("{id}  {host} is asked to drain, and runs {running}")
    };
    session.out.line(&clean(&text))?;
    Ok(())
}
